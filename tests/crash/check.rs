//! Every promise, checked after every restart.
//!
//! The proxy must be at rest: what it was told before, it was told before its restart.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use mainstay_tests::{
    client::{Reply, Request},
    proxy::Proxy,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    behaviour::MAX_RESPONSE,
    history::{Answered, History, Known},
    load::{ask, write},
    service::Service,
};

/// Keys that are looked at at once.
const AT_ONCE: usize = 24;

/// Looks at what is unknown, 100 ms apart: more than five dispatches take, and longer than the minute and the timeouts after
/// which a dispatch comes up again that was due and died before it was sent.
const SETTLING_LOOKS: usize = 900;

/// What is checked against what.
pub(crate) struct Check<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) history: &'a History,
    pub(crate) service: &'a Service,
    /// Whether the service's status endpoint tells the truth; else states are held against each other, not against it.
    pub(crate) truthful: bool,
    /// Whether the restart may have forgotten how a write ended, but not that it was sent.
    pub(crate) forgets: bool,
    /// Whether others share its ledger: its lease may lapse on a busy machine, so what it refuses for that is asked again.
    pub(crate) is_shared: bool,
}

/// What was looked at, over all checks.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) keys: AtomicU64,
    pub(crate) replays: AtomicU64,
    pub(crate) ids: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) resolved: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How long what is refused for want of a lease is asked again.
const LEASELESS: Duration = Duration::from_secs(10);

