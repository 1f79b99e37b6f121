//! The parameters of a concurrency limit.

use std::{num::NonZeroU32, time::Duration};

/// How many requests may be in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct ConcurrencyLimit {
    /// Requests in flight at most; with [`Adaptive::Aimd`], where the limit starts.
    pub max_concurrent: NonZeroU32,
    /// How long a request may wait for a place; 0 refuses at once.
    pub max_wait: Duration,
    /// How many requests may wait.
    pub max_queue: u32,
    /// Whether the limit follows what the upstream can take.
    pub adaptive: Option<Adaptive>,
}

/// By what a limit follows what the upstream can take.
#[derive(Clone, Debug, PartialEq)]
pub enum Adaptive {
    /// By latency and failures.
    Aimd(Aimd),
    /// By CPU, throughput and latency.
    Bbr(Bbr),
}

/// Additive increase, multiplicative decrease.
#[derive(Clone, Debug, PartialEq)]
pub struct Aimd {
    /// The limit never falls below this.
    pub min: NonZeroU32,
    /// The limit never rises above this.
    pub max: NonZeroU32,
    /// A request slower than this counts as a drop.
    pub threshold: Duration,
}

/// Load shedding on CPU by the rule of BBR: bottleneck bandwidth times round-trip time.
#[derive(Clone, Debug, PartialEq)]
pub struct Bbr {
    /// Requests are shed only while the CPU is at least this busy, in percent.
    pub cpu_percent: u32,
    /// How far back the highest throughput and the lowest latency are looked for.
    pub window: Duration,
    /// How long after the last request that was shed on a busy CPU the rule still holds on an idle one.
    pub cool_off: Duration,
}

impl Default for Bbr {
    /// The numbers of Kratos and of Sentinel's system rule: a fifth of the CPU stays for what no request asked for, ten
    /// seconds hold a burst as well as a lull, and a second keeps a load that stands at the threshold from flapping.
    fn default() -> Self {
        Self { cpu_percent: 80, window: Duration::from_secs(10), cool_off: Duration::from_secs(1) }
    }
}
