//! Rules over a response: status and JSON body to verdict.

use serde_json::Value;

use http::StatusCode;

use super::{JsonCondition, JsonExpect, Rule, Verdict};

/// The verdict of the first rule that matches. Without a readable body (`None`) no rule with conditions on it matches.
pub fn first_match(rules: &[Rule], status: StatusCode, json: Option<&Value>) -> Option<Verdict> {
    rules.iter().find(|rule| matches(rule, status, json)).map(|rule| rule.then)
}

/// Whether a rule that could apply to this status has conditions on the body.
pub(super) fn depend_on_body(rules: &[Rule], status: StatusCode) -> bool {
    rules.iter().any(|rule| applies(rule, status) && !rule.json.is_empty())
}

fn applies(rule: &Rule, status: StatusCode) -> bool {
    rule.status.is_none_or(|wanted| wanted == status)
}

fn matches(rule: &Rule, status: StatusCode, json: Option<&Value>) -> bool {
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
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
            json: json.iter().map(condition).collect(),
            then: Verdict::Evidence(then),
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
    fn big_integers_are_compared_exactly() {
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    }
}
