//! `mainstay check`.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use super::output::{fail, print};
use crate::config::{
    self, Loaded,
    check::{Report, RouteBounds},
    format_duration,
};

/// Validates a file or directory and prints what it means in the worst case. Exit code 0 if it is valid, warnings or not.
pub fn check(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => print(describe(path, &loaded).trim_end()),
        Err(errors) => {
            let count = errors.count();
            let plural = if count == 1 { "error" } else { "errors" };
            fail(format_args!("{errors}\n\n{} is not valid: {count} {plural}", path.display()))
        }
    }
}

fn describe(path: &Path, loaded: &Loaded) -> String {
    let config = &loaded.config;
    let Report { routes, warnings } = config::check::check(config);
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let mut out = format!(
        "{} is valid: {}, {}, {}, {}\n",
        path.display(),
        count(config.listeners.len(), "listener", "listeners"),
        count(config.upstreams.len(), "upstream", "upstreams"),
        count(config.routes.len(), "route", "routes"),
        count(config.policies.len(), "policy", "policies"),
    );
    for route in &routes {
        out.push('\n');
        out.push_str(&describe_route(route));
    }
    let warnings: Vec<_> = loaded.warnings.iter().chain(&warnings).collect();
    if !warnings.is_empty() {
        out.push('\n');
    }
    for warning in warnings {
        let _ = writeln!(out, "warning: {warning}");
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

#[cfg(test)]
mod tests;
