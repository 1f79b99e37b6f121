//! What the checks have found so far, each with where it was written.

use crate::config::{finding::Severity, node::Node, report::Issue};

/// Collects findings about a document.
pub(super) struct Found<'n> {
    root: &'n Node,
    issues: Vec<Issue>,
}

impl<'n> Found<'n> {
    pub(super) const fn new(root: &'n Node) -> Self {
        Self { root, issues: Vec::new() }
    }

    pub(super) fn into_issues(self) -> Vec<Issue> {
        self.issues
    }

    /// Something that is allowed and cannot work as it looks. `path` leads from the top to the setting (keys, and numbers of
    /// list items); the message stands by itself, and the cure goes on after it.
    pub(super) fn warn(
        &mut self,
        code: &'static str,
        path: &[&str],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, path, message, cure);
    }

    /// Something that works and should be known.
    pub(super) fn note(
        &mut self,
        code: &'static str,
        path: &[&str],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.push(Severity::Note, code, path, message, cure);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &[&str],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let (at, subject) = self.root.locate(path);
        let issue = Issue::new(at, message).code(code).help(cure);
        self.issues.push(Issue { severity, subject: Some(subject), ..issue });
    }

    /// Whether the setting was written at all.
    pub(super) fn writes(&self, path: &[&str]) -> bool {
        self.root.find(path).is_some()
    }

    /// Whether the setting was written as that word.
    pub(super) fn says(&self, path: &[&str], word: &str) -> bool {
        self.root.find(path).is_some_and(|node| node.is_word(word))
    }
}
