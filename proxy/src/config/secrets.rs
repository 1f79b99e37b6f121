//! What came from the environment is not shown: secrets are given that way, and nobody can tell which of them are.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value;

use super::node::shorten;

/// Characters of a value that is hidden. Shorter ones are no secrets, and would be found everywhere.
const MIN_HIDDEN: usize = 4;

/// The values that came from the environment, and their variables.
///
/// Any two are equal: where a value came from makes no other configuration of it.
#[derive(Clone, Default)]
pub struct FromEnvironment(Arc<[(String, String)]>);

impl FromEnvironment {
    /// Of values and the variables that they came from.
    pub(crate) fn new(mut values: Vec<(String, String)>) -> Self {
        values.retain(|(value, _)| value.chars().count() >= MIN_HIDDEN);
        // As errors show them, if they do.
        let cut = values.iter().map(|(value, name)| (shorten(value).trim_end_matches('…').to_owned(), name.clone()));
        let mut all: Vec<_> = cut.collect();
        all.append(&mut values);
        // The longest first, for one may be a part of another.
        all.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self(all.into())
    }

    /// The text with the name of the variable in place of each of its values.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for (value, name) in self.0.iter() {
            if shown.contains(value) {
                shown = Cow::Owned(shown.replace(value, &format!("«from ${{{name}}}»")));
            }
        }
        shown
    }

    /// The same in every text of a document.
    pub(crate) fn hide_in(&self, document: &mut Value) {
        match document {
            _ if self.0.is_empty() => {}
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.hide(text) {
                    *text = hidden;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.hide_in(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl PartialEq for FromEnvironment {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for FromEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(_, name)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_hidden_and_the_longest_of_two_first() {
        let value = |value: &str, name: &str| (value.to_owned(), name.to_owned());
        let environment = FromEnvironment::new(vec![value("hunter2", "A"), value("hunter2000", "B"), value("on", "C")]);
        for (text, expected) in [
            ("Bearer hunter2000, hunter2", "Bearer «from ${B}», «from ${A}»"),
            ("on and off", "on and off"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(environment.hide(text), expected);
        }
        assert!(!format!("{environment:?}").contains("hunter2"));
    }
}
