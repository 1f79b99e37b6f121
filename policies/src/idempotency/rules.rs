//! Rules over a response: status and JSON body to verdict.

use std::fmt;

use http::StatusCode;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{evidence::Verdict, grpc::Code};

/// A status that a list or a rule names, or that a response has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseStatus {
    /// Of HTTP.
    Http(StatusCode),
    /// Of gRPC.
    Grpc(Code),
}

impl ResponseStatus {
    /// The HTTP status that says the same. ABORTED has none: that it collided does not say whether the work was undone.
    pub fn twin(self) -> Option<StatusCode> {
        match self {
            Self::Http(status) => Some(status),
            Self::Grpc(Code::Aborted) => None,
            Self::Grpc(code) => Some(code.twin()),
        }
    }

    /// Whether a rule that names this one is about a response that has the other.
    fn covers(self, other: Self) -> bool {
        self == other || matches!(self, Self::Http(status) if other.twin() == Some(status))
    }
}

impl From<StatusCode> for ResponseStatus {
    fn from(status: StatusCode) -> Self {
        Self::Http(status)
    }
}

impl From<Code> for ResponseStatus {
    fn from(code: Code) -> Self {
        Self::Grpc(code)
    }
}

/// One rule over a response: every part that is given must match.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The status, or `None` for any.
    pub status: Option<ResponseStatus>,
    /// Conditions on the JSON body; all must hold.
    pub json: Vec<JsonCondition>,
    /// What a match proves.
    pub then: Verdict,
}

/// One condition on a JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonCondition {
    /// JSON Pointer (RFC 6901).
    pub pointer: String,
    /// What must stand there.
    pub expect: JsonExpect,
}

/// What must stand at a JSON Pointer.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonExpect {
    /// One of these values (one value: equality).
    OneOf(Vec<serde_json::Value>),
    /// Anything (`exists: true`) or nothing (`exists: false`).
    Exists(bool),
}

/// The value of a JSON text that can be read in one way only: with a name that stands twice in one object, one reader takes
/// the first and another the last, so nothing can be concluded from either. A byte order mark before it may be ignored (RFC 8259
/// section 8.1), and is.
pub fn read_json(text: &[u8]) -> Option<Value> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    serde_json::from_slice::<Unambiguous>(text).ok().map(|json| json.0)
}

/// Whether a text is a JSON Pointer (RFC 6901): empty, or segments that start with a slash, with `~` only as `~0` or `~1`.
pub fn is_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text.match_indices('~').all(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')))
}

/// The verdict of the first rule that matches. Without a readable body (`None`) no rule with conditions on it matches.
pub fn first_match(rules: &[Rule], status: impl Into<ResponseStatus>, json: Option<&Value>) -> Option<Verdict> {
    let status = status.into();
    rules.iter().find(|rule| matches(rule, status, json)).map(|rule| rule.then)
}

/// Whether a rule that could apply to this status has conditions on the body.
pub(super) fn depend_on_body(rules: &[Rule], status: StatusCode) -> bool {
    rules.iter().any(|rule| applies(rule, status.into()) && !rule.json.is_empty())
}

fn applies(rule: &Rule, status: ResponseStatus) -> bool {
    rule.status.is_none_or(|named| named.covers(status))
}

fn matches(rule: &Rule, status: ResponseStatus, json: Option<&Value>) -> bool {
    applies(rule, status)
        && (rule.json.is_empty() || json.is_some_and(|json| rule.json.iter().all(|condition| holds(condition, json))))
}

fn holds(condition: &JsonCondition, json: &Value) -> bool {
    let found = json.pointer(&condition.pointer);
    match &condition.expect {
        JsonExpect::Exists(wanted) => found.is_some() == *wanted,
        JsonExpect::OneOf(values) => found.is_some_and(|found| values.iter().any(|value| same(value, found))),
    }
}

/// Equality as JSON means it: `1` and `1.0` are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64()),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

