//! `mainstay status`: how it goes, on one screen.

use std::{path::Path, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ClientError, Output, Session, Target, items, json, refused,
    style::Style,
    text::{cell, long_age, long_span, measured, percent},
    watch::{Watch, watched},
};

/// Something needs somebody.
const NEEDS_SOMEBODY: u8 = 1;
/// Requests that say nothing, if all of them fail.
const FEW: u64 = 10;
/// Digits of a hash that are shown.
const HASH: usize = 6;

/// How it goes, on one screen
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay status\n  mainstay status --watch 5s")]
pub struct StatusCommand {
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    target: Target,
}

/// Carries out `mainstay status`.
pub async fn status(command: StatusCommand) -> ExitCode {
    match command.target.session() {
        Ok(session) => watched(command.watch, async || look(&session).await).await,
        Err(error) => refused(&error),
    }
}

async fn look(session: &Session) -> Result<(String, u8), ClientError> {
    let document = session.client.get("/status").await?.document;
    let screen = Screen::of(&document, Timestamp::now());
    let text = match session.output {
        Output::Json => json(&document),
        Output::Ids => cell(&document["name"]),
        Output::Table | Output::Wide => format!("{}\n{}", screen.text(&session.style), session.footer().await),
    };
    Ok((text, if screen.is_well() { 0 } else { NEEDS_SOMEBODY }))
}

/// One line: what it is about, what there is to say, what to type for more, and whether somebody is needed.
struct Line {
    name: &'static str,
    text: String,
    more: &'static str,
    is_alarm: bool,
}

/// What is shown.
struct Screen {
    headline: String,
    is_ready: bool,
    lines: Vec<Line>,
}

impl Screen {
    fn of(status: &Value, now: Timestamp) -> Self {
        let commit = status["commit"].as_str().map(|commit| format!(" ({commit})")).unwrap_or_default();
        let reasons: Vec<String> = items(status, "not_ready_because").iter().map(cell).collect();
        let is_ready = status["ready"] == true;
        let ready = if is_ready { "READY".to_owned() } else { format!("NOT READY: {}", reasons.join(", ")) };
        let up = long_age(&status["started_at"], now);
        let headline =
            format!("{}   mainstay {}{commit}   up {up}   {ready}", cell(&status["name"]), cell(&status["version"]));
        let mut screen = Self { headline, is_ready, lines: Vec::new() };
        screen.config(&status["config"], now);
        screen.traffic(&status["traffic"]);
        screen.writes(&status["writes"], now);
        screen.breakers(items(status, "breakers"), now);
        screen.upstreams(items(status, "upstreams"));
        screen.ledger(&status["ledger"]);
        screen.traces(&status["traces"]);
        screen
    }

    fn is_well(&self) -> bool {
        self.is_ready && self.lines.iter().all(|line| !line.is_alarm)
    }

    fn say(&mut self, name: &'static str, text: String, more: &'static str, is_alarm: bool) {
        self.lines.push(Line { name, text, more, is_alarm });
    }

