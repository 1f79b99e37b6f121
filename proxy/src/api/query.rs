//! The query string and the conditional headers of a request.

use std::borrow::Cow;

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::Fault;

/// The parameters of a query string, decoded. `+` is a plus: keys are percent-encoded, not form-encoded.
#[derive(Debug, Default)]
pub(crate) struct Params<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// Reads a query string in which only `known` names may stand, each once.
    pub(crate) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Fault> {
        let mut params = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                return Err(Fault::bad(format!("Unknown parameter; known here: {}.", known.join(", "))));
            }
            if params.iter().any(|(seen, _)| *seen == name) {
                return Err(Fault::bad(format!("The parameter {name} stands more than once.")));
            }
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| Fault::bad(format!("The parameter {name} is not percent-encoded UTF-8.")))?;
            params.push((name, value));
        }
        Ok(Self(params))
    }

    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// A number from 1 to `max`.
    pub(crate) fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, Fault> {
        let Some(text) = self.of(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| Fault::bad(format!("The parameter {name} is a number from 1 to {max}.")))
    }
}

/// Whether `If-None-Match` names `etag` (RFC 9110 section 13.1.2, weak comparison).
pub(crate) fn is_none_match(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn header(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_plus_in_a_key_is_a_plus() {
        let params = Params::read(Some("key=a+b%2Bc%20d"), &["key"]).unwrap();
        assert_eq!(params.of("key"), Some("a+b+c d"));
    }

    #[test]
    fn unknown_repeated_and_undecodable_parameters_are_refused() {
        for query in ["kye=a", "key=a&key=b", "key=%ff"] {
            assert!(Params::read(Some(query), &["key"]).is_err(), "{query}");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        for (value, matches) in
            [("\"3\"", true), ("W/\"3\"", true), ("\"1\", \"3\"", true), ("*", true), ("\"4\"", false), ("3", false)]
        {
            assert_eq!(is_none_match(&header("if-none-match", value), "\"3\""), matches, "{value}");
        }
    }
}