/// JSON without a repeated name.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without a repeated name")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number beyond a double"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unambiguous(value))) = members.next_entry::<String, Unambiguous>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a repeated name"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::Evidence;

    fn rule(status: Option<u16>, json: &[(&str, JsonExpect)], then: Evidence) -> Rule {
        let condition = |(pointer, expect): &(&str, JsonExpect)| JsonCondition {
            pointer: (*pointer).into(),
            expect: expect.clone(),
        };
        Rule {
            status: status.map(|status| StatusCode::from_u16(status).unwrap().into()),
            json: json.iter().map(condition).collect(),
            then: Verdict::Evidence(then),
        }
    }

    #[test]
    fn a_rule_on_a_status_is_about_its_grpc_twins_too_and_one_on_a_code_about_that_alone() {
        let on = |status: ResponseStatus| [Rule { status: Some(status), ..rule(None, &[], Evidence::Failed) }];
        let status = |status| ResponseStatus::Http(StatusCode::from_u16(status).unwrap());
        for (named, seen, matched) in [
            (status(409), Code::AlreadyExists.into(), true),
            (status(409), Code::Aborted.into(), false),
            (status(429), Code::ResourceExhausted.into(), true),
            (Code::Aborted.into(), Code::Aborted.into(), true),
            (Code::AlreadyExists.into(), status(409), false),
            (Code::InvalidArgument.into(), Code::OutOfRange.into(), false),
        ] {
            assert_eq!(first_match(&on(named), seen, None).is_some(), matched, "{named:?} on {seen:?}");
        }
    }

    #[test]
    fn the_first_match_wins() {
        let rules = [
            rule(Some(200), &[("/state", JsonExpect::OneOf(vec![json!("DONE")]))], Evidence::Succeeded),
            rule(Some(200), &[], Evidence::Ongoing),
            rule(None, &[], Evidence::Failed),
        ];
        let verdict = |status, body: &Value| first_match(&rules, status, Some(body));
        assert_eq!(verdict(StatusCode::OK, &json!({"state": "DONE"})), Some(Verdict::Evidence(Evidence::Succeeded)));
        assert_eq!(verdict(StatusCode::OK, &json!({"state": "NEW"})), Some(Verdict::Evidence(Evidence::Ongoing)));
        assert_eq!(verdict(StatusCode::NOT_FOUND, &json!({})), Some(Verdict::Evidence(Evidence::Failed)));
    }

    #[test]
    fn no_condition_holds_on_a_body_that_cannot_be_read() {
        let absent = [rule(None, &[("/error", JsonExpect::Exists(false))], Evidence::Succeeded)];
        assert_eq!(first_match(&absent, StatusCode::OK, None), None);
        assert!(first_match(&absent, StatusCode::OK, Some(&json!({}))).is_some());
    }

    #[test]
    fn every_condition_must_hold() {
        let rules = [rule(
            None,
            &[("/a", JsonExpect::OneOf(vec![json!(1), json!(2)])), ("/b", JsonExpect::Exists(true))],
            Evidence::Succeeded,
        )];
        for (body, matched) in [
            (json!({"a": 2, "b": null}), true),
            (json!({"a": 2.0, "b": 0}), true),
            (json!({"a": 3, "b": 0}), false),
            (json!({"a": 1}), false),
            (json!({"a": "1", "b": 0}), false),
        ] {
            assert_eq!(first_match(&rules, StatusCode::OK, Some(&body)).is_some(), matched, "{body}");
        }
    }

    #[test]
    fn a_text_that_can_be_read_in_two_ways_is_not_read() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"\u0061":1}}]"#, "{", "", "1e999"] {
            assert_eq!(read_json(text.as_bytes()), None, "{text}");
        }
        let text = r#"{"a":[1,-2,2.5,"x",null,true,{"b":{"a":18446744073709551615}}]}"#;
        assert_eq!(read_json(text.as_bytes()), serde_json::from_str(text).ok());
        assert_eq!(read_json("[".repeat(100_000).as_bytes()), None, "bounded depth");
    }

    #[test]
    fn big_integers_are_compared_exactly() {
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    }
}
