//! Another path for the same thing: what is sent where the service knows it under other names than its callers do.

use super::{
    normal::normalise,
    pattern::{PathPattern, Segment},
};

/// A beginning that is taken off a path, and one that is put before what is left.
///
/// It works on the normal form (RFC 3986), in which no dot segment is left that could lead out of the prefix again.
///
/// ```
/// use mainstay_policies::path::Rewrite;
///
/// let to_v1 = Rewrite::new("/stripe", "/v1")?;
/// assert_eq!(to_v1.path("/stripe/charges/7"), "/v1/charges/7");
/// assert_eq!(to_v1.path("/stripe"), "/v1");
/// # Ok::<_, mainstay_policies::path::InvalidRewrite>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    strip_prefix: String,
    prefix: String,
}

/// It changes nothing, or one of the two is no beginning of a path; whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRewrite {
    /// Neither is given.
    #[error("it changes nothing")]
    Nothing,
    /// This one is not literal segments.
    #[error("`{0}` is no beginning of a path")]
    NoPrefix(String),
}

impl Rewrite {
    /// Takes `strip_prefix` off and puts `prefix` before the rest. Either may be empty.
    ///
    /// # Errors
    /// Both are empty, or one is not a slash and literal segments without a slash at the end.
    pub fn new(strip_prefix: &str, prefix: &str) -> Result<Self, InvalidRewrite> {
        if strip_prefix.is_empty() && prefix.is_empty() {
            return Err(InvalidRewrite::Nothing);
        }
        for text in [strip_prefix, prefix] {
            if !text.is_empty() && !is_prefix(text) {
                return Err(InvalidRewrite::NoPrefix(text.to_owned()));
            }
        }
        Ok(Self { strip_prefix: strip_prefix.to_owned(), prefix: prefix.to_owned() })
    }

    /// What is taken off, or nothing.
    pub fn strip_prefix(&self) -> &str {
        &self.strip_prefix
    }

    /// What is put before the rest, or nothing.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether every path that `pattern` matches begins with what is taken off.
    pub fn suits(&self, pattern: &PathPattern) -> bool {
        let mut segments = pattern.segments.iter();
        let stripped = self.strip_prefix.split('/').skip(1);
        stripped.into_iter().all(|wanted| matches!(segments.next(), Some(Segment::Literal(text)) if text == wanted))
    }

    /// The path that is sent in place of `path`, which a pattern matches that this [suits](Self::suits).
    pub fn path(&self, path: &str) -> String {
        // `*`, of OPTIONS, is of the service as a whole.
        if !path.starts_with('/') {
            return path.to_owned();
        }
        let path = normalise(path);
        let rest = path.strip_prefix(&*self.strip_prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let rest = rest.unwrap_or(&path);
        let rest = if rest == "/" && self.strip_prefix.is_empty() { "" } else { rest };
        if rest.is_empty() && self.prefix.is_empty() { "/".to_owned() } else { format!("{}{rest}", self.prefix) }
    }
}

/// A slash and literal segments, in normal form.
fn is_prefix(text: &str) -> bool {
    let Ok(pattern) = text.parse::<PathPattern>() else { return false };
    let is_literal = pattern.names().next().is_none() && !pattern.rest;
    is_literal && text.len() > 1 && !text.ends_with('/') && normalise(text) == text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_another_beginning_and_leads_nowhere_else() {
        for (strip, prefix, path, sent) in [
            ("/stripe", "/v1", "/stripe/charges", "/v1/charges"),
            ("/stripe", "/v1", "/stripe", "/v1"),
            ("/stripe", "/v1", "/stripe/", "/v1/"),
            ("/stripe", "", "/stripe/charges", "/charges"),
            ("/stripe", "", "/stripe", "/"),
            ("/stripe", "", "/stripe/", "/"),
            ("", "/v1", "/charges", "/v1/charges"),
            ("", "/v1", "/", "/v1"),
            ("", "/v1", "*", "*"),
            ("/a/b", "/c", "/a/b/d", "/c/d"),
            ("/stripe", "/v1", "/str%69pe/a%2fb", "/v1/a%2Fb"),
            ("/stripe", "/v1", "/stripe/a/../../stripe/b", "/v1/b"),
            ("/stripe", "/v1", "/stripe/%2e%2e/stripe/b", "/v1/b"),
        ] {
            assert_eq!(Rewrite::new(strip, prefix).unwrap().path(path), sent, "{strip} {prefix} {path}");
        }
    }

    #[test]
    fn only_beginnings_of_paths_are_taken() {
        for (strip, prefix) in
            [("", ""), ("stripe", ""), ("/", ""), ("", "/v1/"), ("/{id}", ""), ("/a/**", ""), ("", "/a/../b")]
        {
            assert!(Rewrite::new(strip, prefix).is_err(), "{strip} {prefix}");
        }
    }

    #[test]
    fn what_is_taken_off_stands_in_every_path_of_the_route() {
        let rewrite = Rewrite::new("/a/b", "").unwrap();
        for (pattern, suits) in [
            ("/a/b/**", true),
            ("/a/b", true),
            ("/a/b/{id}", true),
            ("/a/**", false),
            ("/a/{b}", false),
            ("/a/bc", false),
        ] {
            assert_eq!(rewrite.suits(&pattern.parse().unwrap()), suits, "{pattern}");
        }
        assert!(Rewrite::new("", "/v1").unwrap().suits(&"/**".parse().unwrap()));
    }
}
