//! What a subcommand writes, and how it ends.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// Valid, and everything was written.
const OK: u8 = 0;
/// The configuration is invalid, or the output could not be written.
pub(super) const FAILED: u8 = 1;

/// Writes to standard output; a reader that went away (`| head`) is no failure.
pub(super) fn print(text: impl Display) -> ExitCode {
    let text = text.to_string();
    // Nothing is no line: a list of no names has none.
    let written = if text.is_empty() { Ok(()) } else { writeln!(io::stdout().lock(), "{text}") };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::from(OK),
    }
}

/// Writes to standard output, for as long as somebody reads.
///
/// # Errors
/// Nobody does.
pub(super) fn put(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Says why on standard error.
pub(super) fn fail(problem: impl Display) -> ExitCode {
    // Nothing is left to tell it to if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{problem}");
    ExitCode::from(FAILED)
}
