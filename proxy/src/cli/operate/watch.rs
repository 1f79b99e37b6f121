//! `--watch`: the same again and again, in place on a terminal, one after the other elsewhere.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{ClientError, refused};
use crate::{
    cli::output::{print, put},
    config::parse_duration,
};

/// Clears the screen, and goes to its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// How often.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Again and again, so long after each time [default: 2s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = read_time)]
    watch: Option<Duration>,
}

/// A duration, with what is wrong with one that is none.
pub(super) fn read_time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|(wrong, cure)| format!("{wrong}; {cure}"))
}

/// An age as the proxy takes it: refuses what it would refuse, with the help of the command line.
pub(super) fn read_age(text: &str) -> Result<String, String> {
    read_time(text).map(|_| text.to_owned())
}

/// Prints what `look` sees, with the exit code that it has then: once, or until somebody ends it or reads no more.
pub(super) async fn watched(
    Watch { watch }: Watch,
    look: impl AsyncFn() -> Result<(String, u8), ClientError>,
) -> ExitCode {
    let Some(every) = watch else {
        return match look().await {
            Ok((text, code)) => {
                print(text);
                ExitCode::from(code)
            }
            Err(error) => refused(&error),
        };
    };
    let before = if io::stdout().is_terminal() { CLEAR } else { "" };
    let after = if before.is_empty() { "\n" } else { "" };
    loop {
        match look().await {
            Ok((text, _)) if put(format_args!("{before}{text}{after}")).is_err() => return ExitCode::SUCCESS,
            Ok(_) => {}
            // It may come back; what was mistyped does not.
            Err(error) if error.exit_code() == 2 => return refused(&error),
            Err(error) => drop(refused(&error)),
        }
        tokio::time::sleep(every).await;
    }
}
