//! From what is noticed while reading to a [`Finding`] with its place, its line and its cure.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{
    FromEnvironment,
    finding::{Finding, Severity},
    node::{Pos, shorten_to},
};

/// Errors shown of one configuration; the rest is counted.
const MAX_SHOWN: usize = 20;
/// Findings kept of one configuration: more than anybody reads, and few enough for a document.
pub(crate) const MAX_KEPT: usize = 200;
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

    /// A file's name, as messages show it.
    pub(crate) fn name(&self, file: usize) -> &str {
        self.0.get(file).map_or("?", |(name, _)| name)
    }

    /// `file:line:column`, as far as it is known.
    pub(crate) fn place(&self, at: Pos) -> String {
        let name = self.name(at.file);
        match at.line {
            0 => name.to_owned(),
            line => format!("{name}:{line}:{}", at.column),
        }
    }

    /// The issue with all that its reader needs.
    fn finding(&self, issue: Issue, lines: &[Vec<&str>]) -> Finding {
        let line = lines.get(issue.at.file).zip(issue.at.line.checked_sub(1)).and_then(|(lines, at)| lines.get(at));
        let source = line.copied().filter(|_| !issue.secret);
        let picture = self.picture(&issue, source);
        let known = |number: usize| (number > 0).then_some(number);
        Finding {
            code: issue.code,
            severity: issue.severity,
            file: self.0.get(issue.at.file).map(|(name, _)| name.clone()),
            line: known(issue.at.line),
            column: known(issue.at.line).and(known(issue.at.column)),
            source: source.map(|line| crop(line, issue.at).0),
            subject: issue.subject,
            message: issue.message,
            cure: issue.help.unwrap_or_default(),
            picture,
        }
    }

    /// Issues in the order of the files, each said once, as many as are kept; and how many there are.
    pub(crate) fn findings(&self, mut issues: Vec<Issue>) -> (Vec<Finding>, usize) {
        issues.sort_by_key(|issue| (issue.at.file, issue.at.line, issue.at.column));
        // What an alias repeats is wrong once.
        issues.dedup_by(|later, earlier| later.at == earlier.at && later.message == earlier.message);
        let all = issues.len();
        // Split once, and not at all where there is nothing to show: a file may have a hundred thousand lines.
        let texts = self.0.iter().filter(|_| all > 0);
        let lines: Vec<Vec<&str>> = texts.map(|(_, text)| text.lines().collect()).collect();
        (issues.into_iter().take(MAX_KEPT).map(|issue| self.finding(issue, &lines)).collect(), all)
    }

    /// The message, its place, the line it is about and the cure under a caret. What is no error says so, with its code.
    fn picture(&self, issue: &Issue, line: Option<&str>) -> String {
        let place = self.place(issue.at);
        let mut out = match issue.severity {
            Severity::Error => format!("{place}: {}", issue.message),
            other => format!("{place}: {}: {} [{}]", other.word(), issue.message, issue.code),
        };
        let help = issue.help.as_deref().unwrap_or_default();
        if let Some(line) = line {
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

/// One thing that was noticed.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) code: &'static str,
    pub(crate) severity: Severity,
    pub(crate) at: Pos,
    /// The setting it is about, from the top.
    pub(crate) subject: Option<String>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The line holds a credential and must not be shown.
    pub(crate) secret: bool,
}

impl Issue {
    /// An error, of the kind that has no better name.
    pub(crate) fn new(at: Pos, message: impl Into<String>) -> Self {
        Self {
            code: "invalid-value",
            severity: Severity::Error,
            at,
            subject: None,
            message: message.into(),
            help: None,
            secret: false,
        }
    }

    /// The same issue without what came from the environment.
    pub(crate) fn hiding(mut self, environment: &FromEnvironment) -> Self {
        let hide = |text: &mut String| {
            if let Cow::Owned(hidden) = environment.hide(text) {
                *text = hidden;
            }
        };
        hide(&mut self.message);
        for text in [&mut self.subject, &mut self.help].into_iter().flatten() {
            hide(text);
        }
        self
    }

    /// The same issue with its cure.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same issue of a kind.
    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

/// Why a configuration was refused: everything that could be found at once, each with its place and its cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct ConfigErrors {
    findings: Vec<Finding>,
    all: usize,
}

impl ConfigErrors {
    pub(crate) fn new(sources: &Sources, issues: Vec<Issue>) -> Self {
        let (findings, all) = sources.findings(issues);
        Self { findings, all }
    }

    pub(crate) fn unreadable(path: &Path, problem: impl fmt::Display, cure: &str) -> Self {
        let (file, message) = (path.display().to_string(), problem.to_string());
        let mut picture = format!("{file}: {message}");
        if !cure.is_empty() {
            let _ = write!(picture, "\n   = {cure}");
        }
        let finding = Finding {
            code: "unreadable",
            severity: Severity::Error,
            file: Some(file),
            line: None,
            column: None,
            source: None,
            subject: None,
            message,
            cure: cure.to_owned(),
            picture,
        };
        Self { findings: vec![finding], all: 1 }
    }

    /// The errors, in the order of the files; the first two hundred of them.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many errors were found; at least one.
    pub const fn count(&self) -> usize {
        self.all
    }

    fn render(&self) -> String {
        let shown: Vec<String> = self.findings.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
        let mut out = shown.join("\n\n");
        if self.all > shown.len() {
            let _ = write!(out, "\n\nand {} more", self.all - shown.len());
        }
        out
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
    closest_of(written, candidates, 0.5)
}

/// The same, if it is at least as alike as that, from 0 to 1.
pub(crate) fn closest_of<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    at_least: f64,
) -> Option<&'a str> {
    let normal = |text: &str| shorten_to(text, 60).to_lowercase().replace('-', "_");
    let written = normal(written);
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&normal(candidate), &written), candidate))
        .filter(|(likeness, _)| *likeness >= at_least)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
