//! From the tree to typed settings, collecting every error on the way.
//!
//! A [`Setting`] reads itself from a node and describes itself for the JSON Schema, so the two cannot drift apart. `None`
//! means that an error was reported; the caller goes on, so that one run shows all errors. A map of settings is declared
//! with [`section!`].

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    definitions::Definitions,
    foreign,
    node::{At, Kind, Node, Pos, Scalar},
    report::{Issue, MAX_KEPT, closest, closest_of, suggest},
};

/// How alike two keys are, from 0 to 1, if one is the other with a slip of the keyboard.
const SLIP: f64 = 0.8;

/// Something that can be written in the configuration.
pub(crate) trait Setting: Sized {
    /// Reads itself, or reports why not.
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self>;

    /// Its JSON Schema.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// One key of a section.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) required: bool,
    pub(crate) schema: fn(&mut Definitions) -> Value,
}

/// What has been reported so far, and where in the document reading stands.
pub(crate) struct Cx {
    pub(crate) issues: Vec<Issue>,
    path: Vec<String>,
    /// Where a key may stand that a section does not have; given, for whoever knows all sections stands above them.
    belongs: fn(&[String], &str) -> Option<String>,
}

impl Cx {
    /// Goes on after what was reported before; `belongs` tells where a key may stand.
    pub(crate) fn with(issues: Vec<Issue>, belongs: fn(&[String], &str) -> Option<String>) -> Self {
        Self { issues, path: Vec::new(), belongs }
    }

    /// Reports an error; `None`, for `return cx.error(…)`.
    pub(crate) fn error<T>(&mut self, at: Pos, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.coded("invalid-value", at, message, help)
    }

    /// The same where the line may hold a credential: it is not shown.
    pub(crate) fn error_unshown<T>(
        &mut self,
        at: Pos,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.error::<T>(at, message, help);
        if let Some(issue) = self.issues.last_mut() {
            issue.secret = true;
        }
        None
    }

    /// Reports an error of a kind that has a name of its own.
    pub(crate) fn coded<T>(
        &mut self,
        code: &'static str,
        at: Pos,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        let issue = Issue::new(at, message).code(code).help(help);
        let subject = (!self.path.is_empty()).then(|| self.path.join("."));
        self.issues.push(Issue { subject, ..issue });
        None
    }

