//! What users write, and what they are told.

mod bad;
mod changes;
mod directory;
mod environment;
mod good;
mod hostile;
mod otel;
mod round_trip;
mod schema;
mod watch;

use std::sync::Arc;

use super::{ConfigErrors, Loaded, load::parse_with, model::Config};

/// The environment of these tests.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8080",
        "RETRIES" => "3",
        "TIMEOUT" => "750ms",
        "REQUIRED" => "true",
        "EMPTY" => "",
        "NASTY" => "1s }\nretry: 9 # \"'",
        _ => return None,
    };
    Some(value.to_owned())
}

fn try_parse(text: &str) -> Result<Loaded, ConfigErrors> {
    parse_with("mainstay.yaml", text, &environment)
}

#[track_caller]
fn parse(text: &str) -> Arc<Config> {
    match try_parse(text) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("refused:\n{errors}\n\n{text}"),
    }
}
