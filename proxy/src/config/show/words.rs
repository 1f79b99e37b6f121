//! How single values are shown.

use std::{iter, time::Duration};

use serde_json::{Map, Value};

use crate::config::units::{format_duration, format_size};

pub(super) fn map(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect::<Map<_, _>>())
}

pub(super) fn duration(duration: Duration) -> Value {
    format_duration(duration).into()
}

pub(super) fn size(bytes: usize) -> Value {
    format_size(bytes as u64).into()
}

/// A text that came from the file and may hold a dollar sign, which reading would take for a variable.
pub(super) fn text(text: &str) -> Value {
    text.replace('$', "$$").into()
}

/// The word that stands for a value.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

/// Appends to a shown map what is only shown when it is set.
pub(super) fn with(mut shown: Value, more: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    if let Value::Object(map) = &mut shown {
        for (key, value) in more {
            map.extend(iter::once((key.to_owned(), value)).filter_map(|(key, value)| Some((key, value?))));
        }
    }
    shown
}
