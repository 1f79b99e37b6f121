//! Keys made of parts of the request, where clients send none.
//!
//! A template such as `{principal}:{path.id}` is rendered to the text that the upstream sees as the key. Two different
//! lists of values never render to one text:
//!
//! * within a value every octet but letters, digits and `-._~` is percent-encoded, and so is whatever of these the
//!   template itself writes between two values;
//! * between two values the template must write something that is neither letter, digit nor `%`, so that it can be seen
//!   where one ends and the next begins;
//! * a text over [`MAX_KEY_OCTETS`] becomes `sha256:` and its hash, and so does one that begins like that by itself.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, request::Parts};
use percent_encoding::{percent_decode, percent_decode_str};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::content;
use crate::idempotency::{canonical_json::number_text, rules};

/// Octets of a key after unquoting, at most. Longer ones are payloads, not names; Stripe takes 255 as well.
pub const MAX_KEY_OCTETS: usize = 255;

/// Before the hash of a text that is too long to be a key.
const HASHED: &str = "sha256:";

/// A template of keys, of which every key can be taken apart again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    text: Arc<str>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(KeyPart),
}

/// A part of the request that a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// `{principal}`: who is calling.
    Principal,
    /// `{path.NAME}`: a segment of the route's path.
    Path(String),
    /// `{query.NAME}`: a parameter of the query string.
    Query(String),
    /// `{header.NAME}`: a request header.
    Header(HeaderName),
    /// `{json:/pointer}`: a text, number or truth value in the JSON body (RFC 6901).
    Json(String),
}

/// Why a text is no template. The operator is at fault; each text names the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner.
    #[error(
        "the braces do not match: write {{principal}}, {{path.NAME}}, {{query.NAME}}, {{header.NAME}} or {{json:/pointer}}"
    )]
    Braces,
    /// No placeholder.
    #[error(
        "it holds no placeholder, so every write would have the same key: write {{header.NAME}} or {{json:/pointer}}, for example"
    )]
    Constant,
    /// A placeholder that nobody knows.
    #[error(
        "there is no placeholder `{{{0}}}`: known are {{principal}}, {{path.NAME}}, {{query.NAME}}, {{header.NAME}} and {{json:/pointer}}"
    )]
    Unknown(String),
    /// `{header.NAME}` with a name that no header has.
    #[error("`{0}` is no header name: write {{header.X-Request-Id}}, for example")]
    Header(String),
    /// `{json:…}` with something else than a JSON Pointer to a part of the body.
    #[error(
        "`{0}` is no JSON Pointer: write {{json:/id}}, with ~0 for ~ and ~1 for a slash in a name (for the whole content use `from: fingerprint`)"
    )]
    Pointer(String),
    /// Two placeholders that run into each other.
    #[error(
        "nothing shows where `{{{0}}}` ends and `{{{1}}}` begins, so that different writes would get one key: put a `:` between them"
    )]
    Adjacent(String, String),
    /// A character that no key can hold.
    #[error("it holds a character that is not printable ASCII, which no key can hold: write letters, digits and `:`")]
    Character,
}

/// What of a request decides about its key.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Its head.
    pub parts: &'a Parts,
    /// Who is calling.
    pub principal: Option<&'a [u8]>,
    /// The route's path parameters, as they stand in the path (percent-encoded).
    pub path_params: &'a [(&'a str, &'a str)],
}

/// Why a request has no key by a template. Names the placeholder, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Underivable {
    /// The request does not have this part.
    Missing(String),
    /// It has it in a form of which no key can be made.
    Unusable(String, Cow<'static, str>),
}

impl KeyTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// It is none; the operator is at fault.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let pieces = pieces(text)?;
        let mut before: Option<&KeyPart> = None;
        let mut is_apart = true;
        for piece in &pieces {
            match piece {
                Piece::Text(text) => is_apart |= text.bytes().any(separates),
                Piece::Part(part) => {
                    if let Some(before) = before.filter(|_| !is_apart) {
                        return Err(TemplateError::Adjacent(before.name(), part.name()));
                    }
                    before = Some(part);
                    is_apart = false;
                }
            }
        }
        if before.is_none() {
            return Err(TemplateError::Constant);
        }
        Ok(Self { text: text.into(), pieces })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its placeholders.
    pub fn parts(&self) -> impl Iterator<Item = &KeyPart> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Part(part) => Some(part),
            Piece::Text(_) => None,
        })
    }

    /// Whether keys are made of the body, which must be read first.
    pub fn needs_body(&self) -> bool {
        self.parts().any(|part| matches!(part, KeyPart::Json(_)))
    }

    /// Whether keys are made of the route's path parameters.
    pub fn needs_path(&self) -> bool {
        self.parts().any(|part| matches!(part, KeyPart::Path(_)))
    }

    /// The text of the key of a request: 1 to [`MAX_KEY_OCTETS`] printable ASCII characters. A body that is encoded is decoded, to
    /// at most `max_body` bytes; one that can be read in two ways says nothing.
    ///
    /// # Errors
    /// The request lacks a part, or has it in a form of which no key can be made.
    pub fn render(&self, incoming: &Incoming<'_>, body: &Bytes, max_body: usize) -> Result<String, Underivable> {
        let of_body = self.parts().find(|part| matches!(part, KeyPart::Json(_)));
        let json = match of_body {
            Some(part) => json_of(incoming.parts, body, max_body)
                .map_err(|why| Underivable::Unusable(part.name(), why.to_string().into()))?,
            None => None,
        };
        let mut text = String::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Part(part) => {
                    let value = part.value(incoming, json.as_ref())?;
                    if value.is_empty() {
                        return Err(Underivable::Missing(part.name()));
                    }
                    self.push_encoded(&mut text, &value);
                }
            }
        }
        if text.len() > MAX_KEY_OCTETS || text.starts_with(HASHED) { Ok(hashed(&text)) } else { Ok(text) }
    }

    fn push_encoded(&self, text: &mut String, value: &[u8]) {
        for byte in value {
            let is_plain = byte.is_ascii_alphanumeric() || (b"-._~".contains(byte) && !self.writes(*byte));
            if is_plain {
                text.push(char::from(*byte));
            } else {
                // Writing to a String does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }

    /// Whether the template itself writes this octet.
    fn writes(&self, byte: u8) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.as_bytes().contains(&byte)))
    }
}