    fn config(&mut self, config: &Value, now: Timestamp) {
        let file = config["file"].as_str().and_then(|file| Path::new(file).file_name());
        let file = file.map(|file| format!("{} ", file.to_string_lossy())).unwrap_or_default();
        let hash: String = cell(&config["hash"]).chars().take(HASH).collect();
        let mut text = format!("{file}#{hash}, loaded {} ago", long_age(&config["loaded_at"], now));
        let is_refused = config["last_reload_succeeded"] == false;
        if is_refused {
            text += "   THE LAST RELOAD WAS REFUSED";
        }
        let found: Vec<String> = config["findings"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() > Some(0))
            .map(|(severity, count)| format!("{count} {severity}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        let more = if found.is_empty() { "" } else { "mainstay check" };
        if !found.is_empty() {
            text.extend(["   ", found.join(", ").as_str()]);
        }
        self.say("config", text, more, is_refused);
    }

    fn traffic(&mut self, traffic: &Value) {
        if traffic["requests"].as_u64().unwrap_or(0) == 0 {
            return;
        }
        let number = |member: &str| traffic[member].as_f64();
        let mut told = vec![measured(number("rate").unwrap_or(0.0), "/s")];
        let all_fail =
            number("error_share").is_some_and(|share| share >= 1.0) && traffic["requests"].as_u64() >= Some(FEW);
        let errors = if all_fail { "ERRORS" } else { "errors" };
        told.extend(number("error_share").map(|_| format!("{} {errors}", percent(&traffic["error_share"]))));
        told.extend(number("p50_ms").map(|ms| format!("p50 {}", measured(ms, " ms"))));
        told.extend(number("p99_ms").map(|ms| format!("p99 {}", measured(ms, " ms"))));
        let mut text = told.join("  ");
        text += "      ";
        let retried = number("retried_share").map(|_| format!("retried {}  ", percent(&traffic["retried_share"])));
        text += &retried.unwrap_or_default();
        text.extend(["limited ", &cell(&traffic["limited"]), "  replayed ", &cell(&traffic["replayed"]), "/min"]);
        self.say("traffic", text, "mainstay routes", all_fail);
    }

    fn writes(&mut self, writes: &Value, now: Timestamp) {
        let count = |member: &str| writes[member].as_u64().unwrap_or(0);
        let (doubt, needed, asked) = (count("in_doubt"), count("attention"), count("settled_by_asking_today"));
        let contradicted = count("contradicted").min(needed);
        // Those that the machine gave up are in doubt, too: each write is told of once.
        let given_up = (needed - contradicted).min(doubt);
        let mut parts = Vec::new();
        if needed > 0 {
            let kinds: Vec<String> = [(given_up, "in doubt"), (contradicted, "contradicted")]
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, kind)| format!("{count} {kind}"))
                .collect();
            let call = if needed == 1 { "NEEDS A PERSON" } else { "NEED A PERSON" };
            parts.push(format!("{needed} {call} ({})", kinds.join(", ")));
        }
        let others = doubt - given_up;
        let more = if given_up > 0 { "more " } else { "" };
        let oldest = long_age(&writes["oldest_in_doubt_at"], now);
        match (others, doubt) {
            (_, 0) => {}
            (0, _) => parts.push(format!("oldest in doubt {oldest}")),
            _ => parts.push(format!("{others} {more}in doubt (oldest {oldest})")),
        }
        if asked > 0 {
            parts.push(format!("settled by asking {asked} today"));
        }
        if !parts.is_empty() {
            let more = if doubt + needed > 0 { "mainstay ops ls" } else { "" };
            self.say("writes", parts.join("   "), more, needed > 0);
        }
    }

    fn breakers(&mut self, breakers: &[Value], now: Timestamp) {
        for breaker in breakers {
            let state = cell(&breaker["state"]);
            let mut text = format!("{} {}", cell(&breaker["name"]), state.replace('_', " ").to_uppercase());
            if !breaker["since"].is_null() {
                text.extend([" since ", &long_age(&breaker["since"], now)]);
            }
            let why = super::breakers::why(breaker);
            if !why.is_empty() {
                text.extend([" (", &why, ")"]);
            }
            match breaker["probes_in_ms"].as_u64() {
                Some(0) => text += ", probes with the next call",
                Some(wait) => text.extend([", probes in ", &long_span(wait.div_ceil(1000))]),
                None => {}
            }
            self.say("breakers", text, "mainstay breakers", state.ends_with("open"));
        }
    }

    /// Those of which an endpoint cannot be reached. While another can, nobody has to come.
    fn upstreams(&mut self, upstreams: &[Value]) {
        for upstream in upstreams {
            let is_down = upstream["up"] == 0;
            let down = if is_down { " DOWN" } else { "" };
            let (name, up, total) = (cell(&upstream["name"]), cell(&upstream["up"]), cell(&upstream["total"]));
            let of_endpoint = |endpoint: &Value| {
                let count = endpoint["failures_last_minute"].as_u64().unwrap_or(0);
                let times = match count {
                    0 => String::new(),
                    1 => ", once in the last minute".into(),
                    count => format!(", {count} times in the last minute"),
                };
                format!("{} {}{times}", cell(&endpoint["address"]), cell(&endpoint["cause"]))
            };
            let endpoints: Vec<String> = items(upstream, "endpoints").iter().map(of_endpoint).collect();
            let text = format!("{name}{down} {up}/{total}: {}", endpoints.join("; "));
            self.say("upstreams", text, "mainstay upstreams", is_down);
        }
    }

