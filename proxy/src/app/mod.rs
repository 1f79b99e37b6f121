//! The program's life: start, reload, drain, end.

mod worker;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use mainstay_policies::{
    clock::WallClock,
    concurrency_limit::CpuLoad,
    idempotency::{IdMint, QueryGate},
    operation::{
        ledger::{Health, Ledger, LedgerError},
        memory::MemoryLedger,
    },
};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use self::worker::{Listen, Worker};
use crate::{
    admin::{
        guard::TokenFile,
        operators::{self, Operators},
        probes::{self, ProbeState},
    },
    background::{
        cpu::{self, NoCpuAccount},
        resolver,
        supervise::Restarts,
    },
    config::{
        self,
        model::{self, Config, Store},
    },
    faults::{self, Pitfall},
    ledger::disk::{self, DiskLedger, OpenError},
    listener::{self, Places},
    runtime::{
        gauges,
        readiness::{Condition, Readiness},
        snapshot::{Parts, Snapshot},
    },
    telemetry::{
        logs::{AccessLog, Logging},
        metrics::Metrics,
        trace::Tracing,
    },
};

/// How often the ledger forgets what has expired, and limiters what is idle.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);
/// Records that are removed at once, so that this never holds up a write for long.
const EXPIRED_AT_ONCE: usize = 256;
/// Keys of one limiter that one round of housekeeping looks at.
const KEYS_AT_ONCE: usize = 4096;
/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// For telling those who still waited for their turn that it does not come.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long the last spans may take to leave.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What every worker and every request shares.
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) parts: Parts,
    pub(crate) tracing: Tracing,
    pub(crate) access: Arc<AccessLog>,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) places: Arc<Places>,
    /// The drain's time is over.
    cutting_off: watch::Sender<bool>,
    /// When readiness began to fail, by SIGTERM or by an operator.
    drain_began: OnceLock<Instant>,
}

impl Shared {
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when the drain's time is over.
    pub(crate) async fn cut_off(&self) {
        // The sender is part of what is borrowed here, so it is not gone.
        let _ = self.cutting_off.subscribe().wait_for(|over| *over).await;
    }

    /// Lets readiness fail from now on; whether it did so already.
    pub(crate) fn begin_drain(&self, readiness: &Readiness) -> bool {
        let already = self.drain_began.set(Instant::now()).is_err();
        readiness.set(Condition::Draining, true);
        already
    }
}

/// Why the program does not start, or a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's: the address is taken, not ours, or not allowed.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which listener.
        what: String,
        /// The system's words.
        source: io::Error,
    },
    /// The operator's: the token of the operators' listener cannot be used.
    #[error("`admin.token_file` cannot be used: {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The operator's: the ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The operator's: no ledger was opened at start, for no route protected writes then.
    #[error("writes are protected from now on, and the ledger is opened only at start: restart the proxy")]
    LedgerNotOpen,
    /// The operator's: a route sheds by CPU, and nothing says how busy it is.
    #[error(transparent)]
    Cpu(#[from] NoCpuAccount),
    /// The machine's: no thread or no runtime.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
}

/// A running proxy.
pub struct App {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    listeners: Mutex<HashMap<Arc<str>, Bound>>,
    logging: Arc<Logging>,
    probes: Arc<ProbeState>,
    tasks: Vec<JoinHandle<()>>,
    stop_probes: watch::Sender<bool>,
    /// Whether operations are kept where the configuration says.
    ledger_is_open: bool,
}

/// A listener that is being served.
struct Bound {
    params: Arc<ArcSwap<model::Listener>>,
    stop: watch::Sender<bool>,
}

/// What the program is started with.
pub struct Foundation {
    /// Wall time.
    pub clock: WallClock,
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// The logs, set up already.
    pub logging: Arc<Logging>,
}

