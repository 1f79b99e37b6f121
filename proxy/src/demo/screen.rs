//! What the reader sees: steps, requests as curl lines, answers.
//!
//! Colours only on a terminal, and never where `NO_COLOR` is set (<https://no-color.org>).

use std::io::{self, IsTerminal as _, Write};

use super::client::{Answer, Call};

/// Response headers worth a line; the rest would bury them.
const SHOWN_HEADERS: &[&str] =
    &["idempotent-replayed", "operation-location", "mainstay-error", "location", "retry-after"];

/// Bytes of a body shown at most.
const SHOWN_BODY: usize = 600;

/// Where the story is told.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    coloured: bool,
    steps: u32,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Command,
    Good,
    Bad,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Command => "36",
            Self::Good => "32",
            Self::Bad => "1;31",
        }
    }
}

impl Screen {
    pub(super) fn stdout() -> Self {
        let out = io::stdout();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = out.is_terminal() && !no_color;
        Self::new(Box::new(out), coloured)
    }

    pub(super) fn new(out: Box<dyn Write + Send>, coloured: bool) -> Self {
        Self { out, coloured, steps: 0 }
    }

    pub(super) fn title(&mut self, text: &str) {
        let text = self.paint(Style::Bold, text);
        self.line(&text);
        self.line("");
    }

    /// Begins a step; steps are numbered.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        let text = self.paint(Style::Bold, &format!("{}. {text}", self.steps));
        self.line("");
        self.line(&text);
    }

    pub(super) fn note(&mut self, text: &str) {
        self.line(&format!("   {text}"));
    }

    /// Text to be copied: a file, or commands.
    pub(super) fn block(&mut self, text: &str) {
        for row in text.lines() {
            let row = self.paint(Style::Dim, row);
            self.line(&format!("     {row}"));
        }
    }

    pub(super) fn call(&mut self, call: &Call) {
        let curl = self.paint(Style::Command, &call.curl());
        self.line(&format!("   $ {curl}"));
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        let took = answer.took.as_millis();
        self.line(&format!("     HTTP {}  ({took} ms)", answer.status));
        for name in SHOWN_HEADERS {
            if let Some(value) = answer.header(name) {
                self.line(&format!("     {name}: {value}"));
            }
        }
        if !answer.body.is_empty() {
            let shown: String = answer.body.chars().take(SHOWN_BODY).collect();
            let body = self.paint(Style::Dim, shown.trim_end());
            self.line(&format!("     {body}"));
        }
    }

    /// No answer came.
    pub(super) fn no_answer(&mut self, reason: &str) {
        let text = self.paint(Style::Bad, &format!("no answer: {reason}"));
        self.line(&format!("     {text}"));
    }

    /// A fact that was checked and holds.
    pub(super) fn holds(&mut self, text: &str) {
        let text = self.paint(Style::Good, &format!("✓ {text}"));
        self.line(&format!("   {text}"));
    }

    pub(super) fn failure(&mut self, text: &str) {
        let text = self.paint(Style::Bad, &format!("✗ {text}"));
        self.line(&format!("\n{text}"));
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    /// A reader who closed the pipe has seen enough; the story goes on, for its exit code.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}
