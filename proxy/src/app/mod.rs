//! The program's life: start, reload, drain, end.

mod announce;
mod drain;
mod error;
pub mod findings;
mod left;
mod listeners;
mod reread;
mod worker;

use std::{path::PathBuf, sync::Arc, time::Duration};

use mainstay_policies::{
    clock::WallClock,
    concurrency_limit::CpuLoad,
    idempotency::{IdMint, QueryGate},
    operation::{Recorder, ledger::Ledger},
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

pub use self::error::StartError;
use self::{
    listeners::{Listeners, bind_admin, bind_probes},
    worker::Worker,
};
use crate::{
    admin::{
        operators::Operators,
        probes::{self, ProbeState},
        routes,
    },
    background::{self, cpu},
    config::{
        self, Finding, Loaded,
        model::{Config, Store},
        watch::Orders,
    },
    ledger::{
        open::open_ledger,
        principals::{self, PrincipalsError, Taken},
    },
    runtime::{
        Runtime, gauges,
        readiness::{Condition, Readiness},
        resources::Resources,
        secured::Secured,
        snapshot::Snapshot,
    },
    telemetry::{logs::Logging, metrics::Metrics, trace::Tracing},
    wire::body::budget::BodyBudget,
};

/// A running proxy.
pub struct App {
    runtime: Arc<Runtime>,
    workers: Vec<Worker>,
    listeners: Listeners,
    logging: Arc<Logging>,
    probes: Arc<ProbeState>,
    tasks: Vec<JoinHandle<()>>,
    stop_probes: watch::Sender<bool>,
    /// Whether operations are kept where the configuration says.
    ledger_is_open: bool,
    /// What the process was started with: some of it no reload changes.
    started: Arc<Config>,
}

/// What the program is started with.
pub struct Foundation {
    /// Wall time.
    pub clock: WallClock,
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// The logs, set up already.
    pub logging: Arc<Logging>,
    /// Where the configuration came from, if that was a file.
    pub file: Option<ConfigFile>,
}

/// Where a configuration came from.
pub struct ConfigFile {
    /// A file, or a directory of them.
    pub path: PathBuf,
    /// The digest of what was read there.
    pub digest: [u8; 32],
    /// What was found in it.
    pub findings: Vec<Finding>,
    /// Has it read again.
    pub orders: Orders,
}

impl App {
    /// Starts to serve `config`. Must run on a tokio runtime, which then serves the probes and the housekeeping.
    ///
    /// # Errors
    /// An address cannot be bound, or a thread cannot be started. Nothing is left running.
    pub async fn start(config: Arc<Config>, foundation: Foundation) -> Result<Self, StartError> {
        let Foundation { clock, metrics, logging, file } = foundation;
        let ledger_is_open = config.needs_ledger() || config.ledger.store == Store::Memory;
        let workers = config.limits.workers.get();
        cpu::ensure_known(&config)?;
        let commits = metrics.ledger();
        let secured = Secured::read(&config, None).await?;
        let ledger = open_ledger(&config, &clock, move |took, operations| commits.committed(took, operations)).await?;
        // Of a store that could not be reached this is asked once it can be; until then nothing is begun.
        let is_reached = ledger.fingerprint_secret().is_some();
        ledger.allow_begins(is_reached);
        if is_reached {
            principals::take(&ledger, &config).await?;
        }
        // Whatever is recorded is recorded by the time of the ledger, which replicas share.
        let clock = ledger.clock().clone();
        let instance = uuid::Uuid::from_u128(ledger.instance().0).to_string();
        let tracing = Tracing::new(&config.telemetry, &instance, metrics.spans());
        let probes = Arc::new(ProbeState { readiness: Arc::new(Readiness::new()), metrics: metrics.clone() });
        let probe_socket = bind_probes(config.probes.address).await?;
        let admin = bind_admin(config.admin.as_ref()).await?;
        let resources = resources(&config, ledger, clock, metrics);
        let snapshot = Snapshot::build(config, secured, &resources, None);
        let runtime = Runtime::new(snapshot, resources, tracing, logging.access());
        let orders = file.map(|file| {
            runtime.served.comes_from(file.path);
            runtime.served.taken(file.digest, &file.findings);
            file.orders
        });
        let mut app = Self {
            runtime: runtime.clone(),
            workers: Vec::new(),
            listeners: Listeners::default(),
            logging: logging.clone(),
            probes: probes.clone(),
            tasks: Vec::new(),
            stop_probes: watch::Sender::new(false),
            ledger_is_open,
            started: runtime.snapshot.load().config.clone(),
        };
        if !is_reached {
            app.tasks.push(tokio::spawn(agree_later(runtime.clone())));
        }
        for number in 0..workers {
            app.workers.push(worker::start(number, runtime.clone()).map_err(StartError::Worker)?);
        }
        let listeners = runtime.snapshot.load().config.listeners.clone();
        app.listeners.bind(&listeners, &app.workers)?;
        gauges::register(&runtime);
        let hash = config::hash(&runtime.snapshot.load().config);
        runtime.resources.metrics.config_taken(&hash, &runtime.resources.clock);
        probes.readiness.set_obstacles(runtime.snapshot.load().secured.invalid());
        probes.readiness.set(Condition::ConfigValid, true);
        probes.readiness.set(Condition::ListenersBound, true);
        probes.readiness.set(Condition::LedgerRecovered, true);
        if let Some((socket, credentials)) = admin {
            let operators = Operators::new(runtime.clone(), logging, probes.clone(), credentials, orders);
            app.tasks.push(tokio::spawn(routes::serve(socket, Arc::new(operators), app.stop_probes.subscribe())));
        }
        probes.readiness.set(Condition::LedgerWritable, true);
        app.tasks.push(tokio::spawn(probes::serve(probe_socket, probes.clone(), app.stop_probes.subscribe())));
        app.tasks.extend(background::start(&runtime, &probes.readiness));
        Ok(app)
    }

    /// Serves what was read from now on, and says what was found in it. Requests in flight keep the configuration that they
    /// began with.
    ///
    /// # Errors
    /// A new address cannot be bound, or keys that live would not be found any more; everything stays as it was.
    pub async fn reload(&self, loaded: &Loaded) -> Result<(), StartError> {
        let config = &loaded.config;
        let before = self.runtime.snapshot.load_full();
        if !self.ledger_is_open && config.needs_ledger() {
            return Err(StartError::LedgerNotOpen);
        }
        cpu::ensure_known(config)?;
        let secured = Secured::read(config, Some((&before.config, &before.secured))).await?;
        let ledger = &self.runtime.resources.ledger;
        // Before anything can be begun by it. A ledger that cannot be reached now is in the way of no other change.
        let taken = if principals::is_alike(&before.config, config) {
            Taken::default()
        } else {
            principals::take(ledger, config).await?
        };
        if let Err(error) = self.listeners.bind(&config.listeners, &self.workers) {
            taken.undo(ledger).await;
            return Err(error);
        }
        let snapshot = Snapshot::build(config.clone(), secured, &self.runtime.resources, Some(&before));
        self.runtime.resources.bodies.set_most(config.limits.buffered_bytes.get());
        self.runtime.snapshot.store(Arc::new(snapshot));
        self.runtime.reloaded.send_replace(());
        self.listeners.retain(&config.listeners);
        self.runtime.tracing.apply(&config.telemetry);
        if let Err(error) = self.logging.apply(&config.telemetry.logs) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        let metrics = &self.runtime.resources.metrics;
        metrics.config_taken(&config::hash(config), &self.runtime.resources.clock);
        let mut found = loaded.findings.clone();
        found.extend(loaded.restarts(&self.started));
        findings::tell(metrics, &found);
        self.runtime.served.taken(loaded.origin.digest, &found);
        Ok(())
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.runtime.snapshot.load().config.clone()
    }

    /// The logs of the process.
    pub fn logging(&self) -> Arc<Logging> {
        self.logging.clone()
    }
}

/// The store could not be reached at the start. Once it can be, it is remembered how callers are known, as at any start, and new
/// operations are taken; where they must not be, the log says why, and they stay refused.
async fn agree_later(runtime: Arc<Runtime>) {
    const LOOK_AGAIN: Duration = Duration::from_millis(250);
    const SAY_AGAIN: Duration = Duration::from_mins(1);
    let ledger = &runtime.resources.ledger;
    loop {
        while ledger.fingerprint_secret().is_none() {
            sleep(LOOK_AGAIN).await;
        }
        let config = runtime.snapshot.load().config.clone();
        match principals::take(ledger, &config).await {
            Ok(_) => return ledger.allow_begins(true),
            Err(PrincipalsError::Ledger(error)) => {
                tracing::debug!(%error, "how callers are known is agreed on later");
                sleep(LOOK_AGAIN).await;
            }
            Err(error) => {
                tracing::error!(%error, "keyed writes are refused");
                sleep(SAY_AGAIN).await;
            }
        }
    }
}

/// What every configuration is served with from now on.
fn resources(config: &Config, ledger: Arc<dyn Ledger>, clock: WallClock, metrics: Arc<Metrics>) -> Resources {
    let mut mint = IdMint::new(ledger.clone(), clock.clone());
    if let Some(node) = config.ledger.node {
        mint = mint.with_node(node);
    }
    Resources {
        recorder: Arc::new(Recorder::new(ledger.clone(), clock.clone())),
        ledger,
        clock,
        metrics,
        workers: config.limits.workers.get(),
        gate: QueryGate::default(),
        mint: Arc::new(mint),
        cpu: CpuLoad::unknown(),
        bodies: BodyBudget::new(config.limits.buffered_bytes.get()),
    }
}
