//! A YAML document as a tree in which every key and every value knows where it was written.

use std::fmt::Write as _;

/// Where something was written: a file by its number in [`Sources`](super::report::Sources), line and column from 1, in
/// characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    /// The file's number.
    pub(crate) file: usize,
    /// The line, from 1; 0 when only the file is known.
    pub(crate) line: usize,
    /// The column, from 1.
    pub(crate) column: usize,
    /// How many characters the caret underlines.
    pub(crate) width: usize,
}

impl Pos {
    /// The file as a whole.
    pub(crate) const fn file(file: usize) -> Self {
        Self { file, line: 0, column: 0, width: 0 }
    }
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Pos,
}

/// One value of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Pos,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Nothing: `key:` with nothing behind it, `~` or `null`.
    Null,
    /// Any scalar, as text: what it means is decided by the setting it is written for.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written.
    Map(Vec<(At<String>, Node)>),
}

/// A scalar.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// Its text, after substitution of the environment.
    pub(crate) text: String,
    /// Written without quotes, so that `3` is a number and `true` a boolean where any JSON value may stand.
    pub(crate) plain: bool,
    /// The text as written, if the environment changed it.
    pub(crate) written: Option<String>,
}

impl Scalar {
    /// The text for an error message, or the variable that it came from: it may be a secret.
    pub(crate) fn shown(&self) -> String {
        match &self.written {
            Some(written) => format!("what came from `{}`", shorten(written)),
            None => format!("`{}`", shorten(&self.text)),
        }
    }
}

impl Node {
    /// What a reader would call this kind of value.
    pub(crate) const fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// The value under `key`, if this is a map that has it.
    pub(crate) fn lookup(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Where what `path` leads to was written, and how it is called from the top: keys, and the numbers of list items. What
    /// was not written stands where its nearest parent does.
    pub(crate) fn locate(&self, path: &[&str]) -> (Pos, String) {
        let (mut here, mut at, mut name) = (Some(self), Pos::file(self.at.file), String::new());
        for step in path {
            if here.is_some_and(|node| matches!(node.kind, Kind::List(_))) {
                let _ = write!(name, "[{step}]");
            } else {
                let dot = if name.is_empty() { "" } else { "." };
                let _ = write!(name, "{dot}{step}");
            }
            let found = here.and_then(|node| node.child(step));
            at = found.map_or(at, |(place, _)| place);
            here = found.map(|(_, node)| node);
        }
        // A single value is underlined itself; of a map or a list the key says more than its first brace.
        (here.filter(|node| node.scalar().is_some()).map_or(at, |node| node.at), name)
    }

    /// What `path` leads to, if it was written: keys, and the numbers of list items.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| node.child(step).map(|(_, node)| node))
    }

    /// The value under a key or at a number, and where it begins.
    fn child(&self, step: &str) -> Option<(Pos, &Self)> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.value == step).map(|(key, node)| (key.at, node)),
            Kind::List(items) => step.parse().ok().and_then(|at: usize| items.get(at)).map(|node| (node.at, node)),
            Kind::Null | Kind::Scalar(_) => None,
        }
    }

    /// The scalar, if this is one.
    pub(crate) const fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether this is one of the words by which something is switched off or on, as a short form.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.scalar().is_some_and(|scalar| scalar.text == word)
    }
}

/// A value's text, cut so that a message stays readable, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, 60)
}

/// The same for texts that may be longer, in characters.
pub(crate) fn shorten_to(text: &str, longest: usize) -> String {
    let mut short: String = text.chars().take(longest).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        short.push('…');
    }
    short
}
