//! Which of several endpoints gets a request: the less loaded of two (`p2c`), each in turn (`round_robin`), or the same one for
//! the same caller, key or header (`hash`).
//!
//! `p2c` is the power of two choices (Mitzenmacher, 2001): of two endpoints drawn at random the one with fewer requests in flight.
//!
//! `hash` is rendezvous hashing (Thaler and Ravishankar, 1998) with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016). What
//! is the same for requests that belong together, and who an endpoint is, give a score; the highest one wins, among those that have
//! not too much to do already:
//!
//! ```text
//! score = -share / ln(u),  u = hash(affinity, endpoint) in (0, 1)
//! may be given one more while  in flight < 1.25 * share * (all in flight + 1) / (all shares) + 1
//! ```
//!
//! So when an endpoint leaves, only what belonged to it moves; one that comes takes its part of every other's; and no key that
//! everybody asks for makes one endpoint do what ten are there for. At least one may always be given one more. The hash is FNV-1a
//! and a finalizer, with nothing random in it: every process, also of another version and after a restart, decides alike.
//!
//! It keeps nothing together that must be: an endpoint that comes or goes, or has too much to do, moves keys. What must be known of
//! a key wherever it goes belongs in a ledger that replicas share.
//!
//! ```
//! use mainstay_policies::balance::{Affinity, Candidate, by_hash};
//!
//! let all: Vec<_> = (0..3).map(|number| Candidate::new(number, Affinity::of(&[number as u8]))).collect();
//! let caller = Affinity::of(b"alice");
//! assert_eq!(by_hash(&all, caller), by_hash(&all, caller));
//! ```

mod health;

use std::time::Duration;

use http::HeaderName;

pub use self::health::{Health, Thresholds};

/// An endpoint is passed over from this multiple of its part of all that is in flight, and one, on. Less would move more keys for
/// little evenness; more would let the one that everybody asks for do half as much again as the others.
pub const BOUND: f64 = 1.25;

/// How often an endpoint with less than a whole share may be passed over before the one at hand is taken.
const MOST_TURNS: usize = 64;

/// The least share that an endpoint has which came just now: it is asked, so that it gets warm at all.
const LEAST_SHARE: f64 = 0.01;

/// How endpoints of an upstream are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The less loaded of two.
    #[default]
    P2c,
    /// Each in turn.
    RoundRobin,
    /// The same for requests that belong together.
    Hash(HashOf),
}

/// What requests have in common that belong together. One that has none of it is balanced by [`Balance::P2c`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOf {
    /// Who is calling.
    Principal,
    /// The key of a keyed write.
    Key,
    /// A field of its head.
    Header(HeaderName),
}

/// What makes requests belong together, or an endpoint itself, as a number. Nothing can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity(u64);

impl Affinity {
    /// That of these octets: FNV-1a, mixed.
    pub fn of(octets: &[u8]) -> Self {
        let folded = octets.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mix(folded))
    }

    /// The two together, uniform in (0, 1).
    fn with(self, other: Self) -> f64 {
        let bits = mix(self.0 ^ other.0.rotate_left(32)) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

/// The finalizer of `SplitMix64`: every bit of the input counts in every bit of the output.
const fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Which, to whoever asks.
    pub number: usize,
    /// Who it is, to every process alike.
    pub identity: Affinity,
    /// Requests in flight to it.
    pub load: usize,
    /// Its part of the requests, against the parts of the others; more than 0.
    pub share: f64,
}

impl Candidate {
    /// An idle one with a whole share.
    pub const fn new(number: usize, identity: Affinity) -> Self {
        Self { number, identity, load: 0, share: 1.0 }
    }
}

/// The share of an endpoint that came so long ago, where it is to grow over `slow_start`: linearly, up to the whole.
pub fn grown(ago: Duration, slow_start: Duration) -> f64 {
    if ago >= slow_start { 1.0 } else { ago.div_duration_f64(slow_start).max(LEAST_SHARE) }
}

/// The less loaded of two drawn at random; `random` gives numbers in [0, 1). Where shares differ, each is drawn by its share, and
/// the second one is taken only if it stays behind the first one's load, share for share, so that an idle service is shared as
/// it should be, too.
pub fn less_loaded(candidates: &[Candidate], mut random: impl FnMut() -> f64) -> Option<usize> {
    let [first, ..] = candidates else { return None };
    let is_even = candidates.iter().all(|candidate| candidate.share.total_cmp(&first.share).is_eq());
    let whole: f64 = candidates.iter().map(|candidate| candidate.share).sum();
    let mut draw = || {
        let mut left = random() * whole;
        let found = candidates.iter().find(|candidate| {
            left -= candidate.share;
            left < 0.0
        });
        // Rounding may leave a little.
        *found.unwrap_or(&candidates[candidates.len() - 1])
    };
    let (first, second) = (draw(), draw());
    let ahead = if is_even { 0.0 } else { 1.0 };
    let is_less = (second.load as f64 + ahead) / second.share < first.load as f64 / first.share;
    Some(if is_less { second.number } else { first.number })
}

/// The one whose turn it is; `turn` counts on with each call. One with less than the greatest share is passed over as often as it
/// lacks.
pub fn in_turn(
    candidates: &[Candidate],
    mut turn: impl FnMut() -> usize,
    mut random: impl FnMut() -> f64,
) -> Option<usize> {
    let most = candidates.iter().map(|candidate| candidate.share).max_by(f64::total_cmp)?;
    let mut at = 0;
    for _ in 0..MOST_TURNS {
        at = turn() % candidates.len();
        let part = candidates[at].share / most;
        if part >= 1.0 || random() < part {
            break;
        }
    }
    Some(candidates[at].number)
}

/// The one that `affinity` belongs to, among those that have not too much to do.
pub fn by_hash(candidates: &[Candidate], affinity: Affinity) -> Option<usize> {
    let in_flight: usize = candidates.iter().map(|candidate| candidate.load).sum();
    let shares: f64 = candidates.iter().map(|candidate| candidate.share).sum();
    let part = BOUND * (in_flight as f64 + 1.0) / shares;
    let score = |candidate: &Candidate| -candidate.share / affinity.with(candidate.identity).ln();
    let may_have_more = |candidate: &&Candidate| (candidate.load as f64) < part * candidate.share + 1.0;
    let best = candidates.iter().filter(may_have_more).max_by(|a, b| {
        // Two with one score are told apart by who they are, not by where they stand.
        score(a).total_cmp(&score(b)).then_with(|| a.identity.cmp(&b.identity))
    });
    best.map(|candidate| candidate.number)
}

#[cfg(test)]
mod tests;
