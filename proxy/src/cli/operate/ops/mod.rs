//! `mainstay ops`

mod act;
mod find;
pub(super) mod ids;
mod list;
mod near;
pub(super) mod story;
mod sure;
mod tail;
pub(super) mod words;

use std::{borrow::Cow, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::{
    act::{Acts, Chosen},
    find::Find,
    list::Ls,
    tail::Tail,
};
use super::{
    ClientError, Listing, Output, Session, Target, Why,
    client::{Client, segment},
    end, json, names_of, refused,
    text::cell,
    watch::watched,
};

/// Look at operations, and settle what the machine could not
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay ops\n  mainstay ops -o ids")]
pub struct OpsCommand {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: Option<Ops>,
}

#[derive(Subcommand, Debug)]
enum Ops {
    /// List what is open or needs a person, the oldest first (the same as no command)
    #[command(
        after_help = "Examples:\n  mainstay ops ls --upstream pay --older 10m\n  mainstay ops ls --all --newest --since 2h"
    )]
    Ls(Box<Ls>),
    /// Tell what happens, as it happens: writes that change, breakers, configurations, the ledger; with --kind request, requests
    #[command(
        after_help = "Examples:\n  mainstay ops tail\n  mainstay ops tail --kind operation,request --upstream pay"
    )]
    Tail(Tail),
    /// Find the writes under a key that a caller sent
    #[command(after_help = "Examples:\n  mainstay ops find --key 8f14e45f\n  pbpaste | mainstay ops find --key -")]
    Find(Find),
    /// Tell the story of one operation, and what may be done next
    #[command(after_help = "Examples:\n  mainstay ops show d4-aab7\n  mainstay ops show d4 -o json")]
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Say what became of a write that is unknown, or take a flag away
    #[command(
        visible_alias = "settle",
        after_help = "Examples:\n  mainstay ops resolve d4-aab7 --as succeeded --reason 'the bank says booked'\n  \
                            mainstay ops resolve d4-aab7 --acknowledge --reason 'the second one is taken back'"
    )]
    Resolve {
        #[command(flatten)]
        chosen: Chosen,
        /// What became of the write, for good. `failed`: its caller is told that nothing was done and that a new key is safe;
        /// `not_executed` frees its key, so that a repeat executes. On a terminal both ask back
        #[arg(long = "as", value_enum, required_unless_present = "acknowledge", conflicts_with = "acknowledge")]
        decided: Option<Decision>,
        /// The effect of a contradicted write has been taken back: the flag goes, its state stays, and with `not_executed` a
        /// repeat executes
        #[arg(long)]
        acknowledge: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Show the key of a write, where the proxy's configuration allows it; who looked, and why, is kept
    #[command(after_help = "Examples:\n  mainstay ops reveal d4 --reason 'which payment'\n  \
                            mainstay ops reveal d4-aab7 --reason 'which payment' -o json")]
    Reveal {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        why: Why,
    },
    /// Ask the service now what became of a write
    #[command(after_help = "Examples:\n  mainstay ops query d4 --reason 'to see'\n  \
                            mainstay ops query --attention --upstream pay --reason 'the bank is back' --yes")]
    Query {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        why: Why,
    },
    /// Send a write again, byte for byte, where the service honours its key
    #[command(after_help = "Examples:\n  mainstay ops redispatch d4 --reason 'the service has restarted'\n  \
                            mainstay ops redispatch --older 10m --upstream pay --reason 'the bank is back'")]
    Redispatch {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        why: Why,
    },
}

/// One operation.
#[derive(Args, Debug)]
struct Named {
    /// The operation: its id, or what that begins with
    #[arg(required_unless_present = "key")]
    id: Option<String>,
    /// A key is no id: it leads to one.
    #[arg(long, hide = true)]
    key: Option<String>,
}

impl Named {
    /// The whole id.
    async fn whole(self, client: &Client) -> Result<String, ClientError> {
        match (self.id, self.key) {
            (Some(id), None) => ids::whole(client, &id).await,
            (_, key) => Err(ids::by_key(&key.unwrap_or_default())),
        }
    }
}

