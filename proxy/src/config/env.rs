//! `${NAME}` and `${NAME:-default}` inside scalar values.
//!
//! Substitution happens after YAML is parsed, so a value can never add a key, a list or a comment. `$$` is a dollar sign.
//! A default is taken when the variable is unset or empty, as in a shell.

use super::{
    node::{Kind, Node},
    report::Issue,
};

/// Looks a variable up; injected, so that a test needs no process-wide state.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Substitutes in every scalar of the tree; `given` gets each value and the variable that it came from.
pub(crate) fn substitute(
    node: &mut Node,
    lookup: Lookup<'_>,
    given: &mut Vec<(String, String)>,
    issues: &mut Vec<Issue>,
) {
    match &mut node.kind {
        Kind::Null => {}
        Kind::List(items) => items.iter_mut().for_each(|item| substitute(item, lookup, given, issues)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| substitute(value, lookup, given, issues)),
        Kind::Scalar(scalar) => {
            if !scalar.text.contains('$') {
                return;
            }
            match expand(&scalar.text, lookup, given) {
                Ok(text) => {
                    let written = std::mem::replace(&mut scalar.text, text);
                    scalar.written = written.contains("${").then_some(written);
                }
                Err((message, help)) => issues.push(Issue::new(node.at, message).code("environment").help(help)),
            }
        }
    }
}

fn expand(text: &str, lookup: Lookup<'_>, given: &mut Vec<(String, String)>) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                return Err(("`${` is never closed".into(), "write ${NAME}, or $$ for a dollar sign".into()));
            };
            out.push_str(&variable(inside, lookup, given)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, lookup: Lookup<'_>, given: &mut Vec<(String, String)>) -> Result<String, (String, String)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        let shown = super::node::shorten(inside);
        return Err((
            format!("`${{{shown}}}` is not a variable"),
            "write ${NAME} or ${NAME:-default}, or $$ for a dollar sign".into(),
        ));
    }
    match (lookup(name), default) {
        (Some(value), default) if default.is_none() || !value.is_empty() => {
            given.push((value.clone(), name.to_owned()));
            Ok(value)
        }
        (_, Some(default)) => Ok(default.to_owned()),
        (_, None) => Err((
            format!("the environment variable `{name}` is not set"),
            format!("set it, or give a default: ${{{name}:-…}}"),
        )),
    }
}