impl App {
    /// Starts to serve `config`. Must run on a tokio runtime, which then serves the probes and the housekeeping.
    ///
    /// # Errors
    /// An address cannot be bound, or a thread cannot be started. Nothing is left running.
    pub async fn start(config: Arc<Config>, foundation: Foundation) -> Result<Self, StartError> {
        let Foundation { clock, metrics, logging } = foundation;
        let ledger_is_open = config.protects_writes() || config.ledger.store == Store::Memory;
        let workers = config.limits.workers.get();
        cpu::ensure_known(&config)?;
        let ledger = open_ledger(&config, &clock)?;
        let instance = uuid::Uuid::from_u128(ledger.instance().0).to_string();
        let tracing = Tracing::new(&config.telemetry, &instance, metrics.spans());
        let probes = Arc::new(ProbeState { readiness: Readiness::new(), metrics: metrics.clone() });
        let probe_address = config.probes.address;
        let probe_socket = TcpListener::bind(probe_address).await.map_err(|source| StartError::Listen {
            address: probe_address,
            what: "probes".into(),
            source,
        })?;
        let admin = bind_admin(config.admin.as_ref()).await?;
        let gate = QueryGate::default();
        let mut mint = IdMint::new(ledger.clone(), clock.clone());
        if let Some(node) = config.ledger.node {
            mint = mint.with_node(node);
        }
        let mint = Arc::new(mint);
        let cpu = CpuLoad::unknown();
        let parts = Parts { ledger, clock, metrics, workers, resolving: Arc::default(), gate, mint, cpu };
        let snapshot = Snapshot::build(config, &parts, None);
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            parts,
            tracing,
            access: logging.access(),
            draining: watch::Sender::new(false),
            places: Places::new(),
            cutting_off: watch::Sender::new(false),
            drain_began: OnceLock::new(),
        });
        let mut app = Self {
            shared: shared.clone(),
            workers: Vec::new(),
            listeners: Mutex::default(),
            logging: logging.clone(),
            probes: probes.clone(),
            tasks: Vec::new(),
            stop_probes: watch::Sender::new(false),
            ledger_is_open,
        };
        for number in 0..workers {
            app.workers.push(worker::start(number, shared.clone()).map_err(StartError::Worker)?);
        }
        let listeners = shared.snapshot.load().config.listeners.clone();
        app.listen(&listeners)?;
        gauges::register(&shared);
        shared.parts.metrics.config_loaded(true);
        probes.readiness.set(Condition::ConfigValid, true);
        probes.readiness.set(Condition::ListenersBound, true);
        probes.readiness.set(Condition::LedgerRecovered, true);
        if let Some((socket, token)) = admin {
            let operators = Operators::new(shared.clone(), logging, probes.clone(), token);
            app.tasks.push(tokio::spawn(operators::serve(socket, Arc::new(operators), app.stop_probes.subscribe())));
        }
        probes.readiness.set(Condition::LedgerWritable, true);
        app.tasks.push(tokio::spawn(probes::serve(probe_socket, probes.clone(), app.stop_probes.subscribe())));
        let restarts = Arc::new(Restarts::default());
        restarts.register(&shared.parts.metrics);
        let resolving = shared.clone();
        let resolver = restarts.clone().keep_running("resolver", move || resolver::run(resolving.clone()));
        app.tasks.push(tokio::spawn(resolver));
        let watching = shared.clone();
        let cpu = restarts.clone().keep_running("cpu", move || cpu::watch(watching.clone()));
        app.tasks.push(tokio::spawn(cpu));
        let housekeeping = restarts.keep_running("housekeeping", move || keep_house(shared.clone(), probes.clone()));
        app.tasks.push(tokio::spawn(housekeeping));
        Ok(app)
    }

    /// Serves `config` from now on. Requests in flight keep the one that they began with.
    ///
    /// # Errors
    /// A new address cannot be bound; everything stays as it was.
    pub fn reload(&self, config: &Arc<Config>) -> Result<(), StartError> {
        let before = self.shared.snapshot.load_full();
        if !self.ledger_is_open && config.protects_writes() {
            return Err(StartError::LedgerNotOpen);
        }
        cpu::ensure_known(config)?;
        self.listen(&config.listeners)?;
        let snapshot = Snapshot::build(config.clone(), &self.shared.parts, Some(&before));
        self.shared.snapshot.store(Arc::new(snapshot));
        self.listeners.lock().retain(|name, bound| {
            let kept = config.listeners.iter().any(|listener| listener.name == *name);
            if !kept {
                let _ = bound.stop.send(true);
            }
            kept
        });
        self.shared.tracing.apply(&config.telemetry);
        if let Err(error) = self.logging.apply(&config.telemetry.logs) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        self.shared.parts.metrics.config_loaded(true);
        for (what, changed) in fixed_at_start(&before.config, config) {
            if changed {
                tracing::warn!("a change of `{what}` takes effect at the next start");
            }
        }
        Ok(())
    }

    /// A configuration was refused; the one in force stays.
    pub fn reload_failed(&self) {
        self.shared.parts.metrics.config_loaded(false);
    }

    /// Binds what is new or has moved, then lets go of the old addresses.
    fn listen(&self, listeners: &[Arc<model::Listener>]) -> Result<(), StartError> {
        let mut bound = self.listeners.lock();
        let mut fresh = Vec::new();
        for listener in listeners {
            if bound.get(&listener.name).is_some_and(|bound| bound.params.load().address == listener.address) {
                continue;
            }
            let sockets = listener::listen(listener.address, self.workers.len()).map_err(|source| {
                StartError::Listen { address: listener.address, what: format!("listener `{}`", listener.name), source }
            })?;
            fresh.push((listener.clone(), sockets));
        }
        for listener in listeners {
            if let Some(bound) = bound.get(&listener.name) {
                bound.params.store(listener.clone());
            }
        }
        for (listener, sockets) in fresh {
            let stop = watch::Sender::new(false);
            let params = Arc::new(ArcSwap::new(listener.clone()));
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let listen = Listen { params: params.clone(), socket, stop: stop.subscribe() };
                // A worker ends only when this end of the channel is dropped.
                let _ = worker.sockets.send(listen);
            }
            tracing::info!(listener = %listener.name, address = %listener.address, "listening");
            if let Some(moved) = bound.insert(listener.name.clone(), Bound { params, stop }) {
                let _ = moved.stop.send(true);
            }
        }
        Ok(())
    }

    /// Drains and ends: readiness fails, accepting ends after `drain.delay`, requests in flight have `drain.timeout`.
    pub async fn shutdown(self) {
        let drain = self.shared.snapshot.load().config.drain.clone();
        self.shared.begin_drain(&self.probes.readiness);
        // An operator may have begun it before, and then balancers have had that time already.
        let began = self.shared.drain_began.get().copied().unwrap_or_else(Instant::now);
        let delay = drain.delay.saturating_sub(began.elapsed());
        tracing::info!(delay_ms = delay.as_millis() as u64, "draining");
        sleep(delay).await;
        for bound in self.listeners.lock().values() {
            let _ = bound.stop.send(true);
        }
        self.shared.draining.send_replace(true);
        let deadline = Instant::now() + drain.timeout;
        while self.is_busy() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
        if self.is_busy() {
            tracing::warn!(
                connections = self.shared.places.open(),
                "the drain's time is over; connections are cut off"
            );
            self.shared.cutting_off.send_replace(true);
            sleep(LAST_WORDS).await;
        }
        self.end().await;
    }

    /// Connections that are open, or writes that have not been answered. Late answers are not waited for.
    fn is_busy(&self) -> bool {
        let [pending, ..] = self.shared.parts.ledger.counts();
        self.shared.places.open() > 0 || pending > 0
    }

    async fn end(self) {
        let Self { shared, workers, logging, tasks, stop_probes, .. } = self;
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(std::thread::JoinHandle::join).all(|end| end.is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker ended with a panic");
        }
        shared.tracing.shutdown(FLUSH_WITHIN).await;
        let _ = stop_probes.send(true);
        tasks.iter().for_each(JoinHandle::abort);
        tracing::info!("ended");
        let _ = tokio::task::spawn_blocking(move || logging.flush(FLUSH_WITHIN)).await;
    }
}

