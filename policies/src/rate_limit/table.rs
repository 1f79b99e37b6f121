//! The states of all keys: sharded, bounded, and forgetful of who is idle.

use std::{
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::atomic::{AtomicUsize, Ordering},
};

use indexmap::{IndexMap, map::Entry};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    KeyUsage, RateLimit, TopKeys, Usage,
    state::State,
    ticks::{Booking, Verdict},
};

/// Enough that the workers of a machine rarely meet.
const SHARDS: usize = 16;
/// States looked at for an idle one when a new key finds the table full.
const WORK_PER_NEW_KEY: usize = 64;
/// Keys of a shard that somebody who asks for the greediest looks at: some tens of microseconds under its lock.
const LOOKS: usize = 512;

/// 128 secret-keyed bits of a key: no memory for long keys, and nobody can aim for a collision.
pub(super) type KeyHash = [u64; 2];

#[derive(Debug)]
pub(super) struct Table {
    pub(super) epoch: Instant,
    hashers: [RandomState; 2],
    /// The limit of the whole route, or of requests without a key.
    keyless: Mutex<State>,
    /// The limit of new keys while the table is full of live ones.
    overflow: Mutex<State>,
    shards: Box<[Mutex<Shard>]>,
    len: AtomicUsize,
    next_shard: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    states: IndexMap<KeyHash, State, BuildHasherDefault<FirstWord>>,
    cursor: usize,
}

/// Where a state lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Keyless,
    Overflow,
    Key(KeyHash),
}

/// The key is a hash already.
#[derive(Default)]
struct FirstWord(u64);

impl Table {
    pub(super) fn new(params: &RateLimit) -> Self {
        Self {
            epoch: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
            keyless: Mutex::new(State::new(params)),
            overflow: Mutex::new(State::new(params)),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            len: AtomicUsize::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    pub(super) fn admit(&self, params: &RateLimit, key: &[u8], now: u64) -> (Place, Verdict) {
        if key.is_empty() {
            return (Place::Keyless, self.keyless.lock().admit(params, now));
        }
        let hash = [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)];
        if let Some(verdict) = self.admit_key(params, hash, now) {
            return (Place::Key(hash), verdict);
        }
        self.sweep(params, now, WORK_PER_NEW_KEY);
        if let Some(verdict) = self.admit_key(params, hash, now) {
            return (Place::Key(hash), verdict);
        }
        (Place::Overflow, self.overflow.lock().admit(params, now))
    }

    /// How the limit of the whole route stands, without a request.
    pub(super) fn usage(&self, params: &RateLimit, now: u64) -> Usage {
        self.keyless.lock().usage(params, now)
    }

    /// The `most` keys that have used most. Looks at the first [`LOOKS`] keys of each shard, so that no request waits for long.
    pub(super) fn top(&self, params: &RateLimit, now: u64, most: usize) -> TopKeys {
        let (mut keys, mut is_complete) = (Vec::new(), true);
        for shard in &self.shards {
            let shard = shard.lock();
            is_complete &= shard.states.len() <= LOOKS;
            let seen = shard.states.iter().take(LOOKS);
            let seen = seen.map(|(hash, state)| KeyUsage { key: hash[0], usage: state.usage(params, now) });
            keys.extend(seen.filter(|key| key.usage.remaining < key.usage.limit));
            drop(shard);
            // The least left first; of those with equally much, whoever has it back last.
            keys.sort_unstable_by_key(|key| (key.usage.remaining, std::cmp::Reverse(key.usage.reset), key.key));
            keys.truncate(most);
        }
        TopKeys { keys, is_complete }
    }

    /// `None`: a new key, and no room.
    fn admit_key(&self, params: &RateLimit, hash: KeyHash, now: u64) -> Option<Verdict> {
        let mut shard = self.shard(hash).lock();
        match shard.states.entry(hash) {
            Entry::Occupied(mut state) => Some(state.get_mut().admit(params, now)),
            Entry::Vacant(vacant) => {
                let reserve = |len| (len < params.max_keys).then_some(len + 1);
                self.len.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).ok()?;
                Some(vacant.insert(State::new(params)).admit(params, now))
            }
        }
    }

    pub(super) fn cancel(&self, place: Place, booking: Booking) {
        match place {
            Place::Keyless => self.keyless.lock().cancel(booking),
            Place::Overflow => self.overflow.lock().cancel(booking),
            Place::Key(hash) => {
                if let Some(state) = self.shard(hash).lock().states.get_mut(&hash) {
                    state.cancel(booking);
                }
            }
        }
    }

    /// Looks at up to `max_work` states, going on where the last sweep stopped, and forgets the idle ones.
    pub(super) fn sweep(&self, params: &RateLimit, now: u64, max_work: usize) {
        let mut work = max_work;
        for _ in 0..SHARDS {
            let index = self.next_shard.load(Ordering::Relaxed) % SHARDS;
            let mut shard = self.shards[index].lock();
            while work > 0
                && let Some((_, state)) = {
                    let cursor = shard.cursor;
                    shard.states.get_index_mut(cursor)
                }
            {
                work -= 1;
                if state.is_idle(params, now) {
                    let cursor = shard.cursor;
                    shard.states.swap_remove_index(cursor);
                    self.len.fetch_sub(1, Ordering::Relaxed);
                } else {
                    shard.cursor += 1;
                }
            }
            if work == 0 {
                return;
            }
            shard.cursor = 0;
            // Memory follows the number of keys down, not only up.
            let room = shard.states.len() * 2;
            if shard.states.capacity() > room.max(64) * 2 {
                shard.states.shrink_to(room);
            }
            self.next_shard.store(index + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: KeyHash) -> &Mutex<Shard> {
        &self.shards[(hash[1] % SHARDS as u64) as usize]
    }
}

impl Hasher for FirstWord {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word).rotate_left(1);
        }
    }
}