    /// Reports that a value is not what its key takes.
    pub(crate) fn mismatch<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let message = match (&node.kind, self.path.last()) {
            (_, None) => format!("a configuration cannot be {}", node.describe()),
            (Kind::Scalar(scalar), Some(key)) => format!("{} is not a value for `{key}`", scalar.shown()),
            (_, Some(key)) => format!("`{key}` cannot be {}", node.describe()),
        };
        self.error(node.at, message, format!("expected {expected}"))
    }

    /// Reports that a number is beyond its bounds.
    pub(crate) fn out_of_range<T>(&mut self, node: &Node, bounds: &str) -> Option<T> {
        let key = self.path.last().map_or("this", String::as_str);
        let shown = node.scalar().map_or_else(String::new, Scalar::shown);
        self.coded("out-of-range", node.at, format!("{shown} is out of range for `{key}`"), bounds)
    }

    /// The section being read, for messages.
    fn place(&self) -> String {
        if self.path.is_empty() { "at the top level".into() } else { format!("in `{}`", self.path.join(".")) }
    }

    /// Reads something under a key.
    fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// The keys of a section, checked: no unknown one, no missing one, none of a later version.
    pub(crate) fn entries<'n>(
        &mut self,
        node: &'n Node,
        fields: &[Field],
        later: &[&str],
    ) -> Option<&'n [(At<String>, Node)]> {
        let known = || fields.iter().map(|field| field.key);
        let Kind::Map(entries) = &node.kind else {
            let keys = known().collect::<Vec<_>>().join(", ");
            return self.mismatch(node, &format!("a map of {keys}"));
        };
        // A required key that was only misspelt is one error, not two.
        let mut meant = Vec::new();
        for (key, _) in entries {
            let name = key.value.as_str();
            if later.contains(&name) {
                let message = format!("`{name}` is not available in this version");
                self.coded::<()>("not-available", key.at, message, "remove it");
            } else if !known().any(|known| known == name) {
                let message = format!("unknown key `{}` {}", super::node::shorten(name), self.place());
                let (code, help) = self.unknown(name, &known().collect::<Vec<_>>());
                self.coded::<()>(code, key.at, message, help);
                meant.extend(closest(name, known()));
            }
        }
        for field in fields.iter().filter(|field| field.required && !meant.contains(&field.key)) {
            if node.lookup(field.key).is_none() {
                let message = format!("`{}` is missing {}", field.key, self.place());
                self.coded::<()>("missing-key", node.at, message, format!("add it: {}", field.doc.trim()));
            }
        }
        // A section that lacks something is read all the same, so that its other errors show in the same run.
        Some(entries)
    }

    /// What kind of mistake a key is that this section does not have, and its cure: a slip of the keyboard, a name from
    /// elsewhere, a key that belongs to another section, or anything.
    fn unknown(&self, name: &str, known: &[&str]) -> (&'static str, String) {
        let all = || format!("known keys: {}", known.join(", "));
        if self.issues.len() >= MAX_KEPT {
            return ("unknown-key", all());
        }
        let plural = known.iter().copied().find(|known| is_plural(known, name));
        let slip = plural.or_else(|| closest_of(name, known.iter().copied(), SLIP));
        if let Some(slip) = slip {
            return ("unknown-key", format!("did you mean `{slip}`?"));
        }
        let here = foreign::here(&self.path, name);
        let foreign = || format!("here it is `{}`", here.join("` or `"));
        if here.first().is_some_and(|ours| foreign::is_in(&self.path, ours)) {
            return ("foreign-name", foreign());
        }
        if let Some(belongs) = (self.belongs)(&self.path, name) {
            return ("wrong-place", belongs);
        }
        if !here.is_empty() {
            return ("foreign-name", foreign());
        }
        ("unknown-key", suggest(name, known.iter().copied()).unwrap_or_else(all))
    }

    /// Reads the value under one key, if it is there.
    pub(crate) fn field<T: Setting>(&mut self, entries: &[(At<String>, Node)], key: &str) -> Option<At<T>> {
        let (_, node) = entries.iter().find(|(name, _)| name.value == key)?;
        Some(At { value: self.value(key, node)?, at: node.at })
    }

    /// Reads the value of a key.
    pub(crate) fn value<T: Setting>(&mut self, key: &str, node: &Node) -> Option<T> {
        self.within(key, |cx| match node.kind {
            Kind::Null => cx.error(node.at, format!("`{key}` has no value"), "give it one, or remove the key"),
            _ => T::decode(node, cx),
        })
    }

    /// Reads one of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, node: &Node, choices: &[(&str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        let listed = || format!("one of {}", words().collect::<Vec<_>>().join(", "));
        let Some(scalar) = node.scalar() else {
            return self.mismatch(node, &listed());
        };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == scalar.text) {
            return Some(*value);
        }
        match suggest(&scalar.text, words()) {
            Some(help) => {
                let key = self.path.last().map_or("this", String::as_str);
                let message = format!("{} is not a value for `{key}`", scalar.shown());
                self.error(node.at, message, format!("{help} ({})", listed()))
            }
            None => self.mismatch(node, &listed()),
        }
    }

    /// A setting within its range, or its default; outside of it is an error.
    pub(crate) fn ranged<T>(
        &mut self,
        key: &str,
        setting: Option<At<T>>,
        default: T,
        holds: impl FnOnce(&T) -> bool,
        range: &str,
    ) -> T {
        match setting {
            None => default,
            Some(setting) if holds(&setting.value) => setting.value,
            Some(setting) => {
                self.coded::<()>("out-of-range", setting.at, format!("`{key}` is out of range"), range);
                default
            }
        }
    }

    /// A duration that must be longer than nothing, or its default.
    pub(crate) fn positive(&mut self, key: &str, setting: Option<At<Duration>>, default: Duration) -> Duration {
        self.ranged(key, setting, default, |duration| !duration.is_zero(), "it must be longer than 0s")
    }
}

/// The value of an optional setting, or its default.
pub(crate) fn or<T>(setting: Option<At<T>>, default: T) -> T {
    setting.map_or(default, |setting| setting.value)
}

