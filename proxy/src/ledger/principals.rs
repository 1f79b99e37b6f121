//! How listeners know their callers, remembered beside the operations.
//!
//! A principal is part of each key. Where a listener begins to make principals in another way, a repeat of an earlier write has
//! another key, and would execute again. So the ledger remembers the ways, and a configuration that leaves one without a word
//! is not taken while keys live that were begun by it. `was` is that word: such keys are looked up under both.
//!
//! Processes that share a ledger answer each other's repeats: two of them work side by side only if each looks where the other
//! begins.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mainstay_policies::{
    idempotency::principal_hash,
    operation::{
        InstanceId, UnixMillis,
        ledger::{Filter, Ledger, LedgerError},
    },
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::config::model::{Config, Listener, Principal, Store};

/// Under which name it is kept.
const NOTE: &str = "principals";
/// Operations that are looked at in one go.
const PAGE: usize = 512;
/// Keys that are counted at most: a person needs to know no more than that they are many.
const MANY: usize = 100_000;
/// Requests may go on under the configuration that they came under for so long after a change of it.
const UNDER_WAY_MS: u64 = 60_000;
/// Others that change what is remembered at the same time.
const MAX_ROUNDS: usize = 64;
/// Between two looks whether others have ended, or know better by now.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PrincipalsError {
    /// Keys live that would no longer be found.
    #[error("{}; say `principal: {cure}`", lost(count, listener, was))]
    Kept {
        /// The listener.
        listener: String,
        /// How many, in words.
        count: String,
        /// How they were made.
        was: String,
        /// What to write.
        cure: String,
    },
    /// Another process that lives would not find the keys of this one, or the other way round.
    #[error(
        "another process that shares the ledger makes principals of listener `{listener}` as `{theirs}`, this one would as \
         `{ours}`, and they do not look up each other's keys: repeats would execute again; give all of them \
         `principal: {}` first, and when none is left without it, `principal: {}`",
        choice(theirs, &[ours]),
        choice(ours, &[theirs])
    )]
    Others {
        /// The listener.
        listener: String,
        /// How the other one makes them.
        theirs: String,
        /// How this one would.
        ours: String,
    },
    /// The ledger cannot say, or cannot remember.
    #[error("how callers were known cannot be read from the ledger, or not be kept there: {0}")]
    Ledger(#[from] LedgerError),
    /// Too many processes change it at once.
    #[error("other processes keep changing how callers are known: try again")]
    Contended,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    /// By listener: each way in which keys may have been begun.
    listeners: BTreeMap<String, Vec<Way>>,
    /// By process: what it does at each listener.
    processes: BTreeMap<String, BTreeMap<String, Practice>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Way {
    made: String,
    /// When it was first remembered; nothing for one that was handed down.
    #[serde(default)]
    since: UnixMillis,
    /// When the last process left it; absent while one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<UnixMillis>,
}

/// How a process knows the callers of a listener, and where else it looks for their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Practice {
    makes: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
}

impl Practice {
    fn of(listener: &Listener) -> Self {
        Self { makes: listener.principal.to_string(), also: listener.former.iter().map(Principal::to_string).collect() }
    }

    fn finds(&self, made: &str) -> bool {
        self.makes == made || self.also.iter().any(|also| also == made)
    }
}

/// Whether two configurations know callers alike, and look for the same keys.
pub(crate) fn is_alike(before: &Config, after: &Config) -> bool {
    let practices = |config: &Config| -> BTreeMap<_, _> {
        let each = config.listeners.iter();
        each.map(|listener| (listener.name.clone(), Practice::of(listener))).collect()
    };
    practices(before) == practices(after)
}

/// Remembers how `config` knows its callers, before anything is begun by it.
///
/// # Errors
/// It must not be taken: keys that live would be found no more, here or by another process.
pub(crate) async fn take(ledger: &Arc<dyn Ledger>, config: &Config) -> Result<Taken, PrincipalsError> {
    // One that died a moment ago counts as alive until its lease is over.
    let patience = match &config.ledger.store {
        Store::Postgres(settings) => settings.ttl + settings.heartbeat * 3,
        Store::Disk { .. } | Store::Memory => Duration::ZERO,
    };
    take_within(ledger, config, patience).await
}

