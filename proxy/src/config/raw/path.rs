//! Path patterns: exact, `{name}` for one segment, `/**` as a last part for any rest.

use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::config::{
    decode::{Cx, Setting},
    model::{PathPattern, Segment},
    node::{Node, shorten},
};

/// Segments of a pattern at most: matching walks them for every request.
const MAX_SEGMENTS: usize = 64;

impl Setting for PathPattern {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, "a path such as /payments/{id} or /**");
        };
        parse(&scalar.text)
            .map_err(|(problem, help)| cx.error::<()>(node.at, format!("{} {problem}", scalar.shown()), help))
            .ok()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/", "examples": ["/payments/{id}", "/payments/**", "/**"] })
    }
}

impl FromStr for PathPattern {
    type Err = String;

    /// Reads a pattern outside of a configuration.
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|(problem, help)| format!("`{}` {problem}: {help}", shorten(text)))
    }
}

/// Reads a pattern; what is wrong comes back as (problem, cure).
fn parse(text: &str) -> Result<PathPattern, (String, String)> {
    let wrong = |problem: &str, help: &str| Err((problem.to_owned(), help.to_owned()));
    let Some(inside) = text.strip_prefix('/') else {
        return Err(("does not start with a slash".into(), format!("write /{}", shorten(text))));
    };
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        return Err((
            format!("holds `{}`, which no path holds", bad.escape_default()),
            "a path is percent-encoded ASCII, without a query".into(),
        ));
    }
    let (inside, rest) = match inside {
        "**" => ("", true),
        _ => inside.strip_suffix("/**").map_or((inside, false), |prefix| (prefix, true)),
    };
    let mut segments = Vec::new();
    // `/**` has no segment; `/` has one, empty; `/a/` has a last one that is empty, and differs from `/a`.
    let parts = if rest && inside.is_empty() { None } else { Some(inside.split('/')) };
    for part in parts.into_iter().flatten() {
        if part == "**" {
            return wrong("has `**` before its end", "`/**` stands only as the last part; use {name} for one segment");
        }
        let segment = segment(part)?;
        if let Segment::Param(name) = &segment
            && segments.iter().any(|other| matches!(other, Segment::Param(other) if other == name))
        {
            return Err((format!("has `{{{name}}}` twice"), "give each segment its own name".into()));
        }
        segments.push(segment);
    }
    if segments.len() > MAX_SEGMENTS {
        return wrong("has too many segments", "at most 64");
    }
    if let Some((_, before_last)) = segments.split_last()
        && before_last.iter().any(|segment| matches!(segment, Segment::Literal(text) if text.is_empty()))
    {
        return wrong("has an empty segment", "remove the doubled slash");
    }
    Ok(PathPattern { text: text.to_owned(), segments, rest })
}

fn segment(part: &str) -> Result<Segment, (String, String)> {
    let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return match part {
            part if part.contains('*') => Err((
                "has a `*` that is not a last `/**`".into(),
                "use {name} for one segment, or `/**` at the end for any rest".into(),
            )),
            part if part.contains(['{', '}']) => Err((
                "has a brace inside a segment".into(),
                "`{name}` stands for a whole segment: /payments/{id}/refund".into(),
            )),
            part => Ok(Segment::Literal(part.to_owned())),
        };
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err((
            format!("has `{{{}}}`, which is not a name", shorten(name)),
            "a name is letters, digits and `_`: {id}".into(),
        ));
    }
    Ok(Segment::Param(name.to_owned()))
}
