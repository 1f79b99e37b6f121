//! `mainstay version`: which build this is, for whoever reports a fault or counts what runs where.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::print;
use crate::telemetry::build;

/// How it is said.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay version\n  mainstay version -o json")]
pub struct VersionCommand {
    /// For people, or for programs
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, Default, PartialEq, Eq)]
enum Output {
    /// As `--version` says it.
    #[default]
    Text,
    /// As one JSON document.
    Json,
}

/// Says which build this is; `line` is what `--version` says.
pub fn version(command: &VersionCommand, line: &str) -> ExitCode {
    match command.output {
        Output::Text => print(format_args!("mainstay {line}")),
        Output::Json => print(format_args!(
            "{:#}",
            json!({
                "version": build::VERSION,
                "commit": build::COMMIT,
                "profile": build::PROFILE,
                "target": build::TARGET,
                "faults": build::HAS_FAULTS,
            })
        )),
    }
}
