//! `mainstay ops`

mod act;
mod find;
mod ids;
mod list;
mod story;
mod words;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::{
    act::{Acts, Chosen},
    find::Find,
    list::Ls,
};
use super::{
    Output, Target, Why, client,
    client::{Client, ClientError, segment},
    end, json,
    text::cell,
};

/// Look at operations, and settle what the machine could not
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = false)]
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
    /// Find the writes under a key that a caller sent
    #[command(after_help = "Examples:\n  mainstay ops find --key 8f14e45f\n  pbpaste | mainstay ops find --key -")]
    Find(Find),
    /// Tell the story of one operation, and what may be done next
    #[command(after_help = "Examples:\n  mainstay ops show d4-aab7\n  mainstay ops show d4 -o json")]
    Show {
        /// The operation: its id, or what that begins with
        id: String,
    },
    /// Say what became of a write that is unknown, or take a flag away
    Resolve {
        #[command(flatten)]
        chosen: Chosen,
        /// What became of the write; `not_executed` frees its key, so that a repeat executes
        #[arg(long = "as", value_enum, required_unless_present = "acknowledge", conflicts_with = "acknowledge")]
        decided: Option<Decision>,
        /// A settled write that was contradicted has been put right: the flag goes, its state stays
        #[arg(long)]
        acknowledge: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Show the key of a write, where the proxy's configuration allows it; who looked, and why, is kept
    Reveal {
        /// The operation: its id, or what that begins with
        id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Ask the service now what became of a write
    Query {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        why: Why,
    },
    /// Send a write again, byte for byte, where the service honours its key
    Redispatch {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        why: Why,
    },
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
    end(carry_out(command).await)
}

async fn carry_out(command: OpsCommand) -> Result<String, ClientError> {
    let OpsCommand { target, what } = command;
    let client = client(&target)?;
    let acts = |action, state, why| Acts { client: &client, output: target.output, action, state, why };
    match what {
        None => list::list(&client, Ls::default(), target.output).await,
        Some(Ops::Ls(wanted)) => list::list(&client, *wanted, target.output).await,
        Some(Ops::Find(wanted)) => find::find(&client, wanted, target.output).await,
        Some(Ops::Show { id }) => show(&client, &id, target.output).await,
        // Whoever acknowledges agrees with the state that it has.
        Some(Ops::Resolve { chosen, decided, acknowledge: _, why }) => {
            acts("resolve", decided.map(Decision::label), why).on(chosen).await
        }
        Some(Ops::Reveal { id, why }) => reveal(&client, &id, &why, target.output).await,
        Some(Ops::Query { chosen, why }) => acts("query", None, why).on(chosen).await,
        Some(Ops::Redispatch { chosen, why }) => acts("redispatch", None, why).on(chosen).await,
    }
}

async fn show(client: &Client, id: &str, output: Output) -> Result<String, ClientError> {
    let id = ids::whole(client, id).await?;
    let document = client.get(&path(&id, "")).await?.document;
    Ok(match output {
        Output::Json => json(&document),
        Output::Ids => id,
        Output::Table | Output::Wide => {
            let mut later = Vec::new();
            for id in document.pointer("/attention/later").and_then(Value::as_array).into_iter().flatten() {
                later.push(client.get(&path(&cell(id), "")).await?.document);
            }
            story::story(&document, &later, Timestamp::now())
        }
    })
}

async fn reveal(client: &Client, id: &str, why: &Why, output: Output) -> Result<String, ClientError> {
    let id = ids::whole(client, id).await?;
    let body = why.body(client, &[]).await?;
    let shown = client.post(&path(&id, ":reveal"), None, &body).await?.document;
    if output == Output::Json {
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

/// Several operations, as they are printed.
fn shown(found: &[Value], output: Output, more: &[(&str, Value)], footer: &str) -> String {
    let ids = || found.iter().map(|one| cell(&one["id"])).collect::<Vec<_>>().join("\n");
    match output {
        Output::Json => {
            let mut document = json!({ "operations": found });
            for (name, value) in more {
                document[*name] = value.clone();
            }
            json(&document)
        }
        Output::Ids => ids(),
        Output::Table | Output::Wide if found.is_empty() => "no operations".into(),
        Output::Table | Output::Wide => {
            let table = list::operations_table(found, Timestamp::now(), output == Output::Wide);
            format!("{table}\n{footer}")
        }
    }
}
