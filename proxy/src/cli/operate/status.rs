//! `mainstay status`: how it goes, on one screen.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::output::{fail, print},
    Output, Target, client,
    client::{Client, ClientError},
    json,
    text::{age, cell},
};
use crate::config::{format_size, parse_duration};

/// Something needs somebody.
const NEEDS_SOMEBODY: u8 = 1;

/// How it goes, on one screen
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay status\n  mainstay status --watch 5s")]
pub struct StatusCommand {
    #[command(flatten)]
    target: Target,
    /// Again and again, so long after each time
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s", value_parser = read_time)]
    watch: Option<Duration>,
}

fn read_time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|(wrong, cure)| format!("{wrong}; {cure}"))
}

/// Carries out `mainstay status`.
pub async fn status(command: StatusCommand) -> ExitCode {
    let StatusCommand { target, watch } = command;
    let client = match client(&target) {
        Ok(client) => client,
        Err(error) => return refused(&error),
    };
    loop {
        let code = match look(&client, target.output).await {
            Ok((text, is_well)) => {
                let clear = if watch.is_some() { "\u{1b}[2J\u{1b}[H" } else { "" };
                print(format_args!("{clear}{text}"));
                ExitCode::from(if is_well { 0 } else { NEEDS_SOMEBODY })
            }
            Err(error) => refused(&error),
        };
        match watch {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return code,
        }
    }
}

fn refused(error: &ClientError) -> ExitCode {
    let _ = fail(format_args!("mainstay: {error}"));
    ExitCode::from(error.exit_code())
}

async fn look(client: &Client, output: Output) -> Result<(String, bool), ClientError> {
    let document = client.get("/status").await?.document;
    let screen = Screen::of(&document, Timestamp::now());
    Ok((if output == Output::Json { json(&document) } else { screen.text() }, screen.is_well))
}

/// What is shown.
struct Screen {
    headline: String,
    /// What it is about, what there is to say, and what to type for more.
    lines: Vec<(&'static str, String, &'static str)>,
    is_well: bool,
}

impl Screen {
    fn of(status: &Value, now: Timestamp) -> Self {
        let commit = status["commit"].as_str().map(|commit| format!(" ({commit})")).unwrap_or_default();
        let reasons: Vec<String> = status["not_ready_because"].as_array().into_iter().flatten().map(cell).collect();
        let is_ready = status["ready"] == true;
        let ready = if is_ready { "READY".to_owned() } else { format!("NOT READY: {}", reasons.join(", ")) };
        let up = age(&status["started_at"], now);
        let headline =
            format!("{}   mainstay {}{commit}   up {up}   {ready}", cell(&status["name"]), cell(&status["version"]));
        let mut screen = Self { headline, lines: Vec::new(), is_well: is_ready };
        screen.config(&status["config"], now);
        screen.writes(&status["writes"], now);
        screen.breakers(&status["breakers"]);
        screen.ledger(&status["ledger"]);
        screen
    }

