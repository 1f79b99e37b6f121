//! One fill at a time per key: whoever misses while another fills waits for it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

/// Fills under way, by key.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Arc<str>, watch::Receiver<Option<Flown>>>>);

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
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(key) {
            return Flight::Follow(flight.clone());
        }
        let (tell, told) = watch::channel(None);
        flights.insert(Arc::clone(key), told);
        Flight::Lead(Lead { flights: Arc::clone(self), key: Arc::clone(key), tell, done: false })
    }
}

impl Lead {
    /// The fill ended so.
    pub fn landed(mut self, how: Flown) {
        self.end(how);
    }

    fn end(&mut self, how: Flown) {
        if !std::mem::replace(&mut self.done, true) {
            // First gone, then told: who hears of it and misses again may lead.
            self.flights.0.lock().remove(&self.key);
            self.tell.send_replace(Some(how));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.end(Flown::Broken);
    }
}