/// The JSON Schema of a section.
pub(crate) fn section_schema(doc: &str, fields: &[Field], definitions: &mut Definitions) -> Value {
    let mut properties = serde_json::Map::new();
    for field in fields {
        let mut schema = (field.schema)(definitions);
        schema["description"] = field.doc.trim().into();
        if let Some(default) = default_text(field.doc).and_then(|(said, default)| literal(said, default)) {
            schema["default"] = default;
        }
        properties.insert(field.key.into(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.key).collect();
    let mut schema = json!({
        "type": "object",
        "description": doc.trim(),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// The sentence of a description that says the default, and the default in it: `Default 25ms.`, or `Default: the peer.`
pub(crate) fn default_text(doc: &str) -> Option<(&str, &str)> {
    let start = doc.find("Default").filter(|at| doc[..*at].chars().next_back().is_none_or(char::is_whitespace))?;
    let after = doc[start..].strip_prefix("Default")?;
    let text = after.trim_start_matches(':').trim_start();
    // The sentence ends with a stop that is no part of an address or a number.
    let end = text
        .char_indices()
        .find(|(at, c)| *c == '.' && text[at + 1..].chars().next().is_none_or(char::is_whitespace))?;
    let default = &text[..end.0];
    let length = after.len() - text.len() + "Default".len() + default.len() + 1;
    Some((&doc[start..start + length], default))
}

/// The value that a default is, if it is one: after a colon stand words about it.
fn literal(said: &str, default: &str) -> Option<Value> {
    let default = default.strip_prefix('`').and_then(|inner| inner.strip_suffix('`')).unwrap_or(default);
    let is_flow = default.starts_with('[') && default.ends_with(']') || default.starts_with('{');
    if said.starts_with("Default:") || (default.contains([' ', '`']) && !is_flow) {
        return None;
    }
    // A word, as this reader has it: to older readers of YAML it was a truth value.
    if default == "off" {
        return Some(default.into());
    }
    // An address in brackets is no list.
    serde_saphyr::from_str(default).ok().or_else(|| Some(default.into()))
}

/// A choice between forms of one setting.
pub(crate) fn any_of<const N: usize>(forms: [Value; N]) -> Value {
    json!({ "anyOf": Vec::from(forms) })
}

/// One of a few words.
pub(crate) fn words(words: &[&str]) -> Value {
    let variable = self::ENV;
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": variable }] })
}

/// Declares a map of settings: a struct with one `Option<At<T>>` per key, its reader and its JSON Schema. The documentation
/// of each field is the description that editors show.
///
/// `field: Type = required` makes a key mandatory; `field["key"]: Type` gives a key that Rust cannot spell; `later [...]`
/// lists keys that the design names and this version refuses with their own message.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident $([$key:literal])? : $type:ty $(= $required:ident)?
            ),* $(,)?
        }
        $(later [$($later:literal),* $(,)?])?
    ) => {
        $(#[doc = $doc])+
        pub(crate) struct $name {
            $( $(#[doc = $field_doc])+ pub(crate) $field: Option<$crate::config::node::At<$type>>, )*
        }

        impl $name {
            const FIELDS: &'static [$crate::config::decode::Field] = &[$(
                $crate::config::decode::Field {
                    key: $crate::config::decode::section!(@key $field $($key)?),
                    doc: concat!($($field_doc),+),
                    required: $crate::config::decode::section!(@required $($required)?),
                    schema: <$type as $crate::config::decode::Setting>::schema,
                },
            )*];
            const LATER: &'static [&'static str] = &[$($($later),*)?];

            /// The JSON Schema itself, where others refer to it by its name.
            pub(crate) fn describe(definitions: &mut $crate::config::definitions::Definitions) -> serde_json::Value {
                $crate::config::decode::section_schema(concat!($($doc),+), Self::FIELDS, definitions)
            }
        }

        impl $crate::config::decode::Setting for $name {
            fn decode(node: &$crate::config::node::Node, cx: &mut $crate::config::decode::Cx) -> Option<Self> {
                let entries = cx.entries(node, Self::FIELDS, Self::LATER)?;
                Some(Self {
                    $( $field: cx.field::<$type>(entries, $crate::config::decode::section!(@key $field $($key)?)), )*
                })
            }

            fn schema(definitions: &mut $crate::config::definitions::Definitions) -> serde_json::Value {
                // The prefix tells what is written from what is meant; a reader of the schema needs no such reminder.
                let name = stringify!($name);
                let name = name.strip_prefix("Raw").unwrap_or(name);
                definitions.refer_to(name, std::any::type_name::<Self>(), Self::describe)
            }
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
    (@required required) => { true };
    (@required) => { false };
}

pub(crate) use section;

/// What the schema lets stand for a value that the environment will give.
pub(crate) const ENV: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// Whether one is several of the other: `policies` of `policy`.
fn is_plural(several: &str, one: &str) -> bool {
    let stem = |ending: &str| several.strip_suffix(ending);
    stem("s") == Some(one) || stem("ies").is_some_and(|stem| one.strip_suffix('y') == Some(stem))
}
