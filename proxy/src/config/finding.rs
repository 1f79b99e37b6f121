//! What is said about a configuration: one list, whoever reads it. `check` prints it, `run` and each reload log it, and
//! errors are the part of it for which a configuration is refused.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is allowed, and cannot work as it looks.
    Warning,
    /// It works, and should be known.
    Note,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// The word for it, in documents, metrics and on the terminal.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is to be said about a configuration: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is, in a word that does not change between versions: `doubt-without-status`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: Option<String>,
    /// The line, from 1, if the finding is about one.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// The line as written; left out where it holds a credential.
    pub source: Option<String>,
    /// The setting, from the top: `policies.write.idempotency`.
    pub subject: Option<String>,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub cure: String,
    /// The place and the cure under a caret, as a terminal shows it.
    pub(super) picture: String,
}

impl Finding {
    /// `file:line:column`, as far as it is known.
    pub fn at(&self) -> String {
        let mut at = self.file.clone().unwrap_or_default();
        for number in [self.line, self.column].into_iter().flatten() {
            // Writing to a String does not fail.
            let _ = write!(at, ":{number}");
        }
        at
    }

    /// What is the matter and what to do, on one line.
    pub fn text(&self) -> String {
        if self.cure.is_empty() { self.message.clone() } else { format!("{}; {}", self.message, self.cure) }
    }

    /// The finding as a document.
    pub fn document(&self) -> Value {
        json!({
            "code": self.code,
            "severity": self.severity.word(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "source": self.source,
            "subject": self.subject,
            "message": self.message,
            "cure": self.cure,
        })
    }
}

/// The finding with its place, its line and its cure, as `check` prints it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.picture)
    }
}
