//! Acts on operations that are named.

use std::{io::IsTerminal, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        Output, Why,
        client::{Client, ClientError, segment},
        json,
        text::cell,
    },
    ids,
    list::Which,
    path,
};

const BATCH: &str = "/operations:batch";
/// Between two looks at a job.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The operations that an act is on.
#[derive(Args, Debug)]
pub(super) struct Chosen {
    /// The operations: their ids, or what those begin with
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Act on all that match without asking back
    #[arg(long)]
    yes: bool,
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
        let query = chosen.which.query();
        match (chosen.ids.is_empty(), query.is_empty()) {
            (true, true) => {
                return Err(ClientError::Usage(
                    "on which? Name operations, or say which: --attention, --upstream, --older".into(),
                ));
            }
            (false, false) => return Err(ClientError::Usage("name operations, or say which; not both".into())),
            (true, false) => return self.many(query, chosen.yes).await,
            (false, true) => {}
        }
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

    /// All that match: shown first, and done if that is what is meant.
    async fn many(&self, query: Vec<(&'static str, String)>, yes: bool) -> Result<String, ClientError> {
        if (self.action, self.state) == ("resolve", None) {
            return Err(ClientError::Usage("contradicted writes are acknowledged one by one, by their ids".into()));
        }
        let mut body = self.why.body(self.client, &[("action", self.action)]).await?;
        body["filter"] = query.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        if let Some(state) = self.state {
            body["as"] = state.into();
        }
        body["dry_run"] = true.into();
        let preview = self.client.post(BATCH, None, &body).await?.document;
        let matched = preview["matched"].as_u64().unwrap_or(0);
        if matched == 0 {
            return Ok("no operations".into());
        }
        if !yes {
            confirm(&preview, matched)?;
        }
        body["dry_run"] = false.into();
        body["expect"] = matched.into();
        let job = cell(&self.client.post(BATCH, None, &body).await?.document["job"]);
        loop {
            let job = self.client.get(&format!("/jobs/{}", segment(&job))).await?.document;
            if job["state"] != "running" {
                return self.ended(&job);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn ended(&self, job: &Value) -> Result<String, ClientError> {
        if self.output == Output::Json {
            return Ok(json(job));
        }
        let results = job["by_result"].as_object().into_iter().flatten();
        let results: Vec<String> = results.map(|(result, count)| format!("  {count:>6}  {result}")).collect();
        let (done, matched) = (cell(&job["done"]), cell(&job["matched"]));
        let text = format!("{done} of {matched} {}\n{}", cell(&job["state"]), results.join("\n"));
        if job["refused"] == 0 && job["done"] == job["matched"] { Ok(text) } else { Err(ClientError::Partly(text)) }
    }

    /// Reads the operation, acts on it as it was read, and tells the difference.
    async fn one(&self, id: &str) -> Result<(String, Value), ClientError> {
        let before = self.client.get(&path(id, "")).await?;
        let acknowledged;
        let body = match (self.action, self.state) {
            ("resolve", None) => {
                acknowledged = cell(&before.document["state"]);
                self.why.body(self.client, &[("state", &acknowledged)]).await?
            }
            ("resolve", Some(state)) => self.why.body(self.client, &[("state", state)]).await?,
            _ => self.why.body(self.client, &[]).await?,
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

/// Asks back, where somebody can answer.
fn confirm(preview: &Value, matched: u64) -> Result<(), ClientError> {
    let states = preview["by_state"].as_object().into_iter().flatten();
    let states: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
    let sample: Vec<String> =
        preview["sample"].as_array().into_iter().flatten().map(|id| ids::short(&cell(id))).collect();
    let shown = format!("{matched} match: {}; such as {}", states.join(", "), sample.join(", "));
    if !std::io::stdin().is_terminal() {
        return Err(ClientError::Usage(format!("{shown}. Say --yes to act on all of them")));
    }
    let mut typed = String::new();
    eprint!("{shown}\nType {matched} to act on all of them: ");
    let read = std::io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim() == matched.to_string() {
        return Ok(());
    }
    Err(ClientError::Usage("nothing was done".into()))
}

fn standing(document: &Value) -> String {
    match document["attention"]["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", cell(&document["state"])),
        None => cell(&document["state"]),
    }
}