/// The same for a process that goes on under a new name, as one does that a shared ledger took for dead.
///
/// # Errors
/// As [`take`]; nobody is waited for.
pub(crate) async fn register_anew(ledger: &Arc<dyn Ledger>, config: &Config) -> Result<(), PrincipalsError> {
    take_within(ledger, config, Duration::ZERO).await.map(drop)
}

async fn take_within(ledger: &Arc<dyn Ledger>, config: &Config, patience: Duration) -> Result<Taken, PrincipalsError> {
    let deadline = Instant::now() + patience;
    for _ in 0..MAX_ROUNDS {
        match propose(ledger, config).await {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) => {}
            Err(PrincipalsError::Others { .. }) if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
            Err(error) => return Err(error),
        }
    }
    Err(PrincipalsError::Contended)
}

/// What was remembered before, and is now: for a configuration that is not served after all.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    before: Vec<u8>,
    now: Option<Vec<u8>>,
}

impl Taken {
    /// Remembers what was remembered before, unless that has changed again.
    pub(crate) async fn undo(self, ledger: &Arc<dyn Ledger>) {
        if self.now.is_some()
            && let Err(error) = ledger.keep_note(NOTE, self.now, self.before).await
        {
            tracing::warn!(%error, "the ledger takes a configuration for served that is not");
        }
    }
}

/// One try; `None` if another process was faster.
async fn propose(ledger: &Arc<dyn Ledger>, config: &Config) -> Result<Option<Taken>, PrincipalsError> {
    let seen = ledger.note(NOTE).await?;
    let known: Remembered = match seen.as_deref() {
        Some(seen) => serde_json::from_slice(seen).map_err(|_| LedgerError::Unreadable)?,
        None => Remembered::default(),
    };
    let (me, now) = (name(ledger.instance()), ledger.clock().now());
    let live: BTreeSet<_> = ledger.processes().await?.into_iter().map(name).collect();
    let mut next = known.clone();
    next.processes.retain(|process, _| *process != me && live.contains(process));
    for listener in &config.listeners {
        agrees(&next, listener)?;
        let practice = Practice::of(listener);
        let inherited = || inherited(&known, &next.processes, config);
        let before = next.listeners.get(&*listener.name).cloned();
        let ways = next.listeners.entry(listener.name.to_string()).insert_entry(before.unwrap_or_else(inherited));
        let ways = ways.into_mut();
        for way in ways.iter().filter(|way| !practice.finds(&way.made)) {
            if let Some(count) = count(ledger, way, &practice, now).await? {
                return Err(kept(listener, way, &count));
            }
        }
        ways.retain(|way| practice.finds(&way.made));
        match ways.iter_mut().find(|way| way.made == practice.makes) {
            Some(way) => way.until = None,
            None => ways.push(Way { made: practice.makes.clone(), since: now, until: None }),
        }
    }
    let practices = config.listeners.iter().map(|listener| (listener.name.to_string(), Practice::of(listener)));
    next.processes.insert(me, practices.collect());
    leave(&mut next, now);
    if next == known {
        return Ok(Some(Taken::default()));
    }
    let value = serde_json::to_vec(&next).expect("names and times are JSON");
    let is_kept = ledger.keep_note(NOTE, seen.clone(), value.clone()).await?;
    Ok(is_kept.then(|| Taken { before: seen.unwrap_or_else(|| b"{}".to_vec()), now: Some(value) }))
}

/// The ways of listeners that go with this change: a new one may be one of them under another name.
fn inherited(known: &Remembered, others: &BTreeMap<String, BTreeMap<String, Practice>>, next: &Config) -> Vec<Way> {
    let goes = |name: &str| {
        next.listeners.iter().all(|listener| *listener.name != *name)
            && others.values().all(|listeners| !listeners.contains_key(name))
    };
    let gone = known.listeners.iter().filter(|(name, _)| goes(name));
    gone.flat_map(|(_, ways)| ways).filter(|way| way.until.is_none()).cloned().collect()
}

