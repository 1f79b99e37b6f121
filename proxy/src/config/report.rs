//! What is said about a configuration: errors and warnings, with the place, the line and the cure.

use std::{
    fmt::{self, Write as _},
    path::PathBuf,
};

use super::node::{Pos, shorten_to};

/// Errors shown of one configuration; the rest is counted.
const MAX_SHOWN: usize = 20;
/// Characters of a line shown, so that a minified document does not flood a terminal.
const MAX_LINE: usize = 140;

/// The files of a configuration, for the lines that messages show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<(String, String)>);

impl Sources {
    /// Adds a file by the name that messages show; returns its number.
    pub(crate) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.0.push((name.into(), text.into()));
        self.0.len() - 1
    }

    /// A file's text.
    pub(crate) fn text(&self, file: usize) -> &str {
        self.0.get(file).map_or("", |(_, text)| text)
    }

    /// `file:line:column`, as far as it is known.
    pub(crate) fn place(&self, at: Pos) -> String {
        let name = self.0.get(at.file).map_or("?", |(name, _)| name);
        match at.line {
            0 => name.to_owned(),
            line => format!("{name}:{line}:{}", at.column),
        }
    }

    fn line(&self, at: Pos) -> Option<&str> {
        let (_, text) = self.0.get(at.file)?;
        text.lines().nth(at.line.checked_sub(1)?)
    }

    /// The message, its place, the line it is about and the cure under a caret.
    fn render(&self, issue: &Issue) -> String {
        let mut out = format!("{}: {}", self.place(issue.at), issue.message);
        let help = issue.help.as_deref().unwrap_or_default();
        if let Some(line) = self.line(issue.at).filter(|_| !issue.secret) {
            let number = issue.at.line.to_string();
            let pad = " ".repeat(number.len());
            let (shown, indent, carets) = crop(line, issue.at);
            let underline = format!("{}{} {help}", " ".repeat(indent), "^".repeat(carets));
            let _ = write!(out, "\n {pad} |\n {number} | {shown}\n {pad} | {}", underline.trim_end());
        } else if !help.is_empty() {
            let _ = write!(out, "\n   = {help}");
        }
        out
    }
}

/// The part of a line around the place, with the columns before the caret and the carets that fit.
fn crop(line: &str, at: Pos) -> (String, usize, usize) {
    let column = at.column.saturating_sub(1);
    let length = line.chars().count();
    let start = if length > MAX_LINE { column.saturating_sub(MAX_LINE / 2) } else { 0 };
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().skip(start).take(MAX_LINE).map(visible).collect();
    let indent = column.min(length) - start.min(column.min(length));
    let room = shown.chars().count().saturating_sub(indent).max(1);
    (shown.trim_end().to_owned(), indent, at.width.clamp(1, room))
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) at: Pos,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The line holds a credential and must not be shown.
    pub(crate) secret: bool,
}

impl Issue {
    pub(crate) fn new(at: Pos, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None, secret: false }
    }

    /// The same issue with its cure.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Why a configuration was refused: everything that could be found at once, each with its place and its cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct ConfigErrors {
    rendered: Vec<String>,
    more: usize,
}

impl ConfigErrors {
    pub(crate) fn new(sources: &Sources, mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| (issue.at.file, issue.at.line, issue.at.column));
        // What an alias repeats is wrong once.
        issues.dedup_by(|later, earlier| later.at == earlier.at && later.message == earlier.message);
        let rendered: Vec<String> = issues.iter().take(MAX_SHOWN).map(|issue| sources.render(issue)).collect();
        Self { more: issues.len() - rendered.len(), rendered }
    }

    pub(crate) fn unreadable(path: &std::path::Path, problem: impl fmt::Display) -> Self {
        Self { rendered: vec![format!("{}: {problem}", path.display())], more: 0 }
    }

    /// How many errors were found; at least one.
    pub fn count(&self) -> usize {
        self.rendered.len() + self.more
    }

    fn render(&self) -> String {
        let mut out = self.rendered.join("\n\n");
        if self.more > 0 {
            let _ = write!(out, "\n\nand {} more", self.more);
        }
        out
    }
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub(crate) String);

impl Warning {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The warning without decoration, on one line.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a configuration was read from, and a digest that changes whenever its content does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The files, in the order read.
    pub files: Vec<PathBuf>,
    /// SHA-256 over names and contents.
    pub digest: [u8; 32],
}

/// `did you mean …?` if one of the candidates is close to what was written.
pub(crate) fn suggest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(written, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate most like what was written, if any is close.
pub(crate) fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normal = |text: &str| shorten_to(text, 60).to_lowercase().replace('-', "_");
    let written = normal(written);
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&normal(candidate), &written), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