/// The ledger of `config`. If no route protects writes it is not opened: nothing would be kept there.
fn open_ledger(config: &Config, clock: &WallClock) -> Result<Arc<dyn Ledger>, OpenError> {
    let model::Ledger { store, max_open, max_bytes, .. } = &config.ledger;
    Ok(match store {
        Store::Disk { path, settle, key_file } if config.protects_writes() => {
            let options = disk::Options {
                max_open: *max_open,
                max_bytes: *max_bytes,
                settle: *settle,
                key_file: key_file.clone(),
            };
            Arc::new(DiskLedger::open(path, clock.clone(), &options)?)
        }
        Store::Disk { .. } | Store::Memory => Arc::new(MemoryLedger::new(clock.clone(), *max_open, *max_bytes)),
    })
}

/// The operators' socket. Without it the proxy protects writes all the same; so if another process, perhaps another
/// Mainstay of this pod, has the address that nobody chose, the start goes on.
async fn bind_admin(admin: Option<&model::Admin>) -> Result<Option<(TcpListener, Option<TokenFile>)>, StartError> {
    let Some(model::Admin { address, token_file }) = admin else { return Ok(None) };
    let token = token_file
        .as_deref()
        .map(|path| TokenFile::open(path).map_err(|source| StartError::Token { path: path.to_owned(), source }));
    match TcpListener::bind(address).await {
        Ok(socket) => {
            tracing::info!(address = %socket.local_addr().unwrap_or(*address), "operators are served");
            Ok(Some((socket, token.transpose()?)))
        }
        Err(error) if admin == Some(&config::default_admin()) && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(
                %address,
                "another process has this address: this one runs without its operators' interface. Give it another \
                 `admin.address`, or say `admin: off`"
            );
            Ok(None)
        }
        Err(source) => Err(StartError::Listen { address: *address, what: "admin".into(), source }),
    }
}

