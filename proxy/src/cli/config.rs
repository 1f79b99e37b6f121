//! `mainstay config`: the effective configuration, what differs between two, and what may be written.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    named::{NO_CONFIGURATION, configuration},
    operate::{LiveCommand, live},
    output::{FAILED, fail, print},
};
use crate::config;

/// What is wanted of configurations.
#[derive(Subcommand)]
#[command(after_help = "Examples:\n  mainstay config show mainstay.yaml\n  mainstay config live")]
pub enum ConfigCommand {
    /// Print the whole effective configuration, every default filled in
    Show(ShowCommand),
    /// Print each setting that differs between two configurations: 0 if they mean the same, 1 if they do not
    Diff(DiffCommand),
    /// Print the configuration that a running proxy serves, with its file, and why a reload was refused
    Live(LiveCommand),
    /// Print the JSON Schema from which editors complete
    #[command(after_help = "Examples:\n  mainstay config schema\n  mainstay config schema > mainstay.schema.json")]
    Schema,
    /// Print every key as a page of Markdown: what it takes, its default, what it means
    #[command(after_help = "Examples:\n  mainstay config reference\n  mainstay config reference > configuration.md")]
    Reference,
}

/// Which configuration.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay config show\n  mainstay config show -c /etc/mainstay")]
pub struct ShowCommand {
    /// The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    /// The same, as everywhere else
    #[arg(short, long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// Also show what came from the environment, which is `«from ${NAME}»` otherwise
    #[arg(long)]
    reveal: bool,
}

/// Which two.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay config diff old.yaml new.yaml\n  mainstay config diff /etc/mainstay mainstay.yaml"
)]
pub struct DiffCommand {
    /// The one: a YAML file, or a directory of them
    before: PathBuf,
    /// The other
    after: PathBuf,
}

/// Runs a subcommand of `config`. `default` is the file if the command names none.
pub async fn config(command: ConfigCommand, default: Option<PathBuf>) -> ExitCode {
    match command {
        ConfigCommand::Live(command) => live(command).await,
        ConfigCommand::Show(ShowCommand { path, config, reveal }) => show(path.or(config).or(default), reveal),
        ConfigCommand::Diff(DiffCommand { before, after }) => diff(&before, &after),
        ConfigCommand::Schema => print(format_args!("{:#}", config::schema())),
        ConfigCommand::Reference => print(config::reference().trim_end()),
    }
}

fn show(named: Option<PathBuf>, reveal: bool) -> ExitCode {
    let Some(path) = configuration(named) else {
        return fail(NO_CONFIGURATION);
    };
    match config::load(&path) {
        Ok(loaded) => {
            let shown = if reveal { config::reveal(&loaded.config) } else { config::show(&loaded.config) };
            print(shown.trim_end())
        }
        Err(errors) => fail(errors),
    }
}

fn diff(before: &Path, after: &Path) -> ExitCode {
    match (config::load(before), config::load(after)) {
        (Ok(before), Ok(after)) => {
            let changes = config::changes(&before.config, &after.config);
            if changes.is_empty() {
                return ExitCode::SUCCESS;
            }
            print(changes.join("\n"));
            ExitCode::from(FAILED)
        }
        (before, after) => {
            let errors = [before.err(), after.err()].into_iter().flatten().map(|errors| errors.to_string());
            fail(errors.collect::<Vec<_>>().join("\n\n"))
        }
    }
}
