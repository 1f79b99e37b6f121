//! The JSON Schema agrees with the reader, as far as a schema can.

use regex_automata::{
    Input,
    dfa::{Automaton, dense::DFA},
};
use serde_json::{Value, json};

use super::{good::EXAMPLE, parse, round_trip::EVERYTHING, try_parse};
use crate::config::{raw::to_json, schema, show, yaml};

/// Validates against the part of JSON Schema that ours uses; an unknown keyword is an error, so that none is ignored.
struct Validator {
    root: Value,
}

impl Validator {
    fn new() -> Self {
        Self { root: schema() }
    }

    fn accepts(&self, document: &Value) -> Result<(), String> {
        self.check(&self.root, document, "")
    }

    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let keywords = schema.as_object().ok_or_else(|| format!("{at}: a schema is an object"))?;
        for (keyword, rule) in keywords {
            let holds = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "examples" | "default" | "properties" => {
                    Ok(true)
                }
                "$ref" => {
                    let pointer = rule.as_str().and_then(|rule| rule.strip_prefix('#')).unwrap_or_default();
                    let target = self.root.pointer(pointer).ok_or_else(|| format!("{at}: {rule} leads nowhere"))?;
                    return self.check(target, value, at);
                }
                "anyOf" => {
                    let forms = rule.as_array().map(Vec::as_slice).unwrap_or_default();
                    let errors: Vec<String> =
                        forms.iter().filter_map(|form| self.check(form, value, at).err()).collect();
                    if errors.len() == forms.len() {
                        return Err(errors.join(" | "));
                    }
                    Ok(true)
                }
                "type" => Ok(has_type(value, rule)),
                "enum" => Ok(rule.as_array().is_some_and(|words| words.contains(value))),
                "const" => Ok(rule == value),
                "required" => Ok(strings(rule).all(|key| value.get(key).is_some())),
                "items" => self.each(value.as_array(), rule, at),
                "additionalProperties" => self.properties(keywords, value, at),
                "propertyNames" => {
                    let names: Vec<Value> =
                        value.as_object().map(|map| map.keys().map(|key| json!(key)).collect()).unwrap_or_default();
                    self.each(Some(&names), rule, at)
                }
                "pattern" => Ok(value.as_str().is_none_or(|text| matches(rule, text))),
                "minLength" => Ok(value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap_or(0))),
                "maxLength" => Ok(value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap_or(0))),
                "maxProperties" => {
                    Ok(value.as_object().is_none_or(|map| map.len() as u64 <= rule.as_u64().unwrap_or(0)))
                }
                "minimum" => Ok(value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap_or(f64::MAX))),
                "maximum" => Ok(value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap_or(f64::MIN))),
                unknown => return Err(format!("{at}: this test does not know `{unknown}`")),
            };
            if !holds? {
                return Err(format!("{at}: {value} violates {keyword} {rule}"));
            }
        }
        Ok(())
    }

    fn each(&self, items: Option<&Vec<Value>>, rule: &Value, at: &str) -> Result<bool, String> {
        items.into_iter().flatten().try_for_each(|item| self.check(rule, item, at)).map(|()| true)
    }

    fn properties(&self, keywords: &serde_json::Map<String, Value>, value: &Value, at: &str) -> Result<bool, String> {
        for (key, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{key}");
            match (keywords.get("properties").and_then(|known| known.get(key)), &keywords["additionalProperties"]) {
                (Some(known), _) => self.check(known, value, &at)?,
                (None, Value::Bool(false)) => return Err(format!("{at}: unknown key")),
                (None, rule) => self.check(rule, value, &at)?,
            }
        }
        Ok(true)
    }
}

fn has_type(value: &Value, rule: &Value) -> bool {
    let names: Vec<&str> = match rule {
        Value::String(name) => vec![name],
        _ => strings(rule).collect(),
    };
    names.into_iter().any(|name| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => false,
    })
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn matches(pattern: &Value, text: &str) -> bool {
    let dfa = DFA::new(pattern.as_str().expect("a pattern is a text")).expect("a pattern of the schema is valid");
    dfa.try_search_fwd(&Input::new(text)).expect("the search has no reason to fail").is_some()
}

