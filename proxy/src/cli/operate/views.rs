//! `mainstay upstreams`, `mainstay limits` and `mainstay config live`: what is in force, and how it stands.

use std::{borrow::Cow, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ClientError, Listing, Output, Session, Target, end, items, json, names_of,
    text::{Column, age, cell, long_age, long_span, measured, table_with_alarms},
};

/// List where calls go, how the last minute there went, and what went wrong last
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay upstreams\n  mainstay upstreams -o wide")]
pub struct UpstreamsCommand {
    #[command(flatten)]
    target: Target,
}

/// List rate and concurrency limits, and how much of them is used
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay limits\n  mainstay limits -o wide")]
pub struct LimitsCommand {
    #[command(flatten)]
    target: Target,
}

/// Print the configuration that a running proxy serves
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay config live\n  mainstay config live -o json")]
pub struct LiveCommand {
    #[command(flatten)]
    target: Target,
}

/// Carries out `mainstay upstreams`.
pub async fn upstreams(command: UpstreamsCommand) -> ExitCode {
    end(async { list_upstreams(&command.target.session()?).await }.await)
}

/// Carries out `mainstay limits`.
pub async fn limits(command: LimitsCommand) -> ExitCode {
    end(async { list_limits(&command.target.session()?).await }.await)
}

/// Carries out `mainstay config live`.
pub async fn live(command: LiveCommand) -> ExitCode {
    end(async { show_live(&command.target.session()?).await }.await)
}

async fn list_upstreams(session: &Session) -> Result<String, ClientError> {
    let document = session.client.get("/upstreams").await?.document;
    let upstreams = items(&document, "upstreams");
    let most = |cells: usize| if session.is_wide() { usize::MAX } else { cells };
    let columns = [
        Column("UPSTREAM", most(24)),
        Column("ENDPOINT", most(40)),
        Column("IN-FLIGHT", 9),
        Column("RATE", 8),
        Column("P99", 8),
        Column("LAST ERROR", most(28)),
        Column("BREAKERS", most(30)),
    ];
    let endpoints: Vec<(&Value, &Value)> = upstreams
        .iter()
        .flat_map(|upstream| items(upstream, "endpoints").iter().map(move |endpoint| (upstream, endpoint)))
        .collect();
    let now = Timestamp::now();
    let is_open = |guard: &Value| guard["state"].as_str().is_some_and(|state| state.ends_with("open"));
    let row = |(upstream, endpoint): &(&Value, &Value)| {
        let guards = items(endpoint, "breakers").iter();
        let guards: Vec<String> =
            guards.map(|guard| format!("{} {}", cell(&guard["name"]), cell(&guard["state"]))).collect();
        let mut cells = vec![cell(&upstream["name"]), cell(&endpoint["address"]), cell(&endpoint["in_flight"])];
        cells.extend(how_it_does(endpoint, now));
        cells.push(guards.join(", "));
        cells
    };
    let rows: Vec<Vec<String>> = endpoints.iter().map(row).collect();
    let needs_somebody = |at: usize| {
        let endpoint = endpoints[at].1;
        endpoint["unreachable_because"].is_string() || items(endpoint, "breakers").iter().any(is_open)
    };
    let text = table_with_alarms(&columns, &rows, &session.style, needs_somebody);
    Ok(session.shown(Listing { document: Cow::Borrowed(&document), names: names_of(upstreams, "name"), text }).await)
}

/// Rate, p99 and last error of an endpoint: `connection refused` is what it is now, `attempt_timeout, 3m ago` is over.
fn how_it_does(endpoint: &Value, now: Timestamp) -> [String; 3] {
    let number =
        |member: &str, unit: &str| endpoint[member].as_f64().map(|number| measured(number, unit)).unwrap_or_default();
    let last = &endpoint["last_error"];
    let error = match (endpoint["unreachable_because"].as_str(), last["cause"].as_str()) {
        (Some(now), _) => now.to_owned(),
        (None, Some(cause)) => format!("{cause}, {} ago", age(&last["at"], now)),
        (None, None) => String::new(),
    };
    [number("rate", "/s"), number("p99_ms", " ms"), error]
}