/// Whether the processes that live and this one would find each other's keys.
fn agrees(known: &Remembered, listener: &Listener) -> Result<(), PrincipalsError> {
    let ours = Practice::of(listener);
    let mut practices = known.processes.values().filter_map(|listeners| listeners.get(&*listener.name));
    match practices.find(|theirs| !theirs.finds(&ours.makes) || !ours.finds(&theirs.makes)) {
        None => Ok(()),
        Some(theirs) => Err(PrincipalsError::Others {
            listener: listener.name.to_string(),
            theirs: theirs.makes.clone(),
            ours: ours.makes,
        }),
    }
}

/// What no process does any more ends now.
fn leave(known: &mut Remembered, now: UnixMillis) {
    for (listener, ways) in &mut known.listeners {
        for way in ways.iter_mut().filter(|way| way.until.is_none()) {
            let mut practices = known.processes.values().filter_map(|listeners| listeners.get(listener));
            if !practices.any(|practice| practice.makes == way.made) {
                way.until = Some(now);
            }
        }
    }
}

/// How many keys live that were begun in a way which is left, in words; `None`: none does. The ledger does not know which
/// listener a key came by, so it is an upper bound where several listeners know their callers alike.
async fn count(
    ledger: &Arc<dyn Ledger>,
    way: &Way,
    next: &Practice,
    now: UnixMillis,
) -> Result<Option<String>, LedgerError> {
    let anonymous = Principal::Anonymous.to_string();
    let nobody = principal_hash(None);
    let filter = Filter {
        principal: (way.made == anonymous).then_some(nobody),
        created_before: Some(way.until.unwrap_or(now).saturating_add(UNDER_WAY_MS)),
        ..Filter::default()
    };
    let steady = ledger.clock().steady(now);
    let (mut count, mut after) = (0, None);
    while count < MANY {
        let page = ledger.list(filter.clone(), after, PAGE).await?;
        // Where nobody is named any more, a key of nobody is found as it was.
        let not_found = page.iter().filter(|operation| {
            operation.created_at >= way.since && (next.makes != anonymous || operation.principal != nobody)
        });
        count += not_found.filter(|operation| operation.holds_key(now, steady)).count();
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok((count > 0).then(|| grouped(count))),
        }
    }
    Ok(Some(format!("more than {}", grouped(MANY))))
}

fn kept(listener: &Listener, way: &Way, count: &str) -> PrincipalsError {
    let mut was: Vec<_> = listener.former.iter().map(Principal::to_string).collect();
    was.push(way.made.clone());
    let was: Vec<_> = was.iter().map(String::as_str).collect();
    PrincipalsError::Kept {
        listener: listener.name.to_string(),
        count: count.to_owned(),
        was: way.made.clone(),
        cure: choice(&listener.principal.to_string(), &was),
    }
}

/// `{ header: x-a, was: anonymous }`, as it is written in a configuration.
fn choice(makes: &str, was: &[&str]) -> String {
    let was = match was {
        [one] => written(one),
        several => format!("[{}]", several.iter().map(|way| written(way)).collect::<Vec<_>>().join(", ")),
    };
    match makes.split_once(' ') {
        Some(("xfcc", value)) => format!("{{ header: {value}, format: xfcc, was: {was} }}"),
        Some((kind, value)) => format!("{{ {kind}: {value}, was: {was} }}"),
        None => format!("{{ was: {was} }}"),
    }
}

/// `header x-a` as it is written in a configuration.
fn written(way: &str) -> String {
    match way.split_once(' ') {
        Some(("xfcc", value)) => format!("{{ header: {value}, format: xfcc }}"),
        Some((kind, value)) => format!("{{ {kind}: {value} }}"),
        None => way.to_owned(),
    }
}

/// What would become of the keys that a listener has kept.
fn lost(count: &str, listener: &str, was: &str) -> String {
    if count == "1" {
        return format!("1 key of listener `{listener}` was kept under `{was}`: a repeat of it would execute again");
    }
    format!("{count} keys of listener `{listener}` were kept under `{was}`: repeats of them would execute again")
}

/// A number in groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

fn name(instance: InstanceId) -> String {
    format!("{:032x}", instance.0)
}

#[cfg(test)]
mod tests;