impl Check<'_> {
    async fn ask(&self, request: &Request) -> Option<Reply> {
        let until = Instant::now() + LEASELESS;
        loop {
            let reply = ask(self.proxy.addr, request).await;
            let is_refused = reply.as_ref().is_some_and(|reply| reply.slug() == Some("ledger-unavailable"));
            if !(self.is_shared && is_refused && Instant::now() < until) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every broken promise about these keys.
    pub(crate) async fn run(&self, keys: Vec<String>, tally: &Tally) -> Vec<String> {
        let mut wrong = self.history.wrong();
        let found: Vec<Vec<String>> = stream::iter(keys)
            .map(|key| async move { self.key(&key, tally).await })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        wrong.extend(found.into_iter().flatten());
        wrong.extend(self.nothing_pending().await);
        wrong.extend(self.history.wrong());
        wrong
    }

    /// Where writes are sent again until it is known: waits until nothing is unknown but what a person was called for.
    pub(crate) async fn settles(&self) -> Vec<String> {
        let mut open = Vec::new();
        for _ in 0..SETTLING_LOOKS {
            let listed = self.ask(&Request::get("/_mainstay/operations?state=unknown&limit=200")).await;
            let Some(listed) = listed else { return vec!["no answer to a listing".to_owned()] };
            let document = listed.json();
            let operations = document["operations"].as_array().cloned().unwrap_or_default();
            open = operations.into_iter().filter(|operation| operation["attention"].is_null()).collect();
            if open.is_empty() {
                return Vec::new();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        vec![format!("{} operations are neither settled nor a person's after all dispatches: {}", open.len(), open[0])]
    }

    async fn key(&self, key: &str, tally: &Tally) -> Vec<String> {
        bump(&tally.keys);
        let known = self.history.known(key);
        let mut wrong = self.record(key, &known, tally).await;
        wrong.extend(self.repeat(key, &known, tally).await);
        wrong.extend(self.ids(key, &known, tally).await);
        let effects = self.service.effects(key);
        if effects > 1 {
            wrong.push(format!("{key}: {effects} effects"));
        }
        wrong
    }

    /// The record as it was left: there, not pending, and true.
    async fn record(&self, key: &str, known: &Known, tally: &Tally) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(page) = self.ask(&Request::get(&format!("/_mainstay/operations?key={key}"))).await else {
            return vec![format!("{key}: no answer about its operation")];
        };
        if page.status != 200 {
            if !known.ids.is_empty() || page.status != 404 {
                wrong.push(format!("{key}: its operation is lost: {} {}", page.status, page.text()));
            }
            return wrong;
        }
        let document = page.json();
        self.history.read(key, &document, 0, self.forgets);
        wrong.extend(self.truth(key, known, &document));
        match document["state"].as_str() {
            Some("pending") => wrong.push(format!("{key}: still pending: {document}")),
            Some("unknown") => bump(&tally.unknown),
            Some(_) => bump(&tally.settled),
            None => {}
        }
        wrong
    }

    /// The record beside what the service did. An operation that was flagged for a conflict says itself that it is in doubt.
    fn truth(&self, key: &str, known: &Known, document: &Value) -> Vec<String> {
        if !self.truthful {
            return Vec::new();
        }
        let effects = self.service.effects(key);
        let mut wrong = Vec::new();
        match document["state"].as_str() {
            Some("succeeded") if effects == 0 => wrong.push(format!("{key}: succeeded without an effect: {document}")),
            Some("failed" | "not_executed") if effects > 0 && document["attention"].is_null() => {
                wrong.push(format!("{key}: not done, it says, but it was: {document}"));
            }
            _ => {}
        }
        if known.denied.is_some() && known.sent.len() == 1 && effects > 0 {
            wrong.push(format!("{key}: the only answer said that nothing had happened, but it had"));
        }
        wrong
    }

    /// The same request again: a success is the same success, and nothing is done twice.
    async fn repeat(&self, key: &str, known: &Known, tally: &Tally) -> Vec<String> {
        self.history.sends(key, 0);
        let Some(reply) = self.ask(&write(key)).await else {
            return vec![format!("{key}: no answer to a repeat")];
        };
        let Some((_, first)) = &known.success else {
            self.history.saw(key, &reply, 0);
            return Vec::new();
        };
        bump(&tally.replays);
        let forgotten = self.forgets && reply.slug() == Some("outcome-unknown");
        // A replica that stood still hands on the service's own answer after another has asked what became of the write: both say
        // that it was done, and the record keeps what came first.
        let is_resolved = self.is_shared && reply.header("mainstay-resolved").is_some();
        if is_resolved {
            bump(&tally.resolved);
            self.history.saw(key, &reply, 0);
        }
        if forgotten || is_resolved || is_replay(first, &reply) {
            Vec::new()
        } else {
            vec![not_replayed(key, first, &reply)]
        }
    }

    async fn ids(&self, key: &str, known: &Known, tally: &Tally) -> Vec<String> {
        let mut wrong = Vec::new();
        for (_, id) in &known.ids {
            bump(&tally.ids);
            match self.ask(&Request::get(&format!("/_mainstay/operations/{id}"))).await {
                Some(reply) if reply.status == 200 && reply.json()["id"] == **id => {
                    self.history.read(key, &reply.json(), 0, self.forgets);
                }
                Some(reply) => wrong.push(format!("{key}: {id} was named and is {} {}", reply.status, reply.text())),
                None => wrong.push(format!("{key}: no answer about {id}")),
            }
        }
        wrong
    }

    async fn nothing_pending(&self) -> Vec<String> {
        let Some(list) = self.ask(&Request::get("/_mainstay/operations?state=pending")).await else {
            return vec!["no answer to a listing".to_owned()];
        };
        match list.json()["operations"].as_array() {
            Some(pending) if pending.is_empty() => Vec::new(),
            _ => vec![format!("pending at rest: {}", list.text())],
        }
    }
}

fn is_replay(first: &Answered, reply: &Reply) -> bool {
    if first.body.len() > MAX_RESPONSE {
        return reply.slug() == Some("response-not-retained") && reply.text().contains(&first.status.to_string());
    }
    Answered::of(reply) == *first
        && reply.header("idempotent-replayed") == Some("true")
        && reply.header("set-cookie").is_none()
}

fn not_replayed(key: &str, first: &Answered, reply: &Reply) -> String {
    let shown: String = reply.text().chars().take(300).collect();
    format!("{key}: not replayed: {} with {} bytes, now {} {shown:?}", first.status, first.body.len(), reply.status)
}
