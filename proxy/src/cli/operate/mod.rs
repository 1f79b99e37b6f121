//! What operators type: `mainstay ops`, `mainstay breakers`, `mainstay audit`, over the [`admin`](crate::admin) listener of
//! a running proxy.
//!
//! Exit codes: 0 done; 1 refused, or there is no such thing; 2 the command line is not valid; 3 nobody answers; 5 done, and some
//! writes are left in doubt.

pub(crate) mod audit;
pub(crate) mod breakers;
mod client;
pub(crate) mod drain;
mod events;
pub(crate) mod ops;
pub(crate) mod probe;
pub(crate) mod routes;
mod secure;
pub(crate) mod status;
mod style;
pub(crate) mod switches;
mod text;
#[cfg(feature = "top")]
pub(crate) mod top;
pub(crate) mod views;
mod watch;

use std::{borrow::Cow, fmt::Display, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

#[cfg(feature = "top")]
pub use self::top::{TopCommand, top};
pub use self::{
    audit::{AuditCommand, audit},
    breakers::{BreakersCommand, breakers},
    drain::{DrainCommand, drain},
    ops::{OpsCommand, ops},
    probe::{ProbeCommand, probe},
    routes::{RoutesCommand, routes},
    status::{StatusCommand, status},
    switches::{LogLevelCommand, ReloadCommand, log_level, reload},
    views::{LimitsCommand, LiveCommand, UpstreamsCommand, limits, live, upstreams},
};
use self::{
    client::{Client, ClientError},
    secure::SecureArgs,
    style::{Look, Style},
};
use super::output::{fail, print};

/// Under which heading help has what all commands have, after their own options.
const COMMON: &str = "Common options";

/// Where the proxy is, and how what it says is shown.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = COMMON,
        help = "The proxy's admin listener, http:// or https:// [default: $MAINSTAY_ADMIN, or http://127.0.0.1:9191]"
    )]
    admin: Option<String>,
    #[command(flatten)]
    secure: SecureArgs,
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = COMMON,
        help = "The file that holds the token, where the listener asks for one [default: $MAINSTAY_TOKEN_FILE]"
    )]
    token_file: Option<PathBuf>,
    /// For people, or for programs
    #[arg(long, short, global = true, value_enum, value_name = "FORM", default_value_t, help_heading = COMMON)]
    output: Output,
    #[command(flatten)]
    look: Look,
}

impl Target {
    /// What a command speaks to, and how it shows what it hears.
    fn session(&self) -> Result<Session, ClientError> {
        Ok(Session { client: client(self)?, output: self.output, style: Style::of(self.look) })
    }
}

/// One proxy, and how what it says is shown.
pub(super) struct Session {
    client: Client,
    output: Output,
    style: Style,
}

/// A listing, in each form that it may be asked for.
struct Listing<'a> {
    document: Cow<'a, Value>,
    /// What `-o ids` prints.
    names: Vec<String>,
    /// For people, without the line that says whose it is.
    text: String,
}

impl Session {
    /// A listing as it was asked for. The last line for people says whose it is.
    async fn shown(&self, listing: Listing<'_>) -> String {
        match self.output {
            Output::Json => json(&listing.document),
            Output::Ids => listing.names.join("\n"),
            Output::Table | Output::Wide => format!("{}\n{}", listing.text, self.footer().await),
        }
    }

    /// Whose answers these are, and when they came.
    async fn footer(&self) -> String {
        format!("{}, {}", self.client.named().await, self.style.clock(Timestamp::now()))
    }

    fn is_wide(&self) -> bool {
        self.output == Output::Wide
    }
}

/// The texts of one member of each item.
fn names_of(items: &[Value], member: &str) -> Vec<String> {
    items.iter().map(|item| text::cell(&item[member])).collect()
}

/// The items of a document's listing.
fn items<'a>(document: &'a Value, member: &str) -> &'a [Value] {
    document[member].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How it is printed.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For people, with everything that a table has.
    Wide,
    /// As the proxy says it.
    Json,
    /// Names only, one a line.
    Ids,
}

/// Whoever runs this program, where nobody says who does: as the environment says, or else the system; `None` where neither
/// does, as in images.
pub(super) fn this_user() -> Option<String> {
    if let Some(actor) = std::env::var("MAINSTAY_ACTOR").ok().filter(|actor| !actor.is_empty()) {
        return Some(actor);
    }
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(format!("{user}@{}", host.trim()))
}

/// Who acts; `None` if the proxy knows it by the token.
///
/// # Errors
/// Nobody can say.
async fn actor_of(client: &Client, given: Option<String>) -> Result<Option<String>, ClientError> {
    if given.is_some() || client.caller().await?.is_some() {
        return Ok(given);
    }
    let unknown = || {
        let words = "who are you? Say it with --actor, or in MAINSTAY_ACTOR: it is kept in the audit trail";
        ClientError::Usage(words.into())
    };
    this_user().ok_or_else(unknown).map(Some)
}

/// Who does it, and why; both are kept in the audit trail.
#[derive(Args, Clone, Debug)]
pub(super) struct Why {
    /// Why; kept in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[arg(
        long,
        value_name = "NAME",
        help = "Who does it; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]"
    )]
    actor: Option<String>,
}

impl Why {
    /// The members of an act's body.
    async fn body(&self, client: &Client, more: &[(&str, &str)]) -> Result<Value, ClientError> {
        let mut body = serde_json::Map::new();
        body.extend(more.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
        if let Some(actor) = actor_of(client, self.actor.clone()).await? {
            body.insert("actor".into(), actor.into());
        }
        body.insert("reason".into(), self.reason.clone().into());
        Ok(Value::Object(body))
    }
}

/// Prints what a command found, or why it did not, and what to do about that.
fn end(done: Result<impl Display, ClientError>) -> ExitCode {
    match done {
        Ok(text) => print(text),
        Err(error) => refused(&error),
    }
}

/// Says why a command was not carried out, or what came of one that was not carried out for all.
fn refused(error: &ClientError) -> ExitCode {
    if let ClientError::Partly { told, code } = error {
        print(told);
        return ExitCode::from(*code);
    }
    let _ = fail(format_args!("mainstay: {error}"));
    ExitCode::from(error.exit_code())
}

/// The document for programs.
fn json(document: &Value) -> String {
    format!("{document:#}")
}

fn client(target: &Target) -> Result<Client, ClientError> {
    let address = target.admin.clone().or_else(|| std::env::var("MAINSTAY_ADMIN").ok());
    let address = address.as_deref().unwrap_or("http://127.0.0.1:9191");
    let token_file = target.token_file.clone().or_else(|| std::env::var_os("MAINSTAY_TOKEN_FILE").map(PathBuf::from));
    Client::new(address, Some(&target.secure), token_file.as_deref())
}
