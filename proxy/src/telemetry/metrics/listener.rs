//! Connections of clients.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use mainstay_policies::problem::Problem;
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// The counters of one listener.
#[derive(Clone, Debug)]
pub struct ListenerMetrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    active: AtomicI64,
    accepted: AtomicU64,
    limited: AtomicU64,
    /// By problem; there are as many as there are slugs.
    unrouted: Mutex<BTreeMap<&'static str, u64>>,
    /// Handshakes by what became of them, in words that are few.
    handshakes: Mutex<BTreeMap<&'static str, u64>>,
}

/// A connection that is open; dropped when it is not.
#[derive(Debug)]
pub struct ConnectionGuard(Arc<Counters>);

impl ListenerMetrics {
    /// A connection was accepted.
    pub fn connection(&self) -> ConnectionGuard {
        self.0.accepted.fetch_add(1, Relaxed);
        self.0.active.fetch_add(1, Relaxed);
        ConnectionGuard(Arc::clone(&self.0))
    }

    /// A connection was refused, or had to wait, because there were too many.
    pub fn connection_limited(&self) {
        self.0.limited.fetch_add(1, Relaxed);
    }

    /// A TLS handshake ended, with this result: `ok`, or why there is no connection.
    pub fn handshake(&self, result: &'static str) {
        *self.0.handshakes.lock().entry(result).or_default() += 1;
    }

    /// A request was answered with a problem before it had a route, under which it would have been counted.
    pub fn unrouted(&self, problem: Problem) {
        *self.0.unrouted.lock().entry(problem.slug()).or_default() += 1;
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// Every listener there has been; their names are few.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<BTreeMap<Box<str>, Arc<Counters>>>);

impl Listeners {
    pub(super) fn resolve(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics(Arc::clone(self.0.lock().entry(name.into()).or_default()))
    }
}

impl Collector for Listeners {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let listeners = self.0.lock();
        if listeners.is_empty() {
            return Ok(());
        }
        let mut active = encoder.encode_descriptor(
            "mainstay_connections_active",
            "Client connections open",
            None,
            MetricType::Gauge,
        )?;
        for (name, counters) in listeners.iter() {
            let value = counters.active.load(Relaxed);
            ConstGauge::new(value).encode(active.encode_family(&[("listener", &**name)])?)?;
        }
        let mut counter = |name, help, read: fn(&Counters) -> &AtomicU64| -> fmt::Result {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (name, counters) in listeners.iter() {
                let value = read(counters).load(Relaxed);
                ConstCounter::new(value).encode(family.encode_family(&[("listener", &**name)])?)?;
            }
            Ok(())
        };
        counter("mainstay_connections", "Client connections accepted", |counters| &counters.accepted)?;
        counter("mainstay_connections_limited", "Times the connection limit was hit", |counters| &counters.limited)?;
        let help = "TLS handshakes with clients, by what became of them";
        let mut handshakes = encoder.encode_descriptor("mainstay_tls_handshakes", help, None, MetricType::Counter)?;
        for (name, counters) in listeners.iter() {
            for (result, count) in &*counters.handshakes.lock() {
                let labels = [("listener", &**name), ("result", *result)];
                ConstCounter::new(*count).encode(handshakes.encode_family(&labels)?)?;
            }
        }
        let help = "Requests answered with a problem before they had a route";
        let mut unrouted = encoder.encode_descriptor("mainstay_unrouted_requests", help, None, MetricType::Counter)?;
        for (name, counters) in listeners.iter() {
            for (slug, count) in &*counters.unrouted.lock() {
                let labels = [("listener", &**name), ("problem", *slug)];
                ConstCounter::new(*count).encode(unrouted.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
