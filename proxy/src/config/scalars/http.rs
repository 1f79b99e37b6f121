//! The vocabulary of HTTP: methods, header names and values, statuses.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::{integer_schema, scalar};
use crate::config::{
    decode::{Cx, Setting},
    definitions::Definitions,
    node::Node,
    report::suggest,
};

impl Setting for Method {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        const COMMON: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
        let scalar = scalar(node, cx, "a method such as GET or POST")?;
        let text = scalar.text.as_str();
        // Methods are case-sensitive (RFC 9110 section 9.1): `post` would match nothing. An extension method is fine, unless
        // it is one slip of the keyboard away from a common one.
        let slip = COMMON.iter().any(|common| strsim::damerau_levenshtein(common, text) == 1);
        let capitals = !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '-');
        if capitals
            && !slip
            && let Ok(method) = Self::from_bytes(text.as_bytes())
        {
            return Some(method);
        }
        match suggest(text, COMMON) {
            Some(help) => cx.error(node.at, format!("{} is not a method", scalar.shown()), help),
            None => cx.mismatch(node, "a method in capital letters, such as GET or POST"),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": "^[A-Z-]+$", "examples": ["GET", "POST"] })
    }
}

impl Setting for HeaderName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a header name")?;
        if let Ok(name) = Self::from_bytes(scalar.text.as_bytes()) {
            Some(name)
        } else {
            let message = format!("{} is not a header name", scalar.shown());
            cx.error(node.at, message, "a header name is letters, digits and `-`, such as X-Tenant")
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" })
    }
}

impl Setting for HeaderValue {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a header value")?;
        let visible = scalar.text.chars().all(|c| matches!(c, ' '..='~'));
        match Self::from_str(&scalar.text) {
            Ok(value) if visible => Some(value),
            _ => {
                let message = format!("{} is not a header value", scalar.shown());
                cx.error(node.at, message, "a header value is printable ASCII on one line")
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Setting for StatusCode {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "a status code from 100 to 599";
        let scalar = scalar(node, cx, expected)?;
        match scalar.text.parse::<u16>().ok().filter(|code| (100..600).contains(code)).map(Self::from_u16) {
            Some(Ok(status)) if scalar.text.len() == 3 => Some(status),
            _ => cx.mismatch(node, expected),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        integer_schema(100, 599)
    }
}
