//! `mainstay ops find`: from the key that a customer holds to the write.

use std::io::Read;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    super::{ClientError, Output, Session, actor_of, items},
    shown,
};

/// Bytes of a key that are read from the standard input: more than a key has.
const MAX_KEY: u64 = 4096;
/// Keys that are looked for at once.
const MAX_KEYS: usize = 100;
/// There is no such thing.
const NOT_FOUND: u8 = 1;
/// What is said of a search that was cut.
const CUT: &str = "not everything could be looked at: name the caller with --principal, if you know it";

#[derive(Args, Debug)]
pub(super) struct Find {
    /// The key, without its quotes; `-` reads it from the standard input, where no list of processes shows it, or several, one a line
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
    let keys = if key == "-" { read_keys()? } else { vec![key] };
    let mut body = Map::new();
    if let Some(actor) = actor_of(&session.client, actor).await? {
        body.insert("actor".into(), actor.into());
    }
    body.extend(principal.map(|principal| ("principal".into(), principal.into())));
    body.extend(upstream.map(|upstream| ("upstream".into(), upstream.into())));
    let (mut found, mut missing, mut is_complete) = (Vec::<Value>::new(), Vec::new(), true);
    let count = keys.len();
    for (line, key) in (1..).zip(keys) {
        body.insert("key".into(), key.into());
        let document = session.client.post("/operations:find", None, &Value::Object(body.clone())).await?.document;
        is_complete &= document["complete"] == true;
        let under_key = items(&document, "operations");
        if under_key.is_empty() {
            missing.push(line);
        }
        let more = under_key.iter().filter(|one| found.iter().all(|other| other["id"] != one["id"])).cloned();
        let more: Vec<Value> = more.collect();
        found.extend(more);
    }
    let cut = if is_complete { "" } else { CUT };
    let complete = ("complete", json!(is_complete));
    if missing.is_empty() {
        return Ok(shown(session, &found, complete, cut).await);
    }
    let mut notes = nothing(&missing, count, &session.client.named().await);
    if !is_complete {
        notes.extend(["\n", CUT]);
    }
    // Programs read the document where they always do.
    if found.is_empty() && session.output != Output::Json {
        return Err(ClientError::NotFound(notes));
    }
    Err(ClientError::Partly { told: shown(session, &found, complete, &notes).await, code: NOT_FOUND })
}

/// What it does and does not mean that nothing was found, under keys of these lines of so many.
fn nothing(missing: &[usize], count: usize, proxy: &str) -> String {
    let whose = if count == 1 {
        "this key".to_owned()
    } else {
        let lines: Vec<String> = missing.iter().map(usize::to_string).collect();
        format!("{} of the {count} keys (line {})", missing.len(), lines.join(", "))
    };
    format!(
        "no write is known under {whose} at {proxy}. That does not say that nothing was done: it may have gone by another replica \
         or port (--admin), be another caller's (--principal), have a key that is made of parts of the request, which is \
         percent-encoded (a%2Fb), or be forgotten (`tombstone`)"
    )
}

/// The keys of the standard input, one a line.
fn read_keys() -> Result<Vec<String>, ClientError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_KEYS as u64 * MAX_KEY).read_to_string(&mut text);
    read.map_err(|error| ClientError::Usage(format!("the key cannot be read from the standard input: {error}")))?;
    keys_of(&text)
}

fn keys_of(text: &str) -> Result<Vec<String>, ClientError> {
    let keys: Vec<String> = text.lines().map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect();
    match keys.len() {
        0 => Err(ClientError::Usage("the standard input has no key".into())),
        1..=MAX_KEYS => Ok(keys),
        _ => Err(ClientError::Usage(format!("more than {MAX_KEYS} keys: give them in parts"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_one_a_line_and_there_is_an_end_to_them() {
        assert_eq!(keys_of("order-1\n\n order-2 \r\n").unwrap(), ["order-1", "order-2"]);
        assert!(keys_of(" \n").is_err());
        assert!(keys_of(&"k\n".repeat(MAX_KEYS)).is_ok() && keys_of(&"k\n".repeat(MAX_KEYS + 1)).is_err());
    }

    #[test]
    fn nothing_that_is_found_proves_nothing() {
        let told = nothing(&[1], 1, "pay-1 (127.0.0.1:9191)");
        assert!(
            told.starts_with("no write is known under this key at pay-1 (127.0.0.1:9191). That does not say"),
            "{told}"
        );
        let told = nothing(&[2, 4], 4, "pay-1");
        assert!(told.starts_with("no write is known under 2 of the 4 keys (line 2, 4) at pay-1."), "{told}");
    }
}
