//! `idempotency.outcome`, and the rules that it shares with `idempotency.status`.

use http::StatusCode;
use mainstay_policies::{
    evidence::Evidence,
    grpc::Code,
    idempotency::{JsonCondition, JsonExpect, Outcomes, ResponseStatus, Rule, Verdict, rules::is_pointer},
};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Kind, Node},
};

section! {
    /// What a complete response proves about a write. 5xx and 408 prove nothing unless a list or a rule says so. A gRPC answer is
    /// judged by its code: named as grpc:aborted, or else as the HTTP status that says the same.
    RawOutcome {
        /// Statuses by which the service says that it did nothing. Default [401, 403, 407, 425, 429].
        not_executed: Vec<ResponseStatus>,
        /// Statuses of success, in place of every 2xx and 3xx: one that is not named proves nothing then.
        succeeded: Vec<ResponseStatus>,
        /// Statuses of definite failure, beside every other 4xx except 408.
        failed: Vec<ResponseStatus>,
        /// Statuses by which the service says that it is still at it. Default: none.
        ongoing: Vec<ResponseStatus>,
        /// Refinements by body; the first match wins over the lists.
        rules: Vec<At<Rule>>,
    }
}

section! {
    /// One rule over a response; every part that is given must match.
    RawRule {
        /// The status, or a gRPC code such as grpc:aborted. Default: any.
        status: ResponseStatus,
        /// Conditions on the JSON body, by JSON Pointer (RFC 6901); all must hold. Each is a value, a list of values,
        /// `{ equals: v }`, `{ in: [v, w] }` or `{ exists: true }`.
        json: JsonConditions,
        /// What a match proves.
        then: Verdict = required,
    }
}

impl Setting for Outcomes {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawOutcome::decode(node, cx)?;
        let lists = [
            ("not_executed", &raw.not_executed),
            ("succeeded", &raw.succeeded),
            ("failed", &raw.failed),
            ("ongoing", &raw.ongoing),
        ];
        let mut seen: Vec<(ResponseStatus, &str)> = Vec::new();
        for (name, list) in lists {
            let Some(list) = list else { continue };
            for status in &list.value {
                match seen.iter().find(|(other, _)| other == status) {
                    Some((_, first)) => {
                        let message = format!("{} stands in `{first}` and in `{name}`", shown(*status));
                        cx.error::<()>(list.at, message, "one status proves one thing");
                    }
                    None => seen.push((*status, name)),
                }
            }
        }
        let rules = or(raw.rules, Vec::new());
        for rule in rules.iter().filter(|rule| rule.value.then == Verdict::NotFound) {
            let help = "`not_found` answers a status query; here use not_executed, failed or ambiguous";
            cx.error::<()>(rule.at, "`not_found` is no outcome of a write", help);
        }
        let default = Self::default();
        Some(Self {
            not_executed: or(raw.not_executed, default.not_executed),
            succeeded: or(raw.succeeded, default.succeeded),
            failed: or(raw.failed, default.failed),
            ongoing: or(raw.ongoing, default.ongoing),
            rules: rules.into_iter().map(|rule| rule.value).collect(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawOutcome::schema(definitions)
    }
}

impl Setting for Rule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawRule::decode(node, cx)?;
        if node.lookup("status").is_none() && node.lookup("json").is_none() {
            return cx.error(node.at, "this rule matches everything", "give it a `status`, a `json` condition or both");
        }
        Some(Self {
            status: raw.status.map(|status| status.value),
            json: raw.json.map(|json| json.value.0).unwrap_or_default(),
            then: raw.then?.value,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawRule::schema(definitions)
    }
}

/// A status as configuration has it.
pub(crate) fn shown(status: ResponseStatus) -> String {
    match status {
        ResponseStatus::Http(status) => status.as_str().to_owned(),
        ResponseStatus::Grpc(code) => format!("grpc:{}", code.name()),
    }
}

impl Setting for ResponseStatus {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, "a status code from 100 to 599, or a gRPC code such as grpc:aborted");
        };
        let Some(word) = scalar.text.strip_prefix("grpc:") else {
            return StatusCode::decode(node, cx).map(Self::Http);
        };
        if let Some(code) = Code::from_word(word) {
            return Some(Self::Grpc(code));
        }
        let names = Code::ALL.map(|code| shown(code.into()));
        let help = crate::config::report::suggest(&scalar.text, names.iter().map(String::as_str));
        let help = help.unwrap_or_else(|| "a gRPC code is a name or 0 to 16: grpc:aborted".into());
        cx.error(node.at, format!("{} is not a gRPC code", scalar.shown()), help)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let names = Code::ALL.map(Code::name).join("|");
        let code = json!({ "type": "string", "pattern": format!("^grpc:({names}|[0-9]|1[0-6])$") });
        any_of([StatusCode::schema(definitions), code])
    }
}