/// What an editor sees of a document.
fn document(text: &str) -> Value {
    to_json(&yaml::read(0, text).expect("it is YAML"))
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let validator = Validator::new();
    let with_variables = EXAMPLE
        .replace("retry: 3", "retry: '${RETRIES}'")
        .replace("timeout: 1s", "timeout: '${TIMEOUT:-1s}'")
        .replace("required: true", "required: '${REQUIRED}'")
        .replace("0.0.0.0:8080", "0.0.0.0:${PORT}");
    for text in [EXAMPLE, EVERYTHING, &with_variables, &show(&parse(EXAMPLE)), &show(&parse(EVERYTHING))] {
        assert!(try_parse(text).is_ok());
        assert_eq!(validator.accepts(&document(text)), Ok(()), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_it_can_know() {
    let validator = Validator::new();
    for (good, bad) in [
        ("retry: 3", "retries: 3"),
        ("retry: 3", "retry: many"),
        ("timeout: 1s", "timeout: 250"),
        ("timeout: 1s", "timeout: 1 second"),
        ("rate_limit: 500/s", "rate_limit: 500"),
        ("error_ratio: 0.5", "error_ratios: 0.5"),
        ("listeners:", "listener:"),
        ("required: true", "required: maybe"),
        ("methods: [POST]", "methods: [post]"),
        ("http://127.0.0.1:9000", "ftp://127.0.0.1:9000"),
        ("    upstream: app\n    policy: write", "    policy: write"),
    ] {
        let text = EXAMPLE.replace(good, bad);
        assert_ne!(text, EXAMPLE);
        assert!(validator.accepts(&document(&text)).is_err(), "accepted: {bad}");
        assert!(try_parse(&text).is_err(), "the reader agrees: {bad}");
    }
}

#[test]
fn every_key_is_described() {
    fn walk(schema: &Value, path: &str) {
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let described = property.get("description").and_then(Value::as_str).is_some_and(|text| text.len() > 10);
            assert!(described, "{path}.{key} has no description");
        }
    }
    let schema = schema();
    walk(&schema, "");
    let definitions = schema["$defs"].as_object().expect("there are definitions");
    assert!(definitions.len() > 20);
    for (name, definition) in definitions {
        walk(definition, name);
        assert_eq!(definition["additionalProperties"], json!(false), "{name}");
    }
}

/// What editors fill in is what the reader would take, and what it takes if nothing is written.
#[test]
fn defaults_and_examples_are_values_of_their_keys() {
    fn walk(validator: &Validator, schema: &Value, path: &str, found: &mut usize) {
        if let Some(default) = schema.get("default") {
            *found += 1;
            validator.check(schema, default, path).unwrap_or_else(|why| panic!("the default of {path}: {why}"));
        }
        for example in schema.get("examples").and_then(Value::as_array).into_iter().flatten() {
            validator.check(schema, example, path).unwrap_or_else(|why| panic!("an example of {path}: {why}"));
        }
        match schema {
            Value::Object(members) => {
                for (name, member) in
                    members.iter().filter(|(name, _)| !["default", "examples", "enum"].contains(&name.as_str()))
                {
                    walk(validator, member, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(validator, item, path, found)),
            _ => {}
        }
    }
    let validator = Validator::new();
    let mut found = 0;
    walk(&validator, &validator.root, "", &mut found);
    assert!(found > 60, "{found} defaults");
    for (definition, key) in [("Timeout", "total"), ("Probes", "address"), ("Cors", "max_age"), ("Backoff", "base")] {
        let property = &validator.root["$defs"][definition]["properties"][key];
        assert_eq!(property.get("default").is_some(), key != "base", "{definition}.{key}: {property}");
    }
}

#[test]
fn a_default_that_is_written_changes_nothing() {
    let schema = schema();
    let plain = parse(EXAMPLE);
    let sections = ["probes", "admin", "control", "limits", "drain"];
    let mut written = 0;
    for section in sections {
        let property = &schema["properties"][section];
        let forms = property["anyOf"].as_array().cloned().unwrap_or_else(|| vec![property.clone()]);
        let pointers = forms.iter().filter_map(|form| form["$ref"].as_str()?.strip_prefix('#'));
        for (key, value) in pointers.filter_map(|at| schema.pointer(at)?["properties"].as_object()).flatten() {
            let Some(default) = value.get("default") else { continue };
            written += 1;
            let text = format!("{EXAMPLE}{section}: {{ {key}: {default} }}\n");
            let loaded = try_parse(&text).unwrap_or_else(|errors| panic!("{section}.{key}: {default}: {errors}"));
            assert_eq!(show(&loaded.config), show(&plain), "{section}.{key}: {default}");
        }
    }
    assert!(written >= 6, "{written} defaults were written");
}