/// What a reload does not change.
fn fixed_at_start(before: &Config, after: &Config) -> [(&'static str, bool); 4] {
    [
        ("limits.workers", before.limits.workers != after.limits.workers),
        ("probes", before.probes != after.probes),
        ("admin", before.admin != after.admin),
        ("ledger", before.ledger != after.ledger),
    ]
}

/// Forgets what has expired, off the path of requests, and looks whether the ledger still takes writes.
///
/// A ledger that does not makes the pod unready, unlike a failing upstream or an open breaker: the disk is the pod's own, so
/// other pods can take the writes that this one would refuse. The pod stays alive, and what has been sent is followed up.
async fn keep_house(shared: Arc<Shared>, probes: Arc<ProbeState>) {
    let mut every = interval(HOUSEKEEPING_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = every.tick().await;
        faults::stumble(Pitfall::House);
        if let Err(error) = forget_expired(&shared.parts).await {
            tracing::warn!(%error, "the ledger cannot forget what has expired");
        }
        let snapshot = shared.snapshot.load_full();
        let is_writable = shared.parts.ledger.health() == Health::Writable;
        probes.readiness.set(Condition::LedgerWritable, is_writable || !snapshot.config.protects_writes());
        for limiter in snapshot.router.iter().filter_map(|route| route.limiter.as_ref()) {
            limiter.sweep(now, KEYS_AT_ONCE);
        }
        for upstream in snapshot.upstreams.values() {
            upstream.sweep(shared.parts.background(), now);
        }
    }
}

/// Forgets in small pieces, between which writes get their turn, but at most for one round's time.
async fn forget_expired(parts: &Parts) -> Result<(), LedgerError> {
    let until = Instant::now() + HOUSEKEEPING_EVERY;
    while Instant::now() < until {
        let now = parts.clock.steady(parts.clock.now());
        if parts.ledger.expire(now, EXPIRED_AT_ONCE).await? < EXPIRED_AT_ONCE {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}