/// The verdicts by the words used for them, here and in `config show`.
pub(crate) const VERDICTS: [(&str, Verdict); 6] = [
    ("succeeded", Verdict::Evidence(Evidence::Succeeded)),
    ("failed", Verdict::Evidence(Evidence::Failed)),
    ("not_executed", Verdict::Evidence(Evidence::NotExecuted)),
    ("ongoing", Verdict::Evidence(Evidence::Ongoing)),
    ("ambiguous", Verdict::Evidence(Evidence::Ambiguous)),
    ("not_found", Verdict::NotFound),
];

impl Setting for Verdict {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &VERDICTS)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&VERDICTS.map(|(word, _)| word))
    }
}

/// `{ /pointer: value }`.
pub(crate) struct JsonConditions(Vec<JsonCondition>);

impl Setting for JsonConditions {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            return cx.mismatch(node, "a map of JSON Pointers: { /state: SUCCESS }");
        };
        let conditions: Vec<Option<JsonCondition>> =
            entries.iter().map(|(key, value)| condition(cx, key, value)).collect();
        conditions.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "object", "propertyNames": { "pattern": "^(/.*)?$" } })
    }
}

fn condition(cx: &mut Cx, key: &At<String>, value: &Node) -> Option<JsonCondition> {
    if !is_pointer(&key.value) {
        let message = format!("`{}` is not a JSON Pointer", crate::config::node::shorten(&key.value));
        let help = format!(
            "a pointer starts with a slash: /{}",
            key.value.trim_start_matches(['$', '.', '/']).replace('.', "/")
        );
        return cx.error(key.at, message, help);
    }
    let expect = match &value.kind {
        Kind::List(items) if items.is_empty() => {
            return cx.error(value.at, "an empty list matches nothing", "list the values, or remove the condition");
        }
        Kind::List(items) => JsonExpect::OneOf(items.iter().map(to_json).collect()),
        Kind::Map(_) => return operator(cx, key, value),
        Kind::Null | Kind::Scalar(_) => JsonExpect::OneOf(vec![to_json(value)]),
    };
    Some(JsonCondition { pointer: key.value.clone(), expect })
}

/// `{ equals: v }`, `{ in: [v, w] }`, `{ exists: true }`.
fn operator(cx: &mut Cx, key: &At<String>, value: &Node) -> Option<JsonCondition> {
    let expected = "a value, a list of values, { equals: … }, { in: [ … ] } or { exists: true }";
    let Kind::Map(entries) = &value.kind else { return cx.mismatch(value, expected) };
    let [(name, operand)] = entries.as_slice() else {
        return cx.error(value.at, "a condition has one operator", format!("expected {expected}"));
    };
    let expect = match (name.value.as_str(), &operand.kind) {
        ("equals", _) => JsonExpect::OneOf(vec![to_json(operand)]),
        ("in", Kind::List(items)) if !items.is_empty() => JsonExpect::OneOf(items.iter().map(to_json).collect()),
        ("in", _) => return cx.error(operand.at, "`in` takes a list of values", "write { in: [SUCCESS, DONE] }"),
        ("exists", _) => JsonExpect::Exists(bool::decode(operand, cx)?),
        (other, _) => {
            let help = crate::config::report::suggest(other, ["equals", "in", "exists"]);
            let help = help.unwrap_or_else(|| format!("expected {expected}"));
            return cx.error(name.at, format!("unknown operator `{}`", crate::config::node::shorten(other)), help);
        }
    };
    Some(JsonCondition { pointer: key.value.clone(), expect })
}

/// The JSON value of a node: quoted scalars are strings, plain ones what they look like.
pub(crate) fn to_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::List(items) => items.iter().map(to_json).collect(),
        Kind::Map(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.value.clone(), to_json(value))).collect())
        }
        Kind::Scalar(scalar) => {
            let literal = scalar.plain.then(|| serde_json::from_str::<Value>(&scalar.text).ok()).flatten();
            literal
                .filter(|value| value.is_number() || value.is_boolean())
                .unwrap_or_else(|| scalar.text.clone().into())
        }
    }
}
