//! Where each key belongs, for those who wrote one under the wrong parent: read off the schema, so it knows every key.

use std::sync::OnceLock;

use serde_json::Value;

use super::schema;

/// Stands for a name that the user gives.
const NAME: &str = "*";
/// Deeper than any section; it bounds the walk.
const DEEPEST: usize = 12;
/// How far away a key may have been meant: over to another top-level section and into it. What is further off is another
/// key of the same name.
const FARTHEST: usize = 3;
/// Places that may be named in one message; more of them help nobody.
const MOST: usize = 3;

/// Where `key` may stand, as a cure; `path` leads to the section where it was written.
pub(super) fn belongs(path: &[String], key: &str) -> Option<String> {
    let parents = || keys().iter().filter(|(_, name)| name == key).map(|(parent, _)| parent);
    let nearest = parents().map(|parent| distance(path, parent)).min().filter(|nearest| *nearest <= FARTHEST)?;
    let mut places: Vec<String> =
        parents().filter(|parent| distance(path, parent) == nearest).map(|parent| shown(path, parent)).collect();
    places.sort();
    places.dedup();
    if places.len() > MOST || places.is_empty() {
        return None;
    }
    let told = format!("`{key}` belongs under {}", places.join(" or "));
    let is_policys =
        path.first().is_some_and(|first| first == "routes") && places.iter().any(|it| it.contains("policies"));
    Some(if is_policys { format!("{told}; a route names it with `policy: NAME`") } else { told })
}

/// Every key with the sections that lead to it.
fn keys() -> &'static [(Vec<String>, String)] {
    static KEYS: OnceLock<Vec<(Vec<String>, String)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let schema = schema();
        let mut found = Vec::new();
        walk(&schema, &schema, &mut Vec::new(), &mut found);
        found.sort();
        found.dedup();
        found
    })
}

fn walk(root: &Value, at: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    if path.len() > DEEPEST {
        return;
    }
    if let Some(named) = at["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?)) {
        walk(root, named, path, found);
    }
    for form in at["anyOf"].as_array().into_iter().flatten() {
        walk(root, form, path, found);
    }
    // The items of a list are written where the list is.
    if at["items"].is_object() {
        walk(root, &at["items"], path, found);
    }
    let named = at["additionalProperties"].as_object().map(|_| (NAME, &at["additionalProperties"]));
    let properties = at["properties"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    for (key, value) in properties.chain(named) {
        if key != NAME {
            found.push((path.clone(), key.to_owned()));
        }
        path.push(key.to_owned());
        walk(root, value, path, found);
        path.pop();
    }
}

fn is_same(written: &str, known: &str) -> bool {
    known == NAME || written == known
}

fn common(path: &[String], parent: &[String]) -> usize {
    path.iter().zip(parent).take_while(|(written, known)| is_same(written, known)).count()
}

/// Steps up and down from one section to another.
fn distance(path: &[String], parent: &[String]) -> usize {
    let common = common(path, parent);
    path.len() + parent.len() - 2 * common
}

/// A section, as seen from another: below it by what leads down, elsewhere from the top.
fn shown(path: &[String], parent: &[String]) -> String {
    let common = common(path, parent);
    if common == path.len() {
        return format!("`{}`", parent[common..].join("."));
    }
    if parent.is_empty() {
        return "the top level".into();
    }
    let step = |(at, known): (usize, &String)| match path.get(at).filter(|_| at < common) {
        Some(written) => written.clone(),
        None if known == NAME => "NAME".into(),
        None => known.clone(),
    };
    format!("`{}`", parent.iter().enumerate().map(step).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn a_key_under_the_wrong_parent_is_told_where_it_belongs() {
        let told = |path: &str, key: &str| {
            let path: Vec<String> = path.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
            belongs(&path, key).unwrap_or_default()
        };
        assert_eq!(told("policies.read", "hedge"), "`hedge` belongs under `retry`");
        assert_eq!(told("policies.read.retry.backoff", "hedge"), "`hedge` belongs under `policies.read.retry`");
        assert_eq!(told("routes", "methods"), "`methods` belongs under `match`");
        assert_eq!(
            told("routes", "idempotency"),
            "`idempotency` belongs under `policies.NAME`; a route names it with `policy: NAME`"
        );
        assert_eq!(told("policies.write", "settle_after"), "`settle_after` belongs under `idempotency.status`");
        assert_eq!(told("", "zebra"), "");
    }
}
