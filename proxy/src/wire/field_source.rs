//! Where the value of a header field comes from that is a secret: out of a file, whose first line it is, or written out.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http::{HeaderName, HeaderValue};

use super::tls::{Cause, FileError, Kept, Read, read_file};

/// Where a field's value comes from. Both are secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderSource {
    /// It was written out.
    Text(HeaderValue),
    /// The first line of a file, behind a prefix such as `Bearer `.
    File {
        /// Which.
        file: PathBuf,
        /// What stands before.
        prefix: String,
    },
}

impl fmt::Debug for HeaderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(set)"),
            Self::File { file, prefix } => f.debug_struct("File").field("file", file).field("prefix", prefix).finish(),
        }
    }
}

impl HeaderSource {
    /// Its file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File { file, .. } => Some(file),
        }
    }

    /// The value as it is now, to be shown to nobody.
    fn value(&self) -> Result<HeaderValue, FileError> {
        let mut value = match self {
            Self::Text(value) => value.clone(),
            Self::File { file, prefix } => {
                let bytes = read_file(file)?;
                let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
                let value = HeaderValue::from_bytes(&[prefix.as_bytes(), line].concat());
                let value = value.ok().filter(|_| !line.is_empty());
                value.ok_or_else(|| FileError::new(file, Cause::NoFieldValue))?
            }
        };
        // Debug output leaves it out, and HPACK indexes it nowhere.
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The fields that are set in every head that goes to an upstream, in force until their files hold others.
pub type SetFields = Kept<Vec<(HeaderName, HeaderValue)>>;

/// Reads the values of `fields`, now and whenever their files change.
///
/// # Errors
/// A file that cannot be used.
pub fn open(fields: &[(HeaderName, HeaderSource)]) -> Result<SetFields, FileError> {
    let files = fields.iter().filter_map(|(_, source)| source.file().map(Path::to_owned)).collect();
    let fields = fields.to_vec();
    Kept::open(files, move || {
        let values = fields.iter().map(|(name, source)| Ok((name.clone(), source.value()?)));
        Ok(Read::of(values.collect::<Result<Vec<_>, FileError>>()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tls::Renewable as _;

    #[test]
    fn a_value_is_the_first_line_of_its_file_and_follows_it() {
        let file = std::env::temp_dir().join(format!("mainstay-field-{}", uuid::Uuid::new_v4()));
        let source = HeaderSource::File { file: file.clone(), prefix: "Bearer ".into() };
        let fields = [(HeaderName::from_static("authorization"), source)];
        assert!(open(&fields).is_err(), "there is no file");
        std::fs::write(&file, "  one \nmore\n").unwrap();
        let kept = open(&fields).unwrap();
        assert_eq!(kept.config()[0].1, "Bearer one");
        assert!(!format!("{:?} {kept:?}", kept.config()).contains("one"), "nobody is shown it");
        std::fs::write(&file, "two").unwrap();
        assert!(kept.has_changed());
        kept.take().unwrap();
        assert_eq!(kept.config()[0].1, "Bearer two");
        std::fs::write(&file, "\n\u{7}").unwrap();
        let refused = kept.take().map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| text.contains("its first line is no value of a header field")));
        assert_eq!(kept.config()[0].1, "Bearer two", "what is in force stays");
        std::fs::remove_file(&file).unwrap();
    }
}