/// What a person may say of a write.
#[derive(ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "snake_case")]
enum Decision {
    /// The service did it.
    Succeeded,
    /// The service decided against it.
    Failed,
    /// The service did nothing.
    NotExecuted,
}

impl Decision {
    const fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::NotExecuted => "not_executed",
        }
    }
}

/// Carries out `mainstay ops`.
pub async fn ops(command: OpsCommand) -> ExitCode {
    let session = match command.target.session() {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    match command.what.unwrap_or_default() {
        Ops::Ls(wanted) => watched(wanted.watch, async || Ok((list::list(&session, &wanted).await?, 0))).await,
        Ops::Tail(wanted) => tail::tail(&session, wanted).await,
        what => end(carry_out(&session, what).await),
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self::Ls(Box::default())
    }
}

async fn carry_out(session: &Session, what: Ops) -> Result<String, ClientError> {
    let acts = |action, state, why| Acts { session, action, state, why };
    match what {
        Ops::Ls(wanted) => list::list(session, &wanted).await,
        Ops::Tail(_) => Err(ClientError::Usage("what happens is told as it happens".into())),
        Ops::Find(wanted) => find::find(session, wanted).await,
        Ops::Show { named } => show(session, named).await,
        // Whoever acknowledges agrees with the state that it has.
        Ops::Resolve { chosen, decided, acknowledge: _, why } => {
            acts("resolve", decided.map(Decision::label), why).on(chosen).await
        }
        Ops::Reveal { named, why } => reveal(session, named, &why).await,
        Ops::Query { chosen, why } => acts("query", None, why).on(chosen).await,
        Ops::Redispatch { chosen, why } => acts("redispatch", None, why).on(chosen).await,
    }
}

async fn show(session: &Session, named: Named) -> Result<String, ClientError> {
    let client = &session.client;
    let id = named.whole(client).await?;
    let document = client.get(&path(&id, "")).await?.document;
    Ok(match session.output {
        Output::Json => json(&document),
        Output::Ids => id,
        Output::Table | Output::Wide => {
            let mut later = Vec::new();
            for id in document.pointer("/attention/later").and_then(Value::as_array).into_iter().flatten() {
                later.push(client.get(&path(&cell(id), "")).await?.document);
            }
            story::story(&document, &later, Timestamp::now(), &session.style)
        }
    })
}

async fn reveal(session: &Session, named: Named, why: &Why) -> Result<String, ClientError> {
    let client = &session.client;
    let id = named.whole(client).await?;
    let body = why.body(client, &[]).await?;
    let shown = client.post(&path(&id, ":reveal"), None, &body).await?.document;
    if session.output == Output::Json {
        return Ok(json(&shown));
    }
    let kept = |value: &Value| if value.is_null() { "not kept".to_owned() } else { cell(value) };
    let request = shown["request"]
        .as_object()
        .map(|_| format!("{} {}", cell(&shown["request"]["method"]), cell(&shown["request"]["target"])));
    let lines = [
        ("key", kept(&shown["key"])),
        ("principal", kept(&shown["principal"])),
        ("asked by", kept(&shown["status_request"])),
        ("request", request.unwrap_or_else(|| "not kept".into())),
    ];
    Ok(lines.map(|(name, value)| format!("{name:10} {value}")).join("\n"))
}

fn path(id: &str, act: &str) -> String {
    format!("/operations/{}{act}", segment(id))
}

/// Several operations, as they are printed; `notes` are lines beneath a table.
async fn shown(session: &Session, found: &[Value], more: (&str, Value), notes: &str) -> String {
    let mut document = json!({ "operations": found });
    document[more.0] = more.1;
    let text = if found.is_empty() {
        "no operations".into()
    } else {
        list::operations_table(found, Timestamp::now(), session.is_wide(), &session.style)
    };
    let text = if notes.is_empty() { text } else { format!("{text}\n{notes}") };
    session.shown(Listing { document: Cow::Owned(document), names: names_of(found, "id"), text }).await
}
