//! `mainstay ops find`: from the key that a customer holds to the write.

use std::io::Read;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    super::{
        Output, actor_of,
        client::{Client, ClientError},
    },
    shown,
};

/// Bytes of a key that are read from the standard input: more than a key has.
const MAX_KEY: u64 = 4096;

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
    /// Who looks; kept in the audit trail [default: $USER@host]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

pub(super) async fn find(client: &Client, wanted: Find, output: Output) -> Result<String, ClientError> {
    let Find { key, principal, upstream, actor } = wanted;
    let mut body = Map::new();
    body.insert("key".into(), if key == "-" { read_key()? } else { key }.into());
    if let Some(actor) = actor_of(client, actor).await? {
        body.insert("actor".into(), actor.into());
    }
    body.extend(principal.map(|principal| ("principal".into(), principal.into())));
    body.extend(upstream.map(|upstream| ("upstream".into(), upstream.into())));
    let document = client.post("/operations:find", None, &Value::Object(body)).await?.document;
    let is_complete = document["complete"] == true;
    let found = document["operations"].as_array().cloned().unwrap_or_default();
    let mut text = shown(&found, output, &[("complete", json!(is_complete))], &client.named());
    if !is_complete && matches!(output, Output::Table | Output::Wide) {
        text.push_str("\nnot everything could be looked at: name the caller with --principal, if you know it");
    }
    Ok(text)
}

fn read_key() -> Result<String, ClientError> {
    let mut key = String::new();
    let read = std::io::stdin().lock().take(MAX_KEY).read_to_string(&mut key);
    read.map_err(|error| ClientError::Usage(format!("the key cannot be read from the standard input: {error}")))?;
    Ok(key.trim().to_owned())
}
