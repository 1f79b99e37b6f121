//! What the replicas of a service tell each other of the limits that they share, and what follows from it.
//!
//! ```text
//!  request ──► SharedLimit: asked += 1 ──► publish(): what was asked for per second ──► the store, with the sign of life
//!          ◄── SharedLimit: fraction  ◄── heard(): what all that live have published ◄── the store, with the watch
//! ```
//!
//! Nothing is asked on the path of a request. Without the store each replica goes on with an equal part, by how many there were
//! last: a limit then neither lets everything through nor nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{RateLimit, share::shares};

/// Limits of which a replica tells; those beyond have equal parts.
pub const LIMITS_TOLD: usize = 256;
/// How what is told is written: a version, then eight bytes for each limit and four for its requests per second.
const VERSION: u8 = 1;
const ENTRY: usize = 12;

/// Which limit, alike on all replicas.
pub type LimitId = [u8; 8];

/// A limit that is shared by the replicas of a service.
#[derive(Debug)]
pub struct SharedLimit {
    id: LimitId,
    /// Requests per second of the whole, as bits.
    rate: AtomicU64,
    asked: AtomicU64,
    /// Of the whole, that this replica may admit; as bits.
    fraction: AtomicU64,
}

impl SharedLimit {
    /// Counts a request, and says how much of the limit is this replica's.
    pub(super) fn ask(&self) -> f64 {
        self.asked.fetch_add(1, Relaxed);
        self.fraction()
    }

    /// How much of the limit is this replica's.
    pub fn fraction(&self) -> f64 {
        f64::from_bits(self.fraction.load(Relaxed))
    }

    fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    fn give(&self, fraction: f64) {
        self.fraction.store(fraction.to_bits(), Relaxed);
    }
}

/// The other replicas, as far as limits go.
#[derive(Debug)]
pub struct Peers {
    limits: Mutex<Vec<Weak<SharedLimit>>>,
    published: Mutex<Instant>,
    /// How many live, as far as is known.
    replicas: AtomicUsize,
}

impl Default for Peers {
    fn default() -> Self {
        Self { limits: Mutex::default(), published: Mutex::new(Instant::now()), replicas: AtomicUsize::new(1) }
    }
}

impl Peers {
    /// The limit of that name, which is of `params` from now on; the same one for as long as anybody has it.
    pub fn limit(&self, id: LimitId, params: &RateLimit) -> Arc<SharedLimit> {
        let rate = f64::from(params.requests.get()) / params.unit.as_secs_f64().max(1e-9);
        let mut limits = self.limits.lock();
        limits.retain(|limit| limit.strong_count() > 0);
        if let Some(kept) = limits.iter().filter_map(Weak::upgrade).find(|limit| limit.id == id) {
            kept.rate.store(rate.to_bits(), Relaxed);
            return kept;
        }
        let limit = Arc::new(SharedLimit {
            id,
            rate: AtomicU64::new(rate.to_bits()),
            asked: AtomicU64::new(0),
            fraction: AtomicU64::new(self.equal_part().to_bits()),
        });
        limits.push(Arc::downgrade(&limit));
        limit
    }

    /// What was asked for since this was last called, to be told to the others; `None` if no limit is shared.
    pub fn publish(&self, now: Instant) -> Option<Vec<u8>> {
        let since = std::mem::replace(&mut *self.published.lock(), now);
        let seconds = now.saturating_duration_since(since).max(Duration::from_millis(1)).as_secs_f64();
        let limits = self.told();
        if limits.is_empty() {
            return None;
        }
        let mut told = vec![VERSION];
        for limit in limits {
            let demand = limit.asked.swap(0, Relaxed) as f64 / seconds;
            told.extend_from_slice(&limit.id);
            told.extend_from_slice(&(demand as f32).to_be_bytes());
        }
        Some(told)
    }

    /// All that live have told this, this replica being number `own` of them.
    pub fn heard(&self, told: &[Option<&[u8]>], own: usize) {
        self.replicas.store(told.len().max(1), Relaxed);
        let told: Vec<_> = told.iter().map(|told| read(told.unwrap_or_default())).collect();
        let limits = self.told();
        for limit in &limits {
            let demands: Vec<_> = told.iter().map(|told| told.get(&limit.id).copied().unwrap_or(0.0)).collect();
            let fraction = shares(limit.rate(), &demands).get(own).copied();
            limit.give(fraction.unwrap_or_else(|| self.equal_part()));
        }
    }

    /// Nobody can be heard: everybody has an equal part.
    pub fn alone(&self) {
        for limit in self.limits.lock().iter().filter_map(Weak::upgrade) {
            limit.give(self.equal_part());
        }
    }

    fn equal_part(&self) -> f64 {
        1.0 / self.replicas.load(Relaxed).max(1) as f64
    }

    /// In the same order on each replica, so that all tell of the same ones where there are too many.
    fn told(&self) -> Vec<Arc<SharedLimit>> {
        let mut limits: Vec<_> = self.limits.lock().iter().filter_map(Weak::upgrade).collect();
        limits.sort_by_key(|limit| limit.id);
        limits.truncate(LIMITS_TOLD);
        limits
    }
}

/// What a replica has told; nothing, if it is of a version that is not known.
fn read(told: &[u8]) -> HashMap<LimitId, f64> {
    let Some((&VERSION, entries)) = told.split_first() else { return HashMap::new() };
    let entry = |entry: &[u8]| {
        let (id, demand) = entry.split_first_chunk::<8>()?;
        let demand = f64::from(f32::from_be_bytes(demand.try_into().ok()?));
        Some((*id, if demand.is_finite() { demand.max(0.0) } else { 0.0 }))
    };
    entries.chunks_exact(ENTRY).take(LIMITS_TOLD).filter_map(entry).collect()
}

#[cfg(test)]
mod tests;