impl KeyPart {
    /// What stands between the braces.
    pub fn name(&self) -> String {
        match self {
            Self::Principal => "principal".into(),
            Self::Path(name) => format!("path.{name}"),
            Self::Query(name) => format!("query.{name}"),
            Self::Header(name) => format!("header.{name}"),
            Self::Json(pointer) => format!("json:{pointer}"),
        }
    }

    fn parse(name: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Unknown(name.to_owned());
        if name == "principal" {
            return Ok(Self::Principal);
        }
        if let Some(pointer) = name.strip_prefix("json:") {
            let is_pointer = pointer.starts_with('/') && rules::is_pointer(pointer);
            return if is_pointer {
                Ok(Self::Json(pointer.to_owned()))
            } else {
                Err(TemplateError::Pointer(pointer.to_owned()))
            };
        }
        match name.split_once('.').filter(|(_, name)| !name.is_empty()).ok_or_else(unknown)? {
            ("path", name) => Ok(Self::Path(name.to_owned())),
            ("query", name) => Ok(Self::Query(name.to_owned())),
            ("header", name) => {
                let header = HeaderName::from_bytes(name.as_bytes());
                header.map(Self::Header).map_err(|_| TemplateError::Header(name.to_owned()))
            }
            _ => Err(unknown()),
        }
    }

    fn value<'a>(&self, incoming: &Incoming<'a>, json: Option<&Value>) -> Result<Cow<'a, [u8]>, Underivable> {
        let missing = || Underivable::Missing(self.name());
        let repeated = || Underivable::Unusable(self.name(), "stands there more than once".into());
        match self {
            Self::Principal => incoming.principal.map(Cow::Borrowed).ok_or_else(missing),
            Self::Path(name) => {
                let found = incoming.path_params.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| percent_decode_str(value).into()).ok_or_else(missing)
            }
            Self::Query(name) => {
                let query = incoming.parts.uri.query().unwrap_or_default();
                let mut values = query.split('&').filter_map(|pair| {
                    let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
                    percent_decode_str(known).eq(name.bytes()).then_some(value)
                });
                let value = values.next().ok_or_else(missing)?;
                if values.next().is_some() { Err(repeated()) } else { Ok(percent_decode(value.as_bytes()).into()) }
            }
            Self::Header(name) => {
                let mut values = incoming.parts.headers.get_all(name).iter();
                let value = values.next().ok_or_else(missing)?;
                if values.next().is_some() { Err(repeated()) } else { Ok(Cow::Borrowed(value.as_bytes())) }
            }
            Self::Json(pointer) => match json.and_then(|json| json.pointer(pointer)) {
                None | Some(Value::Null) => Err(missing()),
                Some(Value::String(text)) => Ok(text.clone().into_bytes().into()),
                Some(Value::Bool(truth)) => Ok(truth.to_string().into_bytes().into()),
                Some(Value::Number(number)) => match number_of(number) {
                    Some(text) => Ok(text.into_bytes().into()),
                    None => {
                        Err(Underivable::Unusable(self.name(), "is a number beyond 2^53: send it as a text".into()))
                    }
                },
                Some(Value::Array(_) | Value::Object(_)) => {
                    Err(Underivable::Unusable(self.name(), "is neither a text nor a number".into()))
                }
            },
        }
    }
}

/// The pieces of a template.
fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    if !text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return Err(TemplateError::Character);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, after) = rest.split_at(at);
        let inside = after.strip_prefix('{').ok_or(TemplateError::Braces)?;
        let (name, after) = inside.split_once('}').ok_or(TemplateError::Braces)?;
        if name.contains('{') {
            return Err(TemplateError::Braces);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        pieces.push(Piece::Part(KeyPart::parse(name)?));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Whether this octet, written between two values, shows where the first one ends.
const fn separates(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && byte != b'%'
}

fn json_of(parts: &Parts, body: &Bytes, max: usize) -> Result<Option<Value>, content::Unreadable> {
    Ok(rules::read_json(&content::plain(&parts.headers, body, max)?))
}

/// One text per number, however it is written; `None` where two numbers share one double.
fn number_of(number: &serde_json::Number) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    number.as_f64().filter(|value| value.abs() < EXACT).map(number_text)
}

fn hashed(text: &str) -> String {
    Sha256::digest(text).iter().fold(HASHED.to_owned(), |mut hashed, byte| {
        let _ = write!(hashed, "{byte:02x}");
        hashed
    })
}

#[cfg(test)]
mod tests;
