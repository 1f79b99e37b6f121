//! Metrics, as Prometheus text.
//!
//! A route's counters are resolved once, when the configuration is built ([`Metrics::route`]); from then on a request costs
//! a few atomic additions and no lookup. A route that is configured again under the same name, upstream and policy gets
//! the same counters, so they survive a reload. A route that nothing has asked for yet costs no memory and prints nothing.
//!
//! What lives elsewhere (breakers, operations, queues) is read at scrape time: [`Metrics::on_scrape`].

mod configuration;
pub(crate) mod endpoint;
mod exemplar;
mod exposition;
mod histogram;
pub(crate) mod lately;
mod ledger;
mod listener;
mod process;
pub(crate) mod recent;
pub(crate) mod resolver;
mod route;
mod scrape;
mod spans;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use mainstay_policies::clock::{UnixMillis, WallClock};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use self::{
    configuration::Configuration,
    listener::Listeners,
    process::Process,
    recent::{LastMinute, Recent, Series},
    route::expose::Routes,
    scrape::OnScrape,
};

pub use self::{
    ledger::LedgerMetrics,
    listener::{ConnectionGuard, ListenerMetrics},
    resolver::{ClockJump, ResolverMetrics},
    route::{RouteMetrics, counters::AttemptResult},
    scrape::{Kind, Samples},
    spans::SpanCounters,
};

/// Every metric of the process.
pub struct Metrics {
    registry: Mutex<Registry>,
    routes: Arc<Routes>,
    listeners: Arc<Listeners>,
    spans: Arc<SpanCounters>,
    access_log_dropped: Arc<AtomicU64>,
    configuration: Arc<Configuration>,
    resolver: Arc<ResolverMetrics>,
    ledger: Arc<LedgerMetrics>,
    tls: Arc<tls::Tls>,
    recent: Mutex<Recent>,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new(clock: &WallClock) -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            routes: Arc::default(),
            listeners: Arc::default(),
            spans: Arc::default(),
            access_log_dropped: Arc::default(),
            configuration: Arc::default(),
            resolver: Arc::default(),
            ledger: Arc::default(),
            tls: Arc::default(),
            recent: Mutex::new(Recent::new(Instant::now())),
        };
        {
            let mut registry = metrics.registry.lock();
            registry.register_collector(Box::new(Arc::clone(&metrics.routes)));
            registry.register_collector(Box::new(Arc::clone(&metrics.listeners)));
            registry.register_collector(Box::new(Arc::clone(&metrics.spans)));
            registry.register_collector(Box::new(Process::started(clock)));
            registry.register_collector(Box::new(ledger::Shown(Arc::clone(&metrics.ledger))));
        }
        metrics.register_own();
        metrics.configuration.register(&metrics);
        metrics.resolver.register(&metrics);
        metrics.tls.register(&metrics);
        metrics
    }

    /// The counters of a route; resolve them once per configuration, not per request.
    pub fn route(&self, route: &str, upstream: &str, policy: &str) -> RouteMetrics {
        self.routes.resolve(route, upstream, policy)
    }

    /// The counters of a listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        self.listeners.resolve(name)
    }

    /// What the resolver has done, and has before it.
    pub fn resolver(&self) -> &ResolverMetrics {
        &self.resolver
    }

    /// What the ledger's writer tells as it goes.
    pub fn ledger(&self) -> Arc<LedgerMetrics> {
        Arc::clone(&self.ledger)
    }

    /// Spans exported and dropped; for [`Tracing::new`](super::trace::Tracing::new).
    pub fn spans(&self) -> Arc<SpanCounters> {
        Arc::clone(&self.spans)
    }

    /// Lines dropped by the logs; for [`logs::init`](super::logs::init).
    pub fn log_lines_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.access_log_dropped)
    }

    /// A family that is read at each scrape. `name` without `_total`, which a counter gets by itself. Each name may be
    /// registered once in the life of the process; `read` must not block.
    pub fn on_scrape(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        read: impl Fn(&mut Samples) + Send + Sync + 'static,
    ) {
        self.registry.lock().register_collector(Box::new(OnScrape::new(name, help, kind, read)));
    }

    /// Everything, in Prometheus text format 0.0.4.
    pub fn encode(&self) -> String {
        exposition::to_prometheus(&self.page())
    }

    /// Everything, in `OpenMetrics` 1.0, with exemplars.
    pub fn encode_openmetrics(&self) -> String {
        exposition::with_exemplars(&self.page(), &self.routes.exemplars())
    }

    /// Looks at all counters; `in_doubt` are the writes in doubt now. For a task that does so every [`recent::INTERVAL`].
    pub(crate) fn look(&self, in_doubt: u64, at: (Instant, UnixMillis)) {
        let mut recent = self.recent.lock();
        let all = self.routes.look(&recent);
        recent.end(all, self.ledger.counts(), in_doubt, at);
    }

    /// What the last minute was like, up to now.
    pub(crate) fn last_minute(&self, now: Instant) -> LastMinute {
        let recent = self.recent.lock();
        recent.minute(&self.routes.since_look(), &self.ledger.counts(), now)
    }

    /// The place in a minute of the look that comes next.
    pub(crate) fn slot(&self) -> usize {
        self.recent.lock().slot()
    }

    /// How long five minutes are that [`RouteMetrics::five_minutes`] tells of.
    pub(crate) fn five_minutes(&self, now: Instant) -> std::time::Duration {
        self.recent.lock().parts.window(now)
    }

    /// What the last quarter of an hour was like.
    pub(crate) fn series(&self) -> Series {
        self.recent.lock().series()
    }

    fn page(&self) -> String {
        let mut openmetrics = String::with_capacity(16 * 1024);
        let written = prometheus_client::encoding::text::encode_registry(&mut openmetrics, &self.registry.lock());
        if written.is_err() {
            tracing::error!("a metric could not be written; those after it are missing");
        }
        openmetrics
    }

    fn register_own(&self) {
        let dropped = Arc::clone(&self.access_log_dropped);
        self.on_scrape(
            "mainstay_log_lines_dropped",
            "Log lines dropped because the output was too slow",
            Kind::Counter,
            move |samples| samples.push(&[], dropped.load(Relaxed) as f64),
        );
        self.on_scrape("mainstay_build_info", "The running build", Kind::Gauge, |samples| {
            samples.push(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        });
    }
}