    fn ledger(&mut self, ledger: &Value) {
        let mut text = cell(&ledger["store"]);
        if ledger["operations"].is_u64() {
            text.extend([", ", &cell(&ledger["operations"]), " operations"]);
        }
        if let (Some(bytes), Some(max)) = (ledger["bytes"].as_u64(), ledger["max_bytes"].as_u64()) {
            text.extend([", ", &size(bytes), " of ", &size(max)]);
        }
        if let Some(ms) = ledger["commit_p99_ms"].as_f64() {
            text.extend([", commit p99 ", &measured(ms, " ms")]);
        }
        let is_amiss = ledger["health"] != "writable";
        if is_amiss {
            text.extend(["   ", &cell(&ledger["health"]).to_uppercase()]);
        }
        let more = match ledger["quarantined_until"].as_str() {
            Some(until) => {
                text.extend([" until ", until, ": a restored copy, new keys get 503"]);
                "mainstay ledger lift"
            }
            None => "",
        };
        self.say("ledger", text, more, is_amiss);
    }

    fn traces(&mut self, traces: &Value) {
        if traces.is_object() {
            let text = format!("otlp {}, {} dropped", cell(&traces["endpoint"]), cell(&traces["dropped"]));
            self.say("traces", text, "", false);
        }
    }

