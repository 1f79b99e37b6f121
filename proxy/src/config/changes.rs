//! What differs between two configurations, in words.

use serde_json::Value;

use super::{document, model::Config};

/// Every setting that differs, as `policies.write.timeout.total: 2s -> 3s`; what is only in one of them has a dash.
pub fn changes(before: &Config, after: &Config) -> Vec<String> {
    let mut found = Vec::new();
    compare("", Some(&document(before)), Some(&document(after)), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&inner, before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for at in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{at}]"), before.get(at), after.get(at), found);
            }
        }
        (before, after) => found.push(format!("{path}: {} -> {}", in_words(before), in_words(after))),
    }
}

fn in_words(value: Option<&Value>) -> String {
    match value {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
