//! One fill at a time per key: whoever misses while another fills waits for it.
//!
//! Waiting for an answer that nobody may store is in vain, and where no answer may, requests would queue behind each other for
//! nothing. So a key whose last fill could not be stored is remembered for a while, and whoever misses it asks for himself;
//! an answer that can be stored after all ends that.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache as Map;
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long a key is remembered that nobody asks for. As long as it is asked for, and no answer can be stored, it stays.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Keys that are remembered: a megabyte or so. Beyond it the least used is forgotten, and its next readers wait once.
const MAX_REMEMBERED: u64 = 8192;

/// Fills under way, by key.
#[derive(Debug)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Arc<str>, watch::Receiver<Option<Flown>>>>,
    /// Hashes of keys whose answers could not be stored. Two keys that share one pass together: nobody waits for the other.
    passing: Map<u64, ()>,
    hasher: RandomState,
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            passing: Map::builder().max_capacity(MAX_REMEMBERED).time_to_idle(REMEMBERED).build(),
            hasher: RandomState::new(),
        }
    }
}

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flown {
    /// The answer is stored.
    Stored,
    /// The answer may not be stored: everybody asks for himself.
    NotStorable,
    /// The service failed: whoever may be given a stale answer need not ask it again.
    Failed,
    /// Nobody knows: the fill broke off.
    Broken,
}

/// A miss, and what to do about it.
#[derive(Debug)]
pub enum Flight {
    /// Ask the service, and tell the others.
    Lead(Lead),
    /// Somebody asks already; this tells how it ended.
    Follow(watch::Receiver<Option<Flown>>),
    /// The last answer could not be stored: ask the service, nobody waits.
    Alone,
}

/// The duty to fill. Dropped before [`landed`](Self::landed) it is a fill that broke off.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: Arc<str>,
    tell: watch::Sender<Option<Flown>>,
    done: bool,
}

impl Flights {
    pub(super) fn join(self: &Arc<Self>, key: &Arc<str>) -> Flight {
        if self.passing.get(&self.hasher.hash_one(key)).is_some() {
            return Flight::Alone;
        }
        self.lead_or_follow(key)
    }

    /// As [`join`](Self::join), whatever is remembered of the key.
    pub(super) fn lead_or_follow(self: &Arc<Self>, key: &Arc<str>) -> Flight {
        let mut flights = self.under_way.lock();
        if let Some(flight) = flights.get(key) {
            return Flight::Follow(flight.clone());
        }
        let (tell, told) = watch::channel(None);
        flights.insert(Arc::clone(key), told);
        Flight::Lead(Lead { flights: Arc::clone(self), key: Arc::clone(key), tell, done: false })
    }
}

impl Flights {
    /// An answer could be stored under this key.
    pub(super) fn stored(&self, key: &Arc<str>) {
        self.passing.invalidate(&self.hasher.hash_one(key));
    }
}

impl Lead {
    /// The fill ended so.
    pub fn landed(mut self, how: Flown) {
        self.end(how);
    }

    fn end(&mut self, how: Flown) {
        if !std::mem::replace(&mut self.done, true) {
            if how == Flown::NotStorable {
                self.flights.passing.insert(self.flights.hasher.hash_one(&self.key), ());
            }
            // First gone, then told: who hears of it and misses again may lead.
            self.flights.under_way.lock().remove(&self.key);
            self.tell.send_replace(Some(how));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Flown::Broken);
    }
}