    fn config(&mut self, config: &Value, now: Timestamp) {
        let mut text = format!("#{}, loaded {} ago", cell(&config["hash"]), age(&config["loaded_at"], now));
        if config["last_reload_succeeded"] == false {
            text += "   THE LAST RELOAD WAS REFUSED";
            self.is_well = false;
        }
        let found: Vec<String> = config["findings"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() > Some(0))
            .map(|(severity, count)| format!("{count} {severity}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let more = if found.is_empty() { "" } else { "mainstay check" };
        if !found.is_empty() {
            text.extend(["   ", found.join(", ").as_str()]);
        }
        self.lines.push(("config", text, more));
    }

    fn writes(&mut self, writes: &Value, now: Timestamp) {
        let (doubt, needed) = (writes["in_doubt"].as_u64().unwrap_or(0), writes["attention"].as_u64().unwrap_or(0));
        let mut parts = Vec::new();
        if doubt > 0 {
            parts.push(format!("{doubt} in doubt (oldest {})", age(&writes["oldest_in_doubt_at"], now)));
        }
        if needed > 0 {
            parts.push(if needed == 1 { "1 NEEDS A PERSON".into() } else { format!("{needed} NEED A PERSON") });
            self.is_well = false;
        }
        if !parts.is_empty() {
            self.lines.push(("writes", parts.join("   "), "mainstay ops ls"));
        }
    }

    fn breakers(&mut self, breakers: &Value) {
        for breaker in breakers.as_array().into_iter().flatten() {
            let state = cell(&breaker["state"]);
            self.is_well &= !state.ends_with("open");
            let text = format!("{} {}", cell(&breaker["name"]), state.replace('_', " ").to_uppercase());
            self.lines.push(("breakers", text, "mainstay breakers"));
        }
    }

    fn ledger(&mut self, ledger: &Value) {
        let mut text = cell(&ledger["store"]);
        if ledger["operations"].is_u64() {
            text.extend([", ", &cell(&ledger["operations"]), " operations"]);
        }
        if let (Some(bytes), Some(max)) = (ledger["bytes"].as_u64(), ledger["max_bytes"].as_u64()) {
            text.extend([", ", &format_size(bytes), " of ", &format_size(max)]);
        }
        if ledger["health"] != "writable" {
            text.extend(["   ", &cell(&ledger["health"]).to_uppercase()]);
            self.is_well = false;
        }
        self.lines.push(("ledger", text, ""));
    }

    fn text(&self) -> String {
        let width = self.lines.iter().map(|(_, text, _)| text.chars().count()).max().unwrap_or(0);
        let lines = self
            .lines
            .iter()
            .map(|(name, text, more)| format!("{name:10} {text:width$}   {more}").trim_end().to_owned());
        std::iter::once(self.headline.clone()).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn well() -> Value {
        json!({
            "name": "payments-7c9f", "version": "0.1.0", "commit": "b91e2f7", "started_at": "2026-11-21T03:00:00Z",
            "ready": true, "not_ready_because": [], "breakers": [],
            "config": { "hash": "4f1c2a", "loaded_at": "2026-11-24T00:00:00Z", "last_reload_succeeded": true,
                "findings": { "warning": 1, "note": 0 } },
            "writes": { "in_doubt": 0, "attention": 0, "oldest_in_doubt_at": null },
            "ledger": { "store": "disk", "health": "writable", "operations": 412, "bytes": 16_777_216, "max_bytes": 4_294_967_296_u64 },
        })
    }

    fn now() -> Timestamp {
        "2026-11-24T03:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_screen_without_trouble_is_short() {
        let screen = Screen::of(&well(), now());
        let expected = "\
payments-7c9f   mainstay 0.1.0 (b91e2f7)   up 3d   READY
config     #4f1c2a, loaded 3h ago   1 warning    mainstay check
ledger     disk, 412 operations, 16MiB of 4GiB";
        assert_eq!((screen.text().as_str(), screen.is_well), (expected, true));
    }

    #[test]
    fn what_needs_somebody_is_in_capitals_and_counts() {
        for (place, value, word) in [
            ("/ready", json!(false), "NOT READY"),
            ("/writes/attention", json!(1), "1 NEEDS A PERSON"),
            ("/config/last_reload_succeeded", json!(false), "REFUSED"),
            ("/breakers", json!([{ "name": "write@pay", "state": "open" }]), "write@pay OPEN"),
            ("/ledger/health", json!("full"), "FULL"),
        ] {
            let mut status = well();
            *status.pointer_mut(place).unwrap() = value;
            let screen = Screen::of(&status, now());
            assert!(screen.text().contains(word) && !screen.is_well, "{}", screen.text());
        }
        let mut doubt = well();
        doubt["writes"] = json!({ "in_doubt": 2, "attention": 0, "oldest_in_doubt_at": "2026-11-24T02:59:46Z" });
        let screen = Screen::of(&doubt, now());
        assert!(screen.text().contains("2 in doubt (oldest 14s)") && screen.is_well, "{}", screen.text());
    }
}
