//! The subcommands that serve nothing: they read a configuration, or speak to a running proxy, say something about it, and
//! end.

mod check;
mod config;
mod ledger;
mod operate;

pub use check::check;
pub use config::{schema, show};
pub use ledger::{LedgerCommand, ledger};
pub use operate::{AuditCommand, BreakersCommand, OpsCommand, audit, breakers, ops};

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// Valid, and everything was written.
const OK: u8 = 0;
/// The configuration is invalid, or the output could not be written.
const FAILED: u8 = 1;

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn print(text: impl Display) -> ExitCode {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::from(OK),
    }
}

fn fail(problem: impl Display) -> ExitCode {
    // Nothing is left to tell it to if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{problem}");
    ExitCode::from(FAILED)
}