    fn text(&self, style: &Style) -> String {
        let width = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let lines = self.lines.iter().map(|Line { name, text, more, is_alarm }| {
            style.alarm_if(*is_alarm, format!("{name:10} {text:width$}   {more}").trim_end())
        });
        let headline = style.alarm_if(!self.is_ready, &self.headline);
        std::iter::once(headline).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

/// The headline, how the traffic goes, and what there is to know beside: each line, and whether somebody is needed.
#[cfg(feature = "top")]
pub(super) fn lines(status: &Value, now: Timestamp) -> Vec<(String, bool)> {
    let screen = Screen::of(status, now);
    let is_told = |line: &&Line| line.is_alarm || ["traffic", "writes", "breakers", "upstreams"].contains(&line.name);
    let told = screen.lines.iter().filter(is_told);
    let lines = told.map(|Line { name, text, is_alarm, .. }| (format!("{name:10} {text}"), *is_alarm));
    std::iter::once((screen.headline.clone(), !screen.is_ready)).chain(lines).collect()
}

/// Bytes with one decimal of their largest unit: `16.5 MiB`.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1024.0 && unit + 1 < units.len() {
        number /= 1024.0;
        unit += 1;
    }
    let text = format!("{number:.1}");
    format!("{} {}", text.trim_end_matches(".0"), units[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn well() -> Value {
        json!({
            "name": "payments-7c9f", "version": "0.1.0", "commit": "b91e2f7", "started_at": "2026-11-20T23:00:00Z",
            "ready": true, "not_ready_because": [], "breakers": [], "upstreams": [], "traces": null,
            "config": { "file": "/etc/mainstay/mainstay.yaml", "hash": "4f1c2ab7", "loaded_at": "2026-11-24T00:00:00Z",
                "last_reload_succeeded": true, "findings": { "warning": 1, "note": 0 } },
            "traffic": { "requests": 0 },
            "writes": { "in_doubt": 0, "attention": 0, "oldest_in_doubt_at": null },
            "ledger": { "store": "disk", "health": "writable", "operations": 412, "bytes": 17_301_504, "max_bytes": 4_294_967_296_u64,
                "commit_p99_ms": 2.1 },
        })
    }

    fn now() -> Timestamp {
        "2026-11-24T03:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_screen_without_trouble_is_short() {
        let screen = Screen::of(&well(), now());
        let expected = "\
payments-7c9f   mainstay 0.1.0 (b91e2f7)   up 3d 4h   READY
config     mainstay.yaml #4f1c2a, loaded 3h ago   1 warning             mainstay check
ledger     disk, 412 operations, 16.5 MiB of 4 GiB, commit p99 2.1 ms";
        assert_eq!((screen.text(&Style::plain()).as_str(), screen.is_well()), (expected, true));
    }

    #[test]
    fn a_screen_of_a_bad_night_has_every_line() {
        let mut status = well();
        status["traffic"] = json!({ "requests": 10_944, "rate": 182.4, "error_share": 0.002, "p50_ms": 4.1, "p99_ms": 61.0,
            "retried_share": 0.011, "limited": 0, "replayed": 3 });
        status["writes"] = json!({ "in_doubt": 2, "attention": 2, "contradicted": 1, "oldest_in_doubt_at": "2026-11-24T02:59:46Z",
            "settled_by_asking_today": 12 });
        status["breakers"] = json!([{ "name": "write@pay", "state": "open", "since": "2026-11-24T02:59:20Z",
            "why": { "condition": "error_ratio", "value": 0.62, "threshold": 0.5, "requests": 31 }, "probes_in_ms": 2_900 }]);
        status["upstreams"] = json!([{ "name": "pay", "up": 1, "total": 2, "endpoints": [
            { "address": "10.0.0.7:9000", "cause": "connection refused", "failures_last_minute": 12 } ] }]);
        status["traces"] = json!({ "endpoint": "http://jaeger:4318", "exported": 10, "dropped": 0 });
        let screen = Screen::of(&status, now());
        let text = screen.text(&Style::plain());
        for line in [
            "traffic    182/s  0.2 % errors  p50 4.1 ms  p99 61 ms      retried 1.1 %  limited 0  replayed 3/min",
            "writes     2 NEED A PERSON (1 in doubt, 1 contradicted)   1 more in doubt (oldest 14 s)   settled by asking 12 today",
            "breakers   write@pay OPEN since 40 s (error_ratio 0.62 of 31), probes in 3 s",
            "upstreams  pay 1/2: 10.0.0.7:9000 connection refused, 12 times in the last minute",
            "traces     otlp http://jaeger:4318, 0 dropped",
        ] {
            assert!(text.lines().any(|told| told.starts_with(line)), "{line} is missing:\n{text}");
        }
        assert!(!screen.is_well());
    }

    #[test]
    fn what_needs_somebody_is_in_capitals_and_counts() {
        for (place, value, word) in [
            ("/ready", json!(false), "NOT READY"),
            ("/writes/attention", json!(1), "1 NEEDS A PERSON"),
            ("/config/last_reload_succeeded", json!(false), "REFUSED"),
            ("/breakers", json!([{ "name": "write@pay", "state": "open" }]), "write@pay OPEN"),
            ("/upstreams", json!([{ "name": "pay", "up": 0, "total": 1, "endpoints": [] }]), "pay DOWN 0/1"),
            ("/ledger/health", json!("full"), "FULL"),
            (
                "/traffic",
                json!({ "requests": 81, "rate": 1.4, "error_share": 1.0, "limited": 0, "replayed": 0 }),
                "100 % ERRORS",
            ),
            (
                "/ledger",
                json!({ "store": "disk", "health": "quarantined", "quarantined_until": "2026-12-30T09:00:00Z" }),
                "QUARANTINED until 2026-12-30T09:00:00Z",
            ),
        ] {
            let mut status = well();
            *status.pointer_mut(place).unwrap() = value;
            let screen = Screen::of(&status, now());
            let text = screen.text(&Style::plain());
            assert!(text.contains(word) && !screen.is_well(), "{text}");
        }
        let mut few = well();
        few["traffic"] = json!({ "requests": 3, "rate": 0.1, "error_share": 1.0, "limited": 0, "replayed": 0 });
        assert!(Screen::of(&few, now()).is_well(), "three that fail may be one caller's");
        let mut given_up = well();
        given_up["writes"] =
            json!({ "in_doubt": 2, "attention": 3, "contradicted": 1, "oldest_in_doubt_at": "2026-11-24T02:59:43Z" });
        let text = Screen::of(&given_up, now()).text(&Style::plain());
        let line = "writes     3 NEED A PERSON (2 in doubt, 1 contradicted)   oldest in doubt 17 s";
        assert!(text.lines().any(|told| told.starts_with(line)), "none counts twice: {text}");
        let mut doubt = well();
        doubt["writes"] = json!({ "in_doubt": 2, "attention": 0, "oldest_in_doubt_at": "2026-11-24T02:59:46Z" });
        let screen = Screen::of(&doubt, now());
        let text = screen.text(&Style::plain());
        assert!(text.contains("2 in doubt (oldest 14 s)") && screen.is_well(), "{text}");
    }
}
