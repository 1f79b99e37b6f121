//! Path patterns: `/payments/{id}`, and `/**` as a last part for any rest.

use std::str::FromStr;

use super::{
    normal::normalise,
    rule::{PathRule, has_segments},
};

/// Segments of a pattern at most: matching walks them for every request.
pub const MAX_SEGMENTS: usize = 64;

/// Characters of what somebody wrote that a message repeats.
const SHOWN: usize = 60;

/// A path pattern, parsed.
///
/// ```
/// use mainstay_policies::path::PathPattern;
///
/// let payments: PathPattern = "/payments/{id}/**".parse()?;
/// assert_eq!(payments.captures("/payments/7/refunds/1"), Some(vec![("id", "7")]));
/// assert_eq!(payments.captures("/orders/7"), None);
/// # Ok::<_, mainstay_policies::path::InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// As written.
    pub text: String,
    /// The segments between slashes.
    pub segments: Vec<Segment>,
    /// Ends in `/**`: any rest, and the bare prefix.
    pub rest: bool,
}

/// One segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment that is not empty, remembered under this name.
    Param(String),
}

/// The text is no path pattern; whoever wrote it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {problem}: {help}")]
pub struct InvalidPattern {
    /// What is wrong with it, to stand after its text.
    pub problem: String,
    /// The cure.
    pub help: String,
}

impl PathPattern {
    /// The values of its `{name}` segments in `path`, as they stand there (percent-encoded); `None` if `path`, which is in
    /// [normal form](normalise), has another shape.
    pub fn captures<'a, 'p>(&'a self, path: &'p str) -> Option<Vec<(&'a str, &'p str)>> {
        let mut names = self.names();
        let mut found = Vec::new();
        let expected = self.segments.iter().map(Segment::literal);
        let fits =
            has_segments(path, expected, self.rest, |value| found.extend(names.next().map(|name| (name, value))));
        fits.then_some(found)
    }

    /// The names of its segments, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// The same without names.
    pub fn rule(&self) -> PathRule {
        let segment = |segment: &Segment| segment.literal().map(str::to_owned);
        PathRule { segments: self.segments.iter().map(segment).collect(), rest: self.rest }
    }
}

impl Segment {
    /// Its text, if it has to be one.
    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Param(_) => None,
        }
    }
}

/// The values of a pattern's `{name}` segments in a path as it came, as they stand in its [normal form](normalise); none if it
/// has another shape.
pub fn params<'a>(pattern: &'a PathPattern, path: &str) -> Vec<(&'a str, String)> {
    let path = normalise(path);
    let found = pattern.captures(&path).unwrap_or_default();
    found.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

/// A pattern as a rule, and the one path that it means if its segments are named in `route`, which `path` matches.
pub fn filled(pattern: &PathPattern, route: &PathPattern, path: &str) -> (PathRule, Option<String>) {
    let path = normalise(path);
    let known = route.captures(&path).unwrap_or_default();
    let segments = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => Some(text.as_str()),
        Segment::Param(name) => known.iter().find(|(known, _)| known == name).map(|(_, value)| *value),
    });
    let segments: Option<Vec<&str>> = segments.collect();
    let path = segments.filter(|_| !pattern.rest).map(|segments| format!("/{}", segments.join("/")));
    (pattern.rule(), path)
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let Some(inside) = text.strip_prefix('/') else {
            return Err(wrong("does not start with a slash", format!("write /{}", shorten(text))));
        };
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            let problem = format!("holds `{}`, which no path holds", bad.escape_default());
            return Err(wrong(problem, "a path is percent-encoded ASCII, without a query"));
        }
        let (inside, rest) = match inside {
            "**" => ("", true),
            _ => inside.strip_suffix("/**").map_or((inside, false), |prefix| (prefix, true)),
        };
        let mut segments = Vec::new();
        // `/**` has no segment; `/` has one, empty; `/a/` has a last one that is empty, and differs from `/a`.
        let parts = if rest && inside.is_empty() { None } else { Some(inside.split('/')) };
        for part in parts.into_iter().flatten() {
            if part == "**" {
                let help = "`/**` stands only as the last part; use {name} for one segment";
                return Err(wrong("has `**` before its end", help));
            }
            let segment = segment(part)?;
            if let Segment::Param(name) = &segment
                && segments.iter().any(|other| matches!(other, Segment::Param(other) if other == name))
            {
                return Err(wrong(format!("has `{{{name}}}` twice"), "give each segment its own name"));
            }
            segments.push(segment);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(wrong("has too many segments", format!("at most {MAX_SEGMENTS}")));
        }
        if let Some((_, before_last)) = segments.split_last()
            && before_last.iter().any(|segment| matches!(segment, Segment::Literal(text) if text.is_empty()))
        {
            return Err(wrong("has an empty segment", "remove the doubled slash"));
        }
        Ok(Self { text: text.to_owned(), segments, rest })
    }
}

fn segment(part: &str) -> Result<Segment, InvalidPattern> {
    let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return match part {
            part if part.contains('*') => Err(wrong(
                "has a `*` that is not a last `/**`",
                "use {name} for one segment, or `/**` at the end for any rest",
            )),
            part if part.contains(['{', '}']) => {
                Err(wrong("has a brace inside a segment", "`{name}` stands for a whole segment: /payments/{id}/refund"))
            }
            part => Ok(Segment::Literal(part.to_owned())),
        };
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        let problem = format!("has `{{{}}}`, which is not a name", shorten(name));
        return Err(wrong(problem, "a name is letters, digits and `_`: {id}"));
    }
    Ok(Segment::Param(name.to_owned()))
}

fn wrong(problem: impl Into<String>, help: impl Into<String>) -> InvalidPattern {
    InvalidPattern { problem: problem.into(), help: help.into() }
}

/// A text, cut so that a message stays readable, without control characters.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
