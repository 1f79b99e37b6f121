//! `mainstay check`.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::Value;

use self::online::Look;
use super::{
    named::{NO_CONFIGURATION, configuration},
    output::{FAILED, fail, print},
};
use crate::{
    config::{
        self, ConfigErrors, Finding, Loaded, Severity,
        check::{MemoryBound, RouteBounds, bounds},
        format_duration,
        model::{Config, Store},
    },
    ledger::postgres::CONNECTIONS_PER_REPLICA,
};

/// Stands for standard input.
const STDIN: &str = "-";

/// What to check, and how to say it.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay check --deny warnings\n  mainstay check --online mainstay.yaml")]
pub struct CheckCommand {
    /// The configuration: a YAML file, a directory of them, or `-` for standard input. Default: mainstay.yaml, if it is there
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    /// The same, as everywhere else
    #[arg(short, long, value_name = "FILE", conflicts_with = "path")]
    config: Option<PathBuf>,
    /// What makes the check fail beside errors
    #[arg(long, value_name = "WHAT")]
    deny: Option<Denied>,
    /// Also resolve and connect to every endpoint, open the ledger to read, and ask each status endpoint about a key that
    /// nobody used; nothing is changed
    #[arg(long)]
    online: bool,
    /// How to say it: for people, or as a JSON list of findings
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Denied {
    Warnings,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Validates a configuration and prints what it means in the worst case, with all that was found. Exit code 0 if it is valid,
/// and no warning is denied. `default` is the file if the command names none.
pub fn check(command: &CheckCommand, default: Option<PathBuf>) -> ExitCode {
    let named = command.path.clone().or_else(|| command.config.clone());
    let Some(path) = configuration(named.or(default)) else {
        return fail(NO_CONFIGURATION);
    };
    let read = if path == Path::new(STDIN) { config::read("<stdin>", io::stdin()) } else { config::load(&path) };
    let name = if path == Path::new(STDIN) { "<stdin>".into() } else { path.display().to_string() };
    let findings = match &read {
        Ok(loaded) => loaded.findings.as_slice(),
        Err(errors) => errors.findings(),
    };
    let looks = match &read {
        Ok(loaded) if command.online => match looks(&loaded.config) {
            Ok(looks) => looks,
            Err(error) => return fail(format_args!("mainstay: cannot look: {error}")),
        },
        _ => Vec::new(),
    };
    let denied = command.deny.is_some()
        && (findings.iter().any(|finding| finding.severity == Severity::Warning)
            || looks.iter().any(|look| look.is(Severity::Warning)));
    let is_amiss = looks.iter().any(|look| look.is(Severity::Error));
    if command.output == Output::Json {
        let list = findings.iter().map(Finding::document).chain(looks.iter().map(Look::document));
        let printed = print(format_args!("{:#}", list.collect::<Value>()));
        return if read.is_err() || denied || is_amiss { ExitCode::from(FAILED) } else { printed };
    }
    match &read {
        Ok(loaded) => {
            let mut said = describe(&name, loaded);
            for look in &looks {
                let _ = write!(said, "\n{look}");
            }
            let printed = print(said.trim_end());
            match (is_amiss, denied) {
                (true, _) => fail(format_args!("\n{name} is valid, and something that it names is not well")),
                (_, true) => fail(format_args!("\n{name} is refused: warnings are denied")),
                _ => printed,
            }
        }
        Err(errors) => refuse(&name, errors),
    }
}

/// What is found where a configuration points to.
pub(super) fn looks(config: &Config) -> io::Result<Vec<Look>> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(online::look(config)))
}

fn refuse(name: &str, errors: &ConfigErrors) -> ExitCode {
    fail(format_args!("{errors}\n\n{name} is not valid: {}", count(errors.count(), "error", "errors")))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What a configuration means, with all that was found in it.
pub(super) fn describe(name: &str, loaded: &Loaded) -> String {
    describe_within(name, loaded, &MemoryBound::of(&loaded.config))
}

fn describe_within(name: &str, loaded: &Loaded, memory: &MemoryBound) -> String {
    let config = &loaded.config;
    let mut out = format!(
        "{name} is valid: {}, {}, {}, {}\n",
        count(config.listeners.len(), "listener", "listeners"),
        count(config.upstreams.len(), "upstream", "upstreams"),
        count(config.routes.len(), "route", "routes"),
        count(config.policies.len(), "policy", "policies"),
    );
    let _ = writeln!(out, "{memory}");
    if matches!(config.ledger.store, Store::Postgres(_)) && config.needs_ledger() {
        let _ = writeln!(out, "ledger: {CONNECTIONS_PER_REPLICA} connections to PostgreSQL per replica");
    }
    for route in &bounds(config) {
        out.push('\n');
        out.push_str(&describe_route(route));
    }
    for finding in &loaded.findings {
        let _ = writeln!(out, "\n{finding}");
    }
    out
}

fn describe_route(route: &RouteBounds) -> String {
    let name =
        if route.matches.ends_with(&format!(" {}", route.name)) { String::new() } else { format!(" ({})", route.name) };
    format!(
        "{}{name} -> {}, policy {}\n  worst-case latency   {}  ({})\n  worst-case attempts  {}  ({})\n",
        route.matches,
        route.upstream,
        route.policy,
        format_duration(route.latency),
        route.latency_because,
        route.attempts,
        route.attempts_because,
    )
}

mod online;
#[cfg(test)]
mod tests;
