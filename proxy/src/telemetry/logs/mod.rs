//! The program's log (on standard error) and the [access log](AccessLog) (on standard output), as JSON or as text.
//!
//! Both go through a bounded buffer and a thread of its own (`lines`): a reader that stalls costs lines, which are
//! counted, and never a request. What a request brought is escaped, so that it cannot forge a line or steer a terminal.

mod access;
pub(crate) mod bound;
mod escape;
mod format;
mod lines;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mainstay_policies::clock::WallClock;
use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, ParseError, Targets},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

pub use self::access::{AccessEntry, AccessLog};
use self::{format::JsonOrText, lines::Lines};
use crate::config::model::{LogFormat, Logs};

/// Bytes that wait for standard output, and for standard error, at most: some thousand lines each.
const BUFFER: usize = 1024 * 1024;

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not a filter.
    #[error("`{level}` is not a log level or filter: {reason}")]
    Level {
        /// As it was given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another subscriber is installed.
    #[error("logging is set up already")]
    AlreadySetUp,
    /// No thread.
    #[error("cannot start the log's thread: {0}")]
    Thread(#[from] io::Error),
}

/// The logs of the process.
pub struct Logging {
    filter: reload::Handle<Targets, Registry>,
    /// Changes of the level: what goes back later does so only if there was none meanwhile.
    changes: AtomicU64,
    json: Arc<AtomicBool>,
    program: Lines,
    access: Arc<AccessLog>,
}

/// Sets up both logs, once in the life of the process. `dropped` counts lines that did not fit.
pub fn init(logs: &Logs, clock: WallClock, dropped: Arc<AtomicU64>) -> Result<Logging, LogError> {
    let program = Lines::start("mainstay-log", io::stderr(), BUFFER, Arc::clone(&dropped))?;
    let program = program.for_terminal(io::stderr().is_terminal());
    let access = Lines::start("mainstay-access", io::stdout(), BUFFER, dropped)?;
    let json = Arc::new(AtomicBool::new(logs.format == LogFormat::Json));
    let (filter, handle) = reload::Layer::new(parse_level(&logs.level)?);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(program.clone())
        .event_format(JsonOrText::new(Arc::clone(&json)));
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|_| LogError::AlreadySetUp)?;
    Ok(Logging {
        filter: handle,
        changes: AtomicU64::new(0),
        json,
        program,
        access: Arc::new(AccessLog::new(logs, clock, access)),
    })
}

impl Logging {
    /// Goes on as `logs` says; if its level is not valid, everything stays as it was.
    pub fn apply(&self, logs: &Logs) -> Result<(), LogError> {
        self.set_level(&logs.level)?;
        self.json.store(logs.format == LogFormat::Json, Relaxed);
        self.access.apply(logs);
        Ok(())
    }

    /// Changes the level alone; the change's number, for [`go_back`](Self::go_back).
    pub fn set_level(&self, level: &str) -> Result<u64, LogError> {
        let filter = parse_level(level)?;
        let change = self.changes.fetch_add(1, Relaxed) + 1;
        self.filter.reload(filter).map_err(|_| LogError::AlreadySetUp)?;
        Ok(change)
    }

    /// Changes the level, unless it was changed once more since `change`.
    pub fn go_back(&self, change: u64, level: &str) -> Result<(), LogError> {
        if self.changes.load(Relaxed) == change { self.set_level(level).map(drop) } else { Ok(()) }
    }

    /// The level that counts now.
    pub fn level(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// The access log.
    pub fn access(&self) -> Arc<AccessLog> {
        Arc::clone(&self.access)
    }

    /// Waits until everything is written, at most so long. Blocks; for the end of the process.
    pub fn flush(&self, within: Duration) {
        self.program.flush(within);
        self.access.flush(within);
    }
}

/// The filter that `level` describes: a level (`info`), or directives (`warn,mainstay=debug`). Also for checking a
/// configuration.
pub fn parse_level(level: &str) -> Result<Targets, LogError> {
    let refused = |reason: String| LogError::Level { level: level.to_owned(), reason };
    // The library takes a lone word for the name of a module, so a typing error would silence the log.
    let lone_words = level.split(',').map(str::trim).filter(|part| !part.contains(['=', '[']));
    for word in lone_words {
        word.parse::<LevelFilter>()
            .ok()
            .filter(|_| !word.is_empty())
            .ok_or_else(|| refused("a level is one of off, error, warn, info, debug, trace".to_owned()))?;
    }
    level.parse().map_err(|error: ParseError| refused(error.to_string()))
}