async fn list_limits(session: &Session) -> Result<String, ClientError> {
    let document = session.client.get("/limits").await?.document;
    let (routes, control) = (items(&document, "routes"), items(&document, "control"));
    let most = |cells: usize| if session.is_wide() { usize::MAX } else { cells };
    let mut columns = vec![
        Column("ROUTE", most(30)),
        Column("POLICY", most(16)),
        Column("RATE", 12),
        Column("BY", 10),
        Column("KEYS", 8),
        Column("LEFT", 8),
        Column("IN-FLIGHT", 9),
        Column("LIMIT", 7),
        Column("QUEUED", 7),
    ];
    if session.is_wide() {
        columns.push(Column("LEAST LEFT", usize::MAX));
    }
    let of_route = |route: &Value| limit_row(cell(&route["route"]), cell(&route["policy"]), route);
    let of_control = |limit: &Value| limit_row(format!("(control) {}", cell(&limit["listener"])), String::new(), limit);
    let rows: Vec<Vec<String>> = routes.iter().map(of_route).chain(control.iter().map(of_control)).collect();
    let is_shedding = |at: usize| routes.get(at).is_some_and(|route| route["concurrency_limit"]["shedding"] == true);
    let text = if rows.is_empty() {
        "no policy in use has a limit".to_owned()
    } else {
        table_with_alarms(&columns, &rows, &session.style, is_shedding)
    };
    Ok(session.shown(Listing { document: Cow::Borrowed(&document), names: names_of(routes, "route"), text }).await)
}

fn limit_row(name: String, policy: String, limit: &Value) -> Vec<String> {
    let (rate, concurrency) = (&limit["rate_limit"], &limit["concurrency_limit"]);
    let mut cells = vec![name, policy];
    cells.push(
        rate["requests"].as_u64().map(|requests| format!("{requests}{}", unit(&rate["unit_ms"]))).unwrap_or_default(),
    );
    cells.extend(["key", "keys", "remaining"].map(|member| cell(&rate[member])));
    cells.extend(["in_flight", "limit", "queued"].map(|member| cell(&concurrency[member])));
    // Who has used most of it, by a hash that only tells them apart.
    let top = items(rate, "top").iter().map(|key| {
        let hash: String = cell(&key["hash"]).chars().take(8).collect();
        format!("{hash} {}", cell(&key["remaining"]))
    });
    cells.push(top.collect::<Vec<_>>().join(", "));
    cells
}

/// The unit of a rate: `/s`, `/min`, `per 10 s`.
fn unit(unit_ms: &Value) -> String {
    match unit_ms.as_u64().unwrap_or_default() {
        1_000 => "/s".into(),
        60_000 => "/min".into(),
        3_600_000 => "/h".into(),
        ms @ 0..1_000 => format!(" per {ms} ms"),
        ms => format!(" per {}", long_span(ms / 1_000)),
    }
}

async fn show_live(session: &Session) -> Result<String, ClientError> {
    let document = session.client.get("/config").await?.document;
    Ok(match session.output {
        Output::Json => json(&document),
        Output::Ids => cell(&document["hash"]),
        Output::Table | Output::Wide => {
            let mut lines = vec![format!(
                "# {} #{}, loaded {} ago",
                document["file"].as_str().unwrap_or("(no file)"),
                cell(&document["hash"]),
                long_age(&document["loaded_at"], Timestamp::now())
            )];
            if let Some(refused) = document["last_error"]["message"].as_str() {
                let head = format!(
                    "# A reload was refused {} ago:",
                    long_age(&document["last_error"]["at"], Timestamp::now())
                );
                lines.push(session.style.alarm(&head));
                lines.extend(refused.lines().map(|line| format!("#   {line}")));
            }
            // What is JSON is YAML, too.
            lines.push(json(&document["effective"]));
            lines.push(format!("# {}", session.footer().await));
            lines.join("\n")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_is_told_with_how_fast_it_is_and_what_went_wrong_last() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        let mut endpoint = json!({ "rate": 12.34, "p99_ms": 61.2, "unreachable_because": null,
            "last_error": { "cause": "http_503", "at": "2026-11-24T02:57:00Z" } });
        assert_eq!(how_it_does(&endpoint, now), ["12/s", "61 ms", "http_503, 3m ago"]);
        endpoint["unreachable_because"] = "connection refused".into();
        assert_eq!(how_it_does(&endpoint, now)[2], "connection refused");
        let idle = json!({ "rate": 0.0, "p99_ms": null, "unreachable_because": null, "last_error": null });
        assert_eq!(how_it_does(&idle, now), ["0/s", "", ""]);
    }

    #[test]
    fn a_limit_is_told_as_it_is_configured() {
        let limit = json!({ "rate_limit": { "requests": 500, "unit_ms": 1000, "key": "client_ip", "keys": 2, "remaining": null,
            "top": [{ "hash": "00c0ffee12345678", "limit": 500, "remaining": 7, "reset_ms": 900 }, { "hash": "a1b2c3d4e5f60718", "limit": 500, "remaining": 480, "reset_ms": 9 }] },
            "concurrency_limit": { "in_flight": 2, "limit": 16, "queued": 0 } });
        let expected = ["/**", "read", "500/s", "client_ip", "2", "", "2", "16", "0", "00c0ffee 7, a1b2c3d4 480"];
        assert_eq!(limit_row("/**".into(), "read".into(), &limit), expected);
        for (ms, expected) in [(60_000, "/min"), (10_000, " per 10 s"), (250, " per 250 ms"), (3_600_000, "/h")] {
            assert_eq!(unit(&json!(ms)), expected);
        }
    }
}
