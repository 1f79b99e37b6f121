//! Every key of the configuration, as a page of Markdown: from the JSON Schema, which comes from the declarations that read it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{decode::default_text, schema};

const HEAD: &str = "\
# Configuration: every key

<!-- Made by `mainstay config reference`; change it there. -->

What they are for, and in which order to think about them, is in [configuration.md](../configuration.md). `[]` stands for each entry of a list,
`NAME` for a name of yours. Any scalar may be, or contain, `${VARIABLE}` or `${VARIABLE:-otherwise}`.
";
/// What a text looks like, by what stands in its pattern; the first that fits.
const KINDS: [(&str, &str); 4] =
    [("KiB", "size"), ("/ ?[0-9", "rate"), ("ns|us|ms", "duration"), ("^https?://|^http://", "URL")];
/// How deep sections lie in each other at most: what is deeper would be a section within itself.
const MAX_DEPTH: usize = 16;

/// The page.
pub fn reference() -> String {
    let schema = schema();
    let mut reader = Reader { schema: &schema, rows: Vec::new() };
    reader.walk("", &schema, 0);
    let mut page = HEAD.to_owned();
    let mut section = "";
    for row in &reader.rows {
        let top = row.path.split(['.', '[']).next().unwrap_or_default();
        if top != section {
            section = top;
            // Writing to a String does not fail.
            let _ = write!(page, "\n## {section}\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
        }
        let Row { path, kind, default, meaning } = row;
        let _ = writeln!(page, "| `{path}` | {} | {default} | {} |", cell(kind), cell(meaning));
    }
    page
}

struct Row {
    path: String,
    kind: String,
    default: String,
    meaning: String,
}

struct Reader<'a> {
    schema: &'a Value,
    rows: Vec<Row>,
}

impl<'a> Reader<'a> {
    /// A key's row, and those of the keys below it, in the order of the declarations.
    fn walk(&mut self, path: &str, node: &'a Value, depth: usize) {
        if !path.is_empty() {
            // A key of two forms of one section is the same key.
            if self.rows.iter().any(|row| row.path == path) {
                return;
            }
            self.row(path, node);
        }
        if depth >= MAX_DEPTH {
            return;
        }
        for form in self.forms(node) {
            if form["type"] == "array" {
                for item in self.forms(&form["items"]) {
                    self.keys(&format!("{path}[]"), item, depth);
                }
            } else {
                self.keys(path, form, depth);
            }
        }
    }

    fn keys(&mut self, path: &str, form: &'a Value, depth: usize) {
        for (name, value) in properties(form) {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.walk(&inner, value, depth + 1);
        }
        if let named @ Value::Object(_) = &form["additionalProperties"] {
            for inner in self.forms(named) {
                self.keys(&format!("{path}.NAME"), inner, depth + 1);
            }
        }
    }

    fn row(&mut self, path: &str, node: &'a Value) {
        let text = node["description"].as_str().or_else(|| self.target(node)["description"].as_str());
        let text = text.unwrap_or_default();
        let (default, meaning) = match default_text(text) {
            Some((said, default)) => {
                let is_literal = default.starts_with(['[', '{']) || !default.contains(' ');
                let bare = default.trim_matches('`');
                let default = if is_literal { format!("`{bare}`") } else { cell(default) };
                (default, text.replace(said, ""))
            }
            None => (String::new(), text.to_owned()),
        };
        let meaning = meaning.trim().to_owned();
        self.rows.push(Row { path: path.to_owned(), kind: self.kinds(node), default, meaning });
    }

    /// What a reference leads to.
    fn target(&self, node: &'a Value) -> &'a Value {
        let Some(pointer) = node["$ref"].as_str().and_then(|target| target.strip_prefix('#')) else { return node };
        self.schema.pointer(pointer).unwrap_or(node)
    }

    /// Its forms, but for the one that is an environment variable: any scalar may be one.
    fn forms(&self, node: &'a Value) -> Vec<&'a Value> {
        let node = self.target(node);
        let Some(forms) = node["anyOf"].as_array() else { return vec![node] };
        let is_variable = |form: &Value| form["pattern"].as_str().is_some_and(|pattern| pattern.starts_with(r"\$\{"));
        forms.iter().flat_map(|form| self.forms(form)).filter(|form| !is_variable(form)).collect()
    }

    fn kinds(&self, node: &'a Value) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for form in self.forms(node) {
            let kind = self.kind(form);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.join(" or ")
    }

    fn kind(&self, form: &'a Value) -> String {
        if let Some(words) = form["enum"].as_array() {
            return words.iter().map(code).collect::<Vec<_>>().join(" or ");
        }
        if let Some(constant) = form.get("const") {
            return code(constant);
        }
        match form["type"].as_str() {
            Some("array") => {
                let items = self.kinds(&form["items"]);
                if items.contains(" or ") { format!("list of ({items})") } else { format!("list of {items}") }
            }
            Some("integer" | "number") => match (form.get("minimum"), form.get("maximum")) {
                (None, None) => "number".to_owned(),
                (low, high) => {
                    let bound = |bound: Option<&Value>| bound.map(ToString::to_string).unwrap_or_default();
                    format!("{} to {}", bound(low), bound(high))
                }
            },
            Some("object") => "map".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("string") | None if form["type"].is_array() || form["type"] == "string" => {
                let pattern = form["pattern"].as_str().unwrap_or_default();
                let known = KINDS.iter().find(|(part, _)| pattern.contains(part));
                known.map_or("text", |(_, name)| name).to_owned()
            }
            _ => "value".to_owned(),
        }
    }
}

fn properties(form: &Value) -> impl Iterator<Item = (&String, &Value)> {
    form["properties"].as_object().into_iter().flat_map(Map::iter)
}

fn code(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}

/// Text in a cell of a table: no bar ends it, and nothing outside of code is taken for a tag.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('\n', " ");
    if text.contains('`') { text } else { text.replace('<', "&lt;") }
}
