//! `mainstay ops find`: from the key that a customer holds to the write.

use std::io::Read;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    super::{ClientError, Session, actor_of, items},
    shown,
};

/// Bytes of a key that are read from the standard input: more than a key has.
const MAX_KEY: u64 = 4096;
/// What is said of a search that was cut.
const CUT: &str = "not everything could be looked at: name the caller with --principal, if you know it";

#[derive(Args, Debug)]
pub(super) struct Find {
    /// The key, without its quotes; `-` reads it from the standard input, where no list of processes shows it
    #[arg(long)]
    key: String,
    /// The caller whose key it is, where callers are told apart: with it every write is found, whether its service can be asked or not
    #[arg(long)]
    principal: Option<String>,
    /// Only writes to this upstream
    #[arg(long)]
    upstream: Option<String>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Who looks; kept in the audit trail [default: $MAINSTAY_ACTOR, or $USER@host]"
    )]
    actor: Option<String>,
}

pub(super) async fn find(session: &Session, wanted: Find) -> Result<String, ClientError> {
    let Find { key, principal, upstream, actor } = wanted;
    let mut body = Map::new();
    body.insert("key".into(), if key == "-" { read_key()? } else { key }.into());
    if let Some(actor) = actor_of(&session.client, actor).await? {
        body.insert("actor".into(), actor.into());
    }
    body.extend(principal.map(|principal| ("principal".into(), principal.into())));
    body.extend(upstream.map(|upstream| ("upstream".into(), upstream.into())));
    let document = session.client.post("/operations:find", None, &Value::Object(body)).await?.document;
    let is_complete = document["complete"] == true;
    let notes = if is_complete { "" } else { CUT };
    Ok(shown(session, items(&document, "operations"), ("complete", json!(is_complete)), notes).await)
}

fn read_key() -> Result<String, ClientError> {
    let mut key = String::new();
    let read = std::io::stdin().lock().take(MAX_KEY).read_to_string(&mut key);
    read.map_err(|error| ClientError::Usage(format!("the key cannot be read from the standard input: {error}")))?;
    Ok(key.trim().to_owned())
}
