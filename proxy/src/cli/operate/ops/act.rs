//! Acts on operations that are named.

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        Output, Why,
        client::{Client, ClientError},
        json,
        text::cell,
    },
    ids, path,
};

/// The operations that an act is on.
#[derive(Args, Debug)]
pub(super) struct Chosen {
    /// The operations: their ids, or what those begin with
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// What is to be done, and where.
pub(super) struct Acts<'a> {
    pub(super) client: &'a Client,
    pub(super) output: Output,
    pub(super) action: &'static str,
    /// What a write is said to have become; `None` for one that is acknowledged as it stands.
    pub(super) state: Option<&'static str>,
    pub(super) why: Why,
}

impl Acts<'_> {
    /// One after the other. The first that is refused ends it.
    pub(super) async fn on(&self, chosen: Chosen) -> Result<String, ClientError> {
        let mut told = Vec::new();
        let mut documents = Vec::new();
        for id in chosen.ids {
            let id = ids::whole(self.client, &id).await?;
            let (text, document) = self.one(&id).await?;
            told.push(text);
            documents.push(document);
        }
        Ok(match (self.output, &documents[..]) {
            (Output::Json, [one]) => json(one),
            (Output::Json, several) => json(&json!({ "operations": several })),
            (Output::Ids, several) => several.iter().map(|one| cell(&one["id"])).collect::<Vec<_>>().join("\n"),
            (Output::Table | Output::Wide, _) => told.join("\n"),
        })
    }

    /// Reads the operation, acts on it as it was read, and tells the difference.
    async fn one(&self, id: &str) -> Result<(String, Value), ClientError> {
        let before = self.client.get(&path(id, "")).await?;
        let acknowledged;
        let body = match (self.action, self.state) {
            ("resolve", None) => {
                acknowledged = cell(&before.document["state"]);
                self.why.body(&[("state", &acknowledged)])
            }
            ("resolve", Some(state)) => self.why.body(&[("state", state)]),
            _ => self.why.body(&[]),
        };
        let target = path(id, &format!(":{}", self.action));
        let after = self.client.post(&target, before.etag.as_deref(), &body).await?.document;
        let mut text = format!("{}: {} -> {}", ids::short(id), standing(&before.document), standing(&after));
        for member in ["result", "warning"] {
            if let Some(words) = after[member].as_str() {
                text.extend(["\n", member, ": ", words]);
            }
        }
        Ok((text, after))
    }
}

fn standing(document: &Value) -> String {
    match document["attention"]["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", cell(&document["state"])),
        None => cell(&document["state"]),
    }
}
