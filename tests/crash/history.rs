//! What clients saw, per key: enough to say later what they must see again.

use std::collections::{BTreeMap, HashMap};

use mainstay_tests::client::Reply;
use parking_lot::Mutex;
use serde_json::Value;

/// The stored headers that the service sends. `Set-Cookie`, which it sends too, must not come back.
const STORED_HEADERS: [&str; 3] = ["content-type", "location", "etag"];

/// A complete answer, as far as it must be the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    headers: Vec<Option<String>>,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(crate) fn of(reply: &Reply) -> Self {
        let headers = STORED_HEADERS.iter().map(|name| reply.header(name).map(str::to_owned)).collect();
        Self { status: reply.status, headers, body: reply.body.data.clone() }
    }
}

/// A fact, and how far the disk's log was when it was known.
type At<T> = (u64, T);

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Requests that were sent, answered or not.
    pub(crate) sent: Vec<u64>,
    /// The first complete 2xx of the service's to the write itself.
    pub(crate) success: Option<At<Answered>>,
    /// What its status endpoint said instead, where its own answer was lost.
    resolved: Option<Answered>,
    /// Operations that were named for it.
    pub(crate) ids: Vec<At<String>>,
    /// Terminal states that were read, by operation.
    pub(crate) terminal: HashMap<String, At<String>>,
    /// An answer said that nothing had happened.
    pub(crate) denied: Option<u64>,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct History {
    keys: Mutex<BTreeMap<String, Known>>,
    owners: Mutex<HashMap<String, String>>,
    /// What was wrong at once.
    wrong: Mutex<Vec<String>>,
}

impl History {
    /// A client is about to send.
    pub(crate) fn sends(&self, key: &str, at: u64) {
        self.keys.lock().entry(key.to_owned()).or_default().sent.push(at);
    }

    /// A client got a whole answer.
    pub(crate) fn saw(&self, key: &str, reply: &Reply, at: u64) {
        let mut keys = self.keys.lock();
        let known = keys.entry(key.to_owned()).or_default();
        if let Some(id) = reply.header("operation-location").and_then(|path| path.rsplit('/').next()) {
            self.named(key, id);
            if known.ids.iter().all(|(_, known)| known != id) {
                known.ids.push((at, id.to_owned()));
            }
        }
        if reply.slug().is_some() && reply.status >= 500 && reply.json()["effect"] == "none" {
            known.denied.get_or_insert(at);
        }
        if !(200..300).contains(&reply.status) || !reply.body.complete {
            return;
        }
        let answered = Answered::of(reply);
        if reply.header("mainstay-resolved").is_some() {
            let first = known.resolved.get_or_insert_with(|| answered.clone());
            if *first != answered {
                self.wrong.lock().push(format!("{key}: resolved twice: {first:?}, later {answered:?}"));
            }
            return;
        }
        match &known.success {
            Some((_, first)) if *first != answered => {
                self.wrong.lock().push(format!("{key}: two answers: {first:?}, later {answered:?}"));
            }
            Some(_) => {}
            None => known.success = Some((at, answered)),
        }
    }

    /// An operation's document was read: its state, if terminal, is for ever, unless a restart `forgets`.
    pub(crate) fn read(&self, key: &str, document: &Value, at: u64, forgets: bool) {
        let (Some(id), Some(state)) = (document["id"].as_str(), document["state"].as_str()) else {
            self.wrong.lock().push(format!("{key}: a document without id or state: {document}"));
            return;
        };
        self.named(key, id);
        if matches!(state, "pending" | "unknown") {
            if !forgets && let Some((_, before)) = self.keys.lock().get(key).and_then(|known| known.terminal.get(id)) {
                self.wrong.lock().push(format!("{key}: {id} was {before} and is {state} now"));
            }
            return;
        }
        let mut keys = self.keys.lock();
        let known = keys.entry(key.to_owned()).or_default();
        let (_, before) = known.terminal.entry(id.to_owned()).or_insert_with(|| (at, state.to_owned()));
        if before != state {
            self.wrong.lock().push(format!("{key}: {id} was {before} and is {state} now"));
        }
    }

    /// An id names one operation of one key; its first half is a number that is never given twice.
    fn named(&self, key: &str, id: &str) {
        let mut owners = self.owners.lock();
        let number = id.get(..16).unwrap_or(id);
        let owner = owners.entry(number.to_owned()).or_insert_with(|| format!("{key} {id}"));
        if *owner != format!("{key} {id}") {
            self.wrong.lock().push(format!("{key}: the id {id} was used before: {owner}"));
        }
    }

    /// Takes what was wrong at once.
    pub(crate) fn wrong(&self) -> Vec<String> {
        std::mem::take(&mut self.wrong.lock())
    }

    pub(crate) fn known(&self, key: &str) -> Known {
        self.keys.lock().get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys.lock().keys().cloned().collect()
    }

    /// Whole answers of 2xx, over all keys.
    pub(crate) fn successes(&self) -> usize {
        self.keys.lock().values().filter(|known| known.success.is_some()).count()
    }

    /// Positions at which something was promised to a client.
    pub(crate) fn promises(&self) -> Vec<u64> {
        let keys = self.keys.lock();
        let positions = keys.values().flat_map(|known| {
            let ids = known.ids.iter().map(|(at, _)| *at);
            ids.chain(known.success.iter().map(|(at, _)| *at))
        });
        positions.collect()
    }

    /// The same, from before another recording began.
    pub(crate) fn long_ago(&self) -> Self {
        let mut past = self.as_of(u64::MAX);
        for known in past.keys.get_mut().values_mut() {
            known.sent.fill(0);
            known.ids.iter_mut().for_each(|(at, _)| *at = 0);
            known.terminal.values_mut().for_each(|(at, _)| *at = 0);
            known.success.iter_mut().for_each(|(at, _)| *at = 0);
            known.denied = known.denied.map(|_| 0);
        }
        past
    }

    /// What was known at that position; keys of which nothing was are gone.
    pub(crate) fn as_of(&self, cut: u64) -> Self {
        let mut keys = self.keys.lock().clone();
        let mut owners = HashMap::new();
        for (key, known) in &mut keys {
            known.sent.retain(|at| *at <= cut);
            known.success.take_if(|(at, _)| *at > cut);
            known.ids.retain(|(at, _)| *at <= cut);
            known.terminal.retain(|_, (at, _)| *at <= cut);
            known.denied.take_if(|at| *at > cut);
            owners.extend(known.ids.iter().map(|(_, id)| (id[..16.min(id.len())].to_owned(), format!("{key} {id}"))));
        }
        keys.retain(|_, known| !known.sent.is_empty());
        Self { keys: Mutex::new(keys), owners: Mutex::new(owners), wrong: Mutex::default() }
    }
}
