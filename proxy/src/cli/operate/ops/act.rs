//! Acts on operations that are named.

use std::{borrow::Cow, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        Listing, Output, Session, Why,
        client::{ClientError, segment},
        json,
        text::cell,
    },
    ids,
    list::Which,
    path, sure,
    words::phrase,
};

const BATCH: &str = "/operations:batch";
/// How results of a job begin that were refused.
const REFUSED: &str = "refused: ";
/// Exit codes of what was not done for all.
const SOME_REFUSED: u8 = 1;
const LEFT_IN_DOUBT: u8 = 5;
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
    /// Without asking back: act on all that match, which are only shown otherwise; say `failed` or `not_executed` of several;
    /// acknowledge what is told to have happened
    #[arg(long)]
    yes: bool,
    /// A key is no id: it leads to one.
    #[arg(long, hide = true)]
    key: Option<String>,
}

/// What is to be done, and where.
pub(super) struct Acts<'a> {
    pub(super) session: &'a Session,
    pub(super) action: &'static str,
    /// What a write is said to have become; `None` for one that is acknowledged as it stands.
    pub(super) state: Option<&'static str>,
    pub(super) why: Why,
}

impl Acts<'_> {
    /// One after the other. The first that is refused ends it.
    pub(super) async fn on(&self, chosen: Chosen) -> Result<String, ClientError> {
        if let Some(key) = &chosen.key {
            return Err(ids::by_key(key));
        }
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
        let mut ids = Vec::new();
        for id in chosen.ids {
            ids.push(ids::whole(&self.session.client, &id).await?);
        }
        if let Some(state) = self.state.filter(|_| !chosen.yes) {
            sure::of_effect(&self.session.client, &ids, state).await?;
        }
        let mut told = Vec::new();
        let mut documents = Vec::new();
        for id in ids {
            let (text, document) = self.one(&id, chosen.yes).await?;
            told.push(text);
            documents.push(document);
        }
        Ok(match (self.session.output, &documents[..]) {
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
        let client = &self.session.client;
        let mut body = self.why.body(client, &[("action", self.action)]).await?;
        body["filter"] = query.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        if let Some(state) = self.state {
            body["as"] = state.into();
        }
        body["dry_run"] = true.into();
        let preview = client.post(BATCH, None, &body).await?.document;
        let matched = preview["matched"].as_u64().unwrap_or(0);
        if matched == 0 {
            let (document, text) = (Cow::Owned(preview), "no operations".to_owned());
            return Ok(self.session.shown(Listing { document, names: Vec::new(), text }).await);
        }
        if !yes {
            sure::of_all(&preview, self.state)?;
        }
        body["dry_run"] = false.into();
        body["expect"] = matched.into();
        let job = cell(&client.post(BATCH, None, &body).await?.document["job"]);
        loop {
            let job = client.get(&format!("/jobs/{}", segment(&job))).await?.document;
            if job["state"] != "running" {
                return self.ended(&job, &sure::named(&preview));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `names` are those of the first that matched.
    fn ended(&self, job: &Value, names: &[String]) -> Result<String, ClientError> {
        let (words, code) = outcome(job);
        let told = if self.session.output == Output::Json { json(job) } else { words + &these(job, names) };
        if code == 0 { Ok(told) } else { Err(ClientError::Partly { told, code }) }
    }

    /// Reads the operation, acts on it as it was read, and tells the difference.
    async fn one(&self, id: &str, yes: bool) -> Result<(String, Value), ClientError> {
        let client = &self.session.client;
        let before = client.get(&path(id, "")).await?;
        let acknowledged;
        let body = match (self.action, self.state) {
            ("resolve", None) => {
                is_meant(&before.document, yes)?;
                acknowledged = cell(&before.document["state"]);
                self.why.body(client, &[("state", &acknowledged)]).await?
            }
            ("resolve", Some(state)) => {
                // Whoever says the same again takes the flag away.
                if before.document["state"] == state {
                    is_meant(&before.document, yes)?;
                }
                self.why.body(client, &[("state", state)]).await?
            }
            _ => self.why.body(client, &[]).await?,
        };
        let target = path(id, &format!(":{}", self.action));
        let after = client.post(&target, before.etag.as_deref(), &body).await?.document;
        let mut text = format!("{}: {} -> {}", ids::short(id), standing(&before.document), standing(&after));
        for member in ["result", "warning"] {
            if let Some(words) = after[member].as_str() {
                text.extend(["\n", member, ": ", words]);
            }
        }
        Ok((text, after))
    }
}

/// Which they were, as far as there is room.
fn these(job: &Value, names: &[String]) -> String {
    let more = job["matched"].as_u64().unwrap_or(0).saturating_sub(names.len() as u64);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("\nthese were {}{more}", names.join(", "))
}

/// What came of a job, in words, and the exit code for it.
fn outcome(job: &Value) -> (String, u8) {
    let count = |member: &str| job[member].as_u64().unwrap_or(0);
    let states = || job["by_state"].as_object().into_iter().flatten();
    let of_states = |is_settled: bool| {
        let counts = states().filter(move |(state, _)| is_settled != matches!(state.as_str(), "unknown" | "pending"));
        counts.map(|(state, count)| (phrase(state), count.as_u64().unwrap_or(0)))
    };
    let settled: Vec<String> = of_states(true).map(|(state, count)| format!("{count} {state}")).collect();
    let settled_count: u64 = of_states(true).map(|(_, count)| count).sum();
    let open: u64 = of_states(false).map(|(_, count)| count).sum();
    let unreached = count("matched").saturating_sub(count("done"));
    let results = job["by_result"].as_object().into_iter().flatten();
    let (refusals, heard): (Vec<_>, Vec<_>) =
        results.map(|(result, _)| result.as_str()).partition(|result| result.starts_with(REFUSED));
    let mut told = Vec::new();
    if settled_count > 0 {
        told.push(format!("{settled_count} settled: {}", settled.join(", ")));
    }
    if open > 0 {
        let heard: Vec<String> = heard.into_iter().filter(|word| !proves(word)).map(phrase).collect();
        let heard = if heard.is_empty() { String::new() } else { format!(" ({})", heard.join(", ")) };
        told.push(format!("{open} still in doubt{heard}"));
    }
    if count("refused") > 0 {
        let why: Vec<&str> = refusals.iter().map(|why| why[REFUSED.len()..].trim_end_matches('.')).collect();
        told.push(format!("{} refused ({}: see `mainstay ops show`)", count("refused"), why.join("; ")));
    }
    if unreached > 0 {
        told.push(format!("{unreached} not reached: the job was {}", cell(&job["state"])));
    }
    let code = match (open + unreached, count("refused")) {
        (0, 0) => 0,
        (0, _) => SOME_REFUSED,
        _ => LEFT_IN_DOUBT,
    };
    (told.join("; "), code)
}

/// Whether what was heard settles a write.
fn proves(heard: &str) -> bool {
    ["heard succeeded", "heard failed", "heard not_executed"].contains(&heard)
}

/// # Errors
/// A flag goes without `--yes` that keeps a write from happening twice, and nobody says that this is meant.
fn is_meant(document: &Value, yes: bool) -> Result<(), ClientError> {
    match sure::danger(document).filter(|_| !yes) {
        Some(danger) => sure::taken_back(&danger),
        None => Ok(()),
    }
}

fn standing(document: &Value) -> String {
    match document["attention"]["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", cell(&document["state"])),
        None => cell(&document["state"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_ends_with_what_the_writes_have_become_and_the_code_of_the_worst() {
        let job = json!({
            "state": "done", "matched": 32, "done": 32, "succeeded": 31, "refused": 1,
            "by_result": { "heard not_found": 11, "heard succeeded": 20, "refused: It is settled: failed.": 1 },
            "by_state": { "not_executed": 11, "succeeded": 20 },
        });
        let told =
            "31 settled: 11 not executed, 20 succeeded; 1 refused (It is settled: failed: see `mainstay ops show`)";
        assert_eq!(outcome(&job), (told.to_owned(), SOME_REFUSED));
        let job = json!({
            "state": "cancelled", "matched": 9, "done": 4, "succeeded": 4, "refused": 0,
            "by_result": { "heard no_evidence": 3, "heard succeeded": 1 }, "by_state": { "succeeded": 1, "unknown": 3 },
        });
        let told = "1 settled: 1 succeeded; 3 still in doubt (heard no evidence); 5 not reached: the job was cancelled";
        assert_eq!(outcome(&job), (told.to_owned(), LEFT_IN_DOUBT));
        let job = json!({
            "state": "done", "matched": 3, "done": 3, "succeeded": 3, "refused": 0, "by_result": { "failed": 3 },
            "by_state": { "failed": 3 },
        });
        assert_eq!(outcome(&job), ("3 settled: 3 failed".to_owned(), 0));
        let names = ["d4-aab7".to_owned(), "d5-bbbb".to_owned()];
        assert_eq!(these(&job, &names), "\nthese were d4-aab7, d5-bbbb and 1 more");
    }
}
