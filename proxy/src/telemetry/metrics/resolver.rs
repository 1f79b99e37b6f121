//! What the resolver tells about itself.

use std::{collections::BTreeMap, sync::Arc};

use mainstay_policies::operation::AttentionReason;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Kind, Metrics, Samples};

/// Counters, and what the worker saw last. Labels are names of the configuration and fixed words, so few.
#[derive(Debug, Default)]
pub struct ResolverMetrics(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    queries: BTreeMap<(Arc<str>, &'static str), u64>,
    /// What the last query of each upstream brought, and when.
    heard: BTreeMap<Arc<str>, (&'static str, Instant)>,
    redispatches: BTreeMap<(Arc<str>, &'static str), u64>,
    depths: Vec<(Arc<str>, usize)>,
    oldest_unresolved_ms: u64,
    /// Open ones that nothing could settle, and settled ones that were contradicted.
    attention: [u64; 2],
    /// Forward, and back.
    clock_jumps: [u64; 2],
}

/// Which way a wall clock jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockJump {
    /// Time seems to have passed that has not.
    Forward,
    /// Times are ahead that have been.
    Back,
}

impl ResolverMetrics {
    /// A status query brought this.
    pub fn queried(&self, upstream: &Arc<str>, result: &'static str) {
        let mut numbers = self.0.lock();
        *numbers.queries.entry((Arc::clone(upstream), result)).or_default() += 1;
        numbers.heard.insert(Arc::clone(upstream), (result, Instant::now()));
    }

    /// How many operations of an upstream wait for their turn to be asked about, and what its last query brought.
    pub(crate) fn of(&self, upstream: &str) -> (usize, Option<(&'static str, Instant)>) {
        let numbers = self.0.lock();
        let waiting = numbers.depths.iter().find(|(name, _)| **name == *upstream).map_or(0, |(_, depth)| *depth);
        (waiting, numbers.heard.get(upstream).copied())
    }

    /// A write was dispatched again, and then stood so; or was not sent.
    pub fn redispatched(&self, upstream: &Arc<str>, result: &'static str) {
        *self.0.lock().redispatches.entry((Arc::clone(upstream), result)).or_default() += 1;
    }

    /// How many operations wait, by upstream.
    pub fn waiting(&self, depths: Vec<(Arc<str>, usize)>) {
        self.0.lock().depths = depths;
    }

    /// How old the oldest unknown operation is.
    pub fn unresolved(&self, oldest_ms: u64) {
        self.0.lock().oldest_unresolved_ms = oldest_ms;
    }

    /// How many operations wait for a person: open and settled ones.
    pub fn flagged(&self, attention: [u64; 2]) {
        self.0.lock().attention = attention;
    }

    /// The clock that records go by jumped, and they follow it.
    pub fn clock_jumped(&self, jump: ClockJump) {
        self.0.lock().clock_jumps[jump as usize] += 1;
    }

    /// Registers every metric of the resolver.
    pub(super) fn register(self: &Arc<Self>, metrics: &Metrics) {
        let family = |name, help, kind, read: fn(&Numbers, &mut Samples)| {
            let stats = Arc::clone(self);
            metrics.on_scrape(name, help, kind, move |samples| read(&stats.0.lock(), samples));
        };
        family(
            "mainstay_status_queries",
            "Status queries of the resolver, by result",
            Kind::Counter,
            |numbers, out| {
                counted(&numbers.queries, out);
            },
        );
        family("mainstay_redispatches", "Writes dispatched again, by result", Kind::Counter, |numbers, out| {
            counted(&numbers.redispatches, out);
        });
        family(
            "mainstay_resolver_queue",
            "Operations that are due and wait for their turn",
            Kind::Gauge,
            |numbers, out| {
                for (upstream, depth) in &numbers.depths {
                    out.push(&[("upstream", upstream)], *depth as f64);
                }
            },
        );
        let help = "Age of the oldest operation whose outcome is unknown";
        family("mainstay_operations_oldest_unresolved_seconds", help, Kind::Gauge, |numbers, out| {
            out.push(&[], numbers.oldest_unresolved_ms as f64 / 1000.0);
        });
        let help = "Operations that wait for a person, in whatever state";
        family("mainstay_operations_attention", help, Kind::Gauge, |numbers, out| {
            let reasons = [AttentionReason::ResolveExhausted, AttentionReason::Conflict];
            for (reason, count) in reasons.iter().zip(numbers.attention) {
                out.push(&[("reason", reason.label())], count as f64);
            }
        });
        let help = "Jumps of the clock that records go by";
        family("mainstay_clock_jumps", help, Kind::Counter, |numbers, out| {
            for (direction, count) in ["forward", "back"].iter().zip(numbers.clock_jumps) {
                out.push(&[("direction", direction)], count as f64);
            }
        });
    }
}

fn counted(counts: &BTreeMap<(Arc<str>, &'static str), u64>, out: &mut Samples) {
    for ((upstream, result), count) in counts {
        out.push(&[("upstream", upstream), ("result", result)], *count as f64);
    }
}
