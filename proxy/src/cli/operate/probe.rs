//! `mainstay probe`: for images without a shell, and for plain Docker.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::client::Client;
use crate::cli::output::{fail, print};

/// Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay probe\n  mainstay probe live --probes http://127.0.0.1:9190")]
pub struct ProbeCommand {
    /// What is asked
    #[arg(value_enum, default_value_t)]
    what: What,
    #[arg(
        long,
        value_name = "URL",
        help = "The proxy's probes listener [default: $MAINSTAY_PROBES, or http://127.0.0.1:9190]"
    )]
    probes: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default)]
enum What {
    /// The process runs
    Live,
    /// Traffic should come here
    #[default]
    Ready,
}

/// Carries out `mainstay probe`. Whoever runs it knows good and bad only, so nobody there is bad.
pub async fn probe(command: ProbeCommand) -> ExitCode {
    let address = command.probes.or_else(|| std::env::var("MAINSTAY_PROBES").ok());
    let path = match command.what {
        What::Live => "/livez",
        What::Ready => "/readyz",
    };
    let asked = match Client::new(address.as_deref().unwrap_or("http://127.0.0.1:9190"), None, None) {
        Ok(client) => client.look(path).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok((status, text)) if status.is_success() => print(text.trim_end()),
        Ok((_, text)) => fail(text.trim_end()),
        Err(error) => fail(format_args!("mainstay: {error}")),
    }
}
