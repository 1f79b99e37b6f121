//! Problem documents (RFC 9457), and what each problem means.

use bytes::Bytes;
use http::StatusCode;
use mainstay_policies::{
    operation::OperationId,
    problem::{Effect, Problem},
};
use serde_json::{Map, Value};

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of an answer that Mainstay makes itself. `prefix` is `control.links`.
pub fn document(
    prefix: &str,
    problem: Problem,
    status: StatusCode,
    detail: &str,
    effect: Effect,
    trace_id: Option<&str>,
    operation: Option<OperationId>,
) -> Bytes {
    document_with(prefix, problem, status, detail, effect, trace_id, operation, [])
}

/// The same with members of its own at the end.
#[expect(clippy::too_many_arguments, reason = "one argument per member of the document")]
pub fn document_with<const N: usize>(
    prefix: &str,
    problem: Problem,
    status: StatusCode,
    detail: &str,
    effect: Effect,
    trace_id: Option<&str>,
    operation: Option<OperationId>,
    more: [(&str, Value); N],
) -> Bytes {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("type", format!("{prefix}/problems/{}", problem.slug()).into());
    put("title", problem.title().into());
    put("status", status.as_u16().into());
    put("detail", detail.into());
    if let Some(trace_id) = trace_id {
        put("trace_id", trace_id.into());
    }
    put("effect", effect_label(effect).into());
    if let Some(operation) = operation {
        put("operation", format!("{prefix}/operations/{operation}").into());
    }
    if let Some(safe) = problem.safe_to_use_new_key() {
        put("safe_to_use_new_key", safe.into());
    }
    for (name, value) in more {
        put(name, value);
    }
    Value::Object(members).to_string().into()
}

/// The effect as documents name it.
pub const fn effect_label(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "none",
        Effect::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_its_members_in_the_order_of_the_contract() {
        let operation = OperationId { seq: 1, tag: 2 };
        let body = document(
            "/_mainstay",
            Problem::OutcomeUnknown,
            StatusCode::CONFLICT,
            "why",
            Effect::Unknown,
            Some("0af7651916cd43dd8448eb211c80319c"),
            Some(operation),
        );
        let expected = r#"{"type":"/_mainstay/problems/outcome-unknown","title":"It is not known whether this write happened","status":409,"detail":"why","trace_id":"0af7651916cd43dd8448eb211c80319c","effect":"unknown","operation":"/_mainstay/operations/00000000000000010000000000000002","safe_to_use_new_key":false}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn only_what_became_of_a_write_speaks_of_new_keys() {
        for problem in Problem::ALL.iter().copied() {
            let body = document("", problem, problem.status(), "", Effect::None, None, None);
            let body: Value = serde_json::from_slice(&body).expect("it is JSON");
            let expected = match problem {
                Problem::OutcomeUnknown => Some(false),
                Problem::WriteFailed => Some(true),
                _ => None,
            };
            assert_eq!(body["safe_to_use_new_key"].as_bool(), expected, "{problem:?}");
        }
    }
}
