//! Where answers are kept: bounded by bytes, found by request, forgotten by path.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName};
use moka::sync::Cache as Map;
use parking_lot::RwLock;

use super::{Cache, Flight, Lead, Stored, flights::Flights, vary};
use crate::path::PathRule;

/// Marks by hash of path, 256 KiB of them. Two paths that share one are forgotten together: needless now and then, never wrong.
/// So many that a hundred writes between two reads of an answer cost it one time in three hundred.
const MARKS: usize = 32 * 1024;
/// Patterns that writes may invalidate; they come from configuration. One more forgets everything.
const MAX_PATTERNS: usize = 256;

/// Which answer: of which service, to whom, for which target.
#[derive(Clone, Debug)]
pub struct Key {
    text: Arc<str>,
    /// Service and path, as a write invalidates them.
    mark: usize,
    service: Arc<str>,
    path: Box<str>,
}

#[derive(Clone)]
enum Slot {
    /// The answers to this target differ by these request headers.
    Vary(Arc<[HeaderName]>),
    Answer(Arc<Stored>),
}

/// A cache.
pub struct Store {
    params: Cache,
    map: Map<Arc<str>, Slot>,
    flights: Arc<Flights>,
    hasher: RandomState,
    /// Counts invalidations.
    clock: AtomicU64,
    marks: Box<[AtomicU64]>,
    patterns: RwLock<Vec<(Arc<str>, PathRule, u64)>>,
    everything: AtomicU64,
}

impl Store {
    /// An empty cache.
    pub fn new(params: Cache) -> Self {
        let weigh = |key: &Arc<str>, slot: &Slot| {
            let weight = match slot {
                Slot::Vary(names) => names.len() * 64,
                Slot::Answer(stored) => stored.weight(),
            };
            u32::try_from(weight + key.len() + 128).unwrap_or(u32::MAX)
        };
        Self {
            map: Map::builder().max_capacity(params.max_bytes).weigher(weigh).build(),
            params,
            flights: Arc::default(),
            hasher: RandomState::new(),
            clock: AtomicU64::new(0),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            patterns: RwLock::default(),
            everything: AtomicU64::new(0),
        }
    }

    /// The parameters.
    pub fn params(&self) -> &Cache {
        &self.params
    }

    /// The key of a request. `path` is normalised and has no query; `target` is what was asked for.
    pub fn key(&self, service: &Arc<str>, principal: &[u8], host: &str, target: &str, path: &str) -> Key {
        // Escaped, so that no two of them look alike.
        let principal = principal.escape_ascii();
        let text = format!("{service}\0{principal}\0{}\0{target}", host.to_ascii_lowercase());
        Key { text: text.into(), mark: self.mark(service, path), service: service.clone(), path: path.into() }
    }

    /// The newest invalidation: to be asked before the service is.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// The answer that is stored for the request, fresh or not.
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Option<Arc<Stored>> {
        let stored = match self.map.get(&key.text)? {
            Slot::Answer(stored) => stored,
            Slot::Vary(names) => match self.map.get(&variant(key, &names, request))? {
                Slot::Answer(stored) => stored,
                Slot::Vary(_) => return None,
            },
        };
        (stored.asked_at >= self.invalidated_at(key)).then_some(stored)
    }

    /// Stores an answer, unless a write has come between.
    pub fn put(&self, key: &Key, request: &HeaderMap, stored: Stored) {
        if stored.asked_at < self.invalidated_at(key) {
            return;
        }
        // What varies on everything is never stored.
        let Some(names) = vary::names(&stored.headers) else { return };
        let names: Arc<[HeaderName]> = names.into();
        let answer = Slot::Answer(Arc::new(stored));
        self.flights.stored(&key.text);
        if names.is_empty() {
            self.map.insert(key.text.clone(), answer);
        } else {
            let variant = variant(key, &names, request);
            self.flights.stored(&variant);
            self.map.insert(variant, answer);
            self.map.insert(key.text.clone(), Slot::Vary(names));
        }
    }

    /// Forgets the answer that is stored for the request.
    pub fn remove(&self, key: &Key, request: &HeaderMap) {
        match self.map.get(&key.text) {
            Some(Slot::Vary(names)) => self.map.invalidate(&variant(key, &names, request)),
            Some(Slot::Answer(_)) => self.map.invalidate(&key.text),
            None => {}
        }
    }

    /// What to do about a miss. Requests that the answer may vary on are told apart by `request` where that is known.
    pub fn join(&self, key: &Key, request: &HeaderMap) -> Flight {
        self.flights.join(&self.variant_of(key, request))
    }

    /// The duty to refresh what is stored, unless somebody has it already.
    pub fn refresh(&self, key: &Key, request: &HeaderMap) -> Option<Lead> {
        match self.flights.lead_or_follow(&self.variant_of(key, request)) {
            Flight::Lead(lead) => Some(lead),
            Flight::Follow(_) | Flight::Alone => None,
        }
    }

    fn variant_of(&self, key: &Key, request: &HeaderMap) -> Arc<str> {
        match self.map.get(&key.text) {
            Some(Slot::Vary(names)) => variant(key, &names, request),
            _ => key.text.clone(),
        }
    }

    /// Forgets what is stored for a path of a service, whatever its query, and what is on its way.
    pub fn invalidate_path(&self, service: &str, path: &str) {
        let at = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.marks[self.mark(service, path)].fetch_max(at, Ordering::SeqCst);
    }

    /// Forgets what is stored for the paths of a service that match.
    pub fn invalidate_pattern(&self, service: &Arc<str>, pattern: &PathRule) {
        let at = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        let mut patterns = self.patterns.write();
        if let Some(known) = patterns.iter_mut().find(|(of, known, _)| of == service && known == pattern) {
            known.2 = known.2.max(at);
        } else if patterns.len() < MAX_PATTERNS {
            patterns.push((service.clone(), pattern.clone(), at));
        } else {
            self.everything.fetch_max(at, Ordering::SeqCst);
        }
    }

    /// Bytes that are kept, about.
    pub fn bytes(&self) -> u64 {
        self.map.run_pending_tasks();
        self.map.weighted_size()
    }

    fn mark(&self, service: &str, path: &str) -> usize {
        (self.hasher.hash_one((service, path)) % MARKS as u64) as usize
    }

    fn invalidated_at(&self, key: &Key) -> u64 {
        let marked = self.marks[key.mark].load(Ordering::SeqCst).max(self.everything.load(Ordering::SeqCst));
        let patterns = self.patterns.read();
        let matching = patterns.iter().filter(|(of, pattern, _)| *of == key.service && pattern.matches(&key.path));
        matching.map(|(_, _, at)| *at).fold(marked, u64::max)
    }
}

/// The key of the answer to one variant of the request.
fn variant(key: &Key, names: &[HeaderName], request: &HeaderMap) -> Arc<str> {
    let mut text = String::from(&*key.text);
    vary::tell_apart(&mut text, names, request);
    text.into()
}

impl Key {
    /// The key of a request in which these headers count as much as its target, where it has them.
    #[must_use]
    pub fn told_apart_by(self, names: &[HeaderName], request: &HeaderMap) -> Self {
        let given: Vec<_> = names.iter().filter(|name| request.contains_key(*name)).cloned().collect();
        if given.is_empty() {
            return self;
        }
        // Doubled, so that no variant of the request without them has the same text.
        let mut text = format!("{}\0", self.text);
        vary::tell_apart(&mut text, &given, request);
        Self { text: text.into(), ..self }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("params", &self.params).finish_non_exhaustive()
    }
}
