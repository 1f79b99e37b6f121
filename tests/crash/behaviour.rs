//! What the service does with a request, decided by the seed, the key, and how often the key has come.

use std::time::Duration;

use fastrand::Rng;

/// Answers larger than this are not kept by the proxy (`max_response` of every world).
pub(crate) const MAX_RESPONSE: usize = 4096;

/// How long the proxy waits for an answer (`timeout` of every world).
pub(crate) const TIMEOUT: Duration = Duration::from_millis(200);

/// When the service does what the request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acts {
    Never,
    AtOnce,
    /// After the delay, whether or not anybody still waits.
    AtTheEnd,
}

/// What the service says about it, true or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Status(u16),
    /// 201 with a body of that many bytes.
    Made(usize),
    /// The same in chunks.
    MadeInChunks(usize),
    /// The head and half of the body, then the end.
    Truncated,
    Reset,
    /// Nothing, until the peer gives up.
    Nothing,
}

/// One request's treatment.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) acts: Acts,
    pub(crate) delay: Duration,
    pub(crate) says: Says,
}

impl Behaviour {
    pub(crate) const fn new(acts: Acts, delay_ms: u64, says: Says) -> Self {
        Self { acts, delay: Duration::from_millis(delay_ms), says }
    }
}

/// A number for a key that depends on nothing but the seed.
pub(crate) fn mix(seed: u64, key: &str, nth: u32) -> u64 {
    let mut rng = Rng::with_seed(seed ^ (u64::from(nth) << 32));
    let mut hash = rng.u64(..);
    for byte in key.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Rng::with_seed(hash).u64(..)
}

/// The mixture: most writes are answered soon; the rest is everything that makes an outcome doubtful.
pub(crate) fn mixed(seed: u64, key: &str, nth: u32) -> Behaviour {
    let mut rng = Rng::with_seed(mix(seed, key, nth));
    let late = TIMEOUT + Duration::from_millis(rng.u64(20..200));
    let late = u64::try_from(late.as_millis()).expect("a fraction of a second");
    let soon = if rng.bool() { 0 } else { rng.u64(1..30) };
    match rng.u32(0..100) {
        0..46 => Behaviour::new(Acts::AtOnce, soon, Says::Made(rng.usize(0..600))),
        46..54 => Behaviour::new(Acts::AtTheEnd, soon, Says::MadeInChunks(rng.usize(1..600))),
        54..60 => Behaviour::new(Acts::AtOnce, late, Says::Made(20)),
        60..64 => Behaviour::new(Acts::AtTheEnd, late, Says::Made(20)),
        64..67 => Behaviour::new(Acts::AtOnce, 0, Says::Nothing),
        67..70 => Behaviour::new(Acts::Never, 0, Says::Nothing),
        70..74 => Behaviour::new(Acts::AtOnce, soon, Says::Reset),
        74..77 => Behaviour::new(Acts::Never, soon, Says::Reset),
        77..81 => Behaviour::new(Acts::AtOnce, soon, Says::Status(500)),
        81..84 => Behaviour::new(Acts::Never, soon, Says::Status(503)),
        84..88 => Behaviour::new(Acts::Never, soon, Says::Status(422)),
        88..92 => Behaviour::new(Acts::Never, soon, Says::Status(429)),
        92..95 => Behaviour::new(Acts::AtOnce, soon, Says::Truncated),
        95..98 => Behaviour::new(Acts::AtOnce, soon, Says::Made(MAX_RESPONSE + 2000)),
        _ => Behaviour::new(Acts::AtOnce, soon, Says::Status(204)),
    }
}
