//! `mainstay routes`: what is served, and how the last minute of it went.

use std::{borrow::Cow, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    ClientError, Listing, Target, end, items, names_of,
    text::{Column, cell, measured, table_with_alarms},
};

/// List what is served, and how the last minute of it went
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay routes\n  mainstay routes -o wide")]
pub struct RoutesCommand {
    #[command(flatten)]
    target: Target,
}

/// What a table of routes shows of each beside its name, with the characters it takes: the least important last.
pub(super) const FIGURES: [(&str, usize); 9] = [
    ("RATE", 7),
    ("OK%", 6),
    ("P50", 8),
    ("P99", 8),
    ("RETRY", 6),
    ("LIMIT", 6),
    ("REPLAY", 6),
    ("DOUBT", 6),
    ("BREAKER", 13),
];

/// What became of requests in the last five minutes, for whoever has room for it.
const STAGES: [(&str, &str); 9] = [
    ("5M ADMITTED", "admitted"),
    ("LIMITED", "limited"),
    ("QUEUED", "queued"),
    ("REPLAYED", "replayed"),
    ("RETRIED", "retried"),
    ("BROKEN", "broken"),
    ("TIMED OUT", "timed_out"),
    ("FALLBACK", "fallback"),
    ("CACHED", "cache_hits"),
];

/// Carries out `mainstay routes`.
pub async fn routes(command: RoutesCommand) -> ExitCode {
    end(list(command).await)
}

async fn list(command: RoutesCommand) -> Result<String, ClientError> {
    let session = command.target.session()?;
    let document = session.client.get("/routes").await?.document;
    let routes = items(&document, "routes");
    let is_wide = session.is_wide();
    let mut columns = vec![Column("ROUTE", if is_wide { usize::MAX } else { 30 })];
    columns.extend(FIGURES.map(|(title, width)| Column(title, width)));
    if is_wide {
        columns.extend(["PATH", "METHODS", "UPSTREAM", "POLICY", "PROTECTED"].map(|title| Column(title, usize::MAX)));
        columns.extend(STAGES.map(|(title, _)| Column(title, usize::MAX)));
    }
    let row = |route: &Value| {
        let mut cells = vec![cell(&route["name"])];
        cells.extend(figures(route));
        if is_wide {
            let methods: Vec<String> = items(route, "methods").iter().map(cell).collect();
            let protected = match (route["protects_writes"] == true, route["asks_the_service"] == true) {
                (true, true) => "and asked about",
                (true, false) => "yes",
                _ => "no",
            };
            cells.extend([cell(&route["path"]), methods.join(","), cell(&route["upstream"]), cell(&route["policy"])]);
            cells.push(protected.to_owned());
            cells.extend(STAGES.map(|(_, member)| cell(&route["five_minutes"][member])));
        }
        cells
    };
    let rows: Vec<Vec<String>> = routes.iter().map(row).collect();
    let text = match routes {
        [] => "no routes".to_owned(),
        routes => table_with_alarms(&columns, &rows, &session.style, |at| is_broken(&routes[at])),
    };
    Ok(session.shown(Listing { document: Cow::Borrowed(&document), names: names_of(routes, "name"), text }).await)
}

/// Whether its breaker turns calls away.
pub(super) fn is_broken(route: &Value) -> bool {
    route["breaker"].as_str().is_some_and(|state| state.ends_with("open"))
}

/// The cells of [`FIGURES`].
pub(super) fn figures(route: &Value) -> [String; 9] {
    let number =
        |member: &str, unit: &str| route[member].as_f64().map(|number| measured(number, unit)).unwrap_or_default();
    // Cut, not rounded: 100 is said only where nothing failed.
    let ok = route["ok_share"].as_f64().map(|share| format!("{:.1}", (share * 1000.0).floor() / 10.0));
    let ok = ok.unwrap_or_default().trim_end_matches(".0").to_owned();
    [
        number("rate", "/s"),
        ok,
        number("p50_ms", " ms"),
        number("p99_ms", " ms"),
        cell(&route["retried"]),
        cell(&route["limited"]),
        cell(&route["replayed"]),
        cell(&route["doubted"]),
        cell(&route["breaker"]).replace('_', " "),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_that_nobody_asked_for_has_no_shares_and_no_times() {
        let idle = json!({ "rate": 0.0, "ok_share": null, "p50_ms": null, "p99_ms": null, "retried": 0, "limited": 0, "replayed": 0,
            "doubted": 0, "breaker": null });
        assert_eq!(figures(&idle), ["0/s", "", "", "", "0", "0", "0", "0", ""]);
        let busy = json!({ "rate": 12.34, "ok_share": 0.998, "p50_ms": 4.1, "p99_ms": 61.2, "retried": 3, "limited": 0, "replayed": 1,
            "doubted": 2, "breaker": "half_open" });
        assert_eq!(figures(&busy), ["12/s", "99.8", "4.1 ms", "61 ms", "3", "0", "1", "2", "half open"]);
        assert!(is_broken(&busy) && !is_broken(&idle));
    }
}
