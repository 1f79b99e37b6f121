//! A model of several replicas on one store: in whatever order beats, stalls, deaths, takeovers, lost answers and questions come,
//! what was sent under one key is done once, and no key is free while something may still be done under it.
//!
//! What a replica does is the product's own: [`Protection`] and its claims, with `step` and the one door for changes, [`Lease`],
//! [`Watch`], [`Owned`](super::owned::Owned), and what counts as the same thing asked again. The store ([`store`]) is a model of
//! the statements. Of time it takes what the bounds say: an attempt goes out within the route's total of being made ready, unless
//! its process stands still, and then not after its lease; a request arrives, or never does, within a latency of that; all this
//! together is less than `settle_after`. The last check and the first byte are one moment.
//!
//! Each protection can be left out, and then there is an order of things that the model finds fault with.
//!
//! [`Lease`]: super::lease::Lease

mod store;
mod tests;

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use mainstay_policies::{
    clock::WallClock,
    evidence::{AttemptError, Evidence, Verdict},
    idempotency::{
        Asker, Begin, Claim, Idempotency, Key, KeyOwner, Protection, QuerySchedule, RecordedWith, Redispatch, Rule,
        Settlement, StatusQuery,
    },
    operation::{
        Action, Event, Observation, Operation, Retained, Source, State, StoredRequest, UnixMillis, ledger::Ledger,
        step::after,
    },
    retry::{Backoff, Jitter},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::store::{Hearing, Replica, Store};
use crate::ledger::shared::{lease::Moment, watch::Watch};

const REPLICAS: usize = 3;
const HEARTBEAT_MS: u64 = 200;
const TTL_MS: u64 = 1_000;
/// The longest that a request is on its way.
const LATENCY_MS: u64 = 1_200;
/// The route's total.
const TOTAL_MS: u64 = 500;
const TOTAL: Duration = Duration::from_millis(TOTAL_MS);
/// After all that may pass between an attempt that is made ready and the arrival of its request.
const SETTLE_AFTER_MS: u64 = TOTAL_MS + (TTL_MS - HEARTBEAT_MS) + LATENCY_MS;
const START: UnixMillis = 1_000_000;

/// What of the protocol is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a protection that can be taken away alone")]
struct Protections {
    /// Nothing is sent without a lease that is held, as the last thing before the first byte.
    last_check: bool,
    /// A change is taken only from the view that it was made from.
    compare_and_swap: bool,
    /// The lease runs from when the beat was sent, not from when its answer was read.
    from_sending: bool,
    /// A lease ends before others may call its holder dead.
    ends_in_time: bool,
    /// What was in flight counts as sent when it is taken over.
    sent_at_takeover: bool,
    /// That nothing was sent is nothing in the mouth of one from whom the operation was taken.
    fenced_word: bool,
}

const ALL: Protections = Protections {
    last_check: true,
    compare_and_swap: true,
    from_sending: true,
    ends_in_time: true,
    sent_at_takeover: true,
    fenced_word: true,
};

/// What may happen; the first number is which replica it happens to.
#[derive(Clone, Copy, Debug)]
enum Act {
    Pass(u64),
    /// Its process stands still, or goes on.
    Stall(usize),
    Wake(usize),
    /// Its process ends; the next one knows nothing.
    Die(usize),
    /// A beat whose answer is read at once, and what follows from what it shows.
    Turn(usize),
    /// A beat reaches the store; its answer is on its way, arrives, or is lost.
    Beat(usize),
    Hear(usize),
    Lose(usize),
    /// A client's request, or its repeat; and how much of the store's answer is heard.
    Begin(usize, Hearing),
    /// The check before an attempt is made ready; then the last one, and the first byte, which arrives so much later.
    Allow(usize),
    Send(usize, u64),
    /// What became of attempts by now is recorded.
    Report(usize, Hearing),
    /// The service is asked about what is in doubt.
    Ask(usize),
    /// What refused begins have left is looked for.
    Tidy(usize),
    /// The store goes away, or comes back.
    Away,
    Back,
}

/// A write that a process executes.
struct Execution {
    claim: Claim,
    is_allowed: bool,
    /// How long its process has not stood still since.
    awake_ms: u64,
    /// The request that was sent of it.
    sent: Option<usize>,
}

struct Process {
    ledger: Arc<Replica>,
    protection: Protection,
    watch: Watch,
    is_stalled: bool,
    unread: Option<Moment>,
    executions: Vec<Execution>,
}

/// The service: what it has done under the key.
struct Service(Arc<AtomicU32>);

impl Asker for Service {
    fn ask(
        &self,
        _: &str,
        _: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, AttemptError>> + Send + '_>> {
        let (status, body) =
            if self.0.load(Relaxed) > 0 { (StatusCode::OK, "{}") } else { (StatusCode::NOT_FOUND, "") };
        let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
        *answer.status_mut() = status;
        Box::pin(std::future::ready(Ok(answer)))
    }
}

struct World {
    with: Protections,
    honours_key: bool,
    clock: WallClock,
    store: Arc<Mutex<Store>>,
    processes: Vec<Process>,
    /// Requests by number: of which operation, when it arrives, and whether it has.
    requests: Vec<(u64, UnixMillis, bool)>,
    effects: Arc<AtomicU32>,
}

impl World {
    fn new(with: Protections, honours_key: bool) -> Self {
        let clock = WallClock::manual(START);
        let store = Store { with, rows: Vec::new(), instances: Vec::new(), is_away: false };
        let mut world = Self {
            with,
            honours_key,
            clock,
            store: Arc::new(Mutex::new(store)),
            processes: Vec::new(),
            requests: Vec::new(),
            effects: Arc::default(),
        };
        world.processes = (0..REPLICAS).map(|at| world.process(at)).collect();
        world
    }

    fn process(&self, at: usize) -> Process {
        // Their wall clocks are an hour apart.
        let ttl = if self.with.ends_in_time { TTL_MS } else { 4 * TTL_MS };
        let ledger = Replica::start(&self.store, &self.clock, ttl, at as u64 * 3_600_000);
        let kept: Arc<dyn Ledger> = Arc::clone(&ledger) as _;
        let protection =
            Protection::new(params(), "r".into(), "app".into(), kept, self.clock.clone(), self.honours_key)
                .with_total_timeout(TOTAL);
        let watch = Watch::new(Duration::from_millis(TTL_MS), Duration::from_millis(HEARTBEAT_MS));
        Process { ledger, protection, watch, is_stalled: false, unread: None, executions: Vec::new() }
    }

    async fn act(&mut self, act: Act) {
        let at = match act {
            Act::Pass(by) => return self.pass(by).await,
            Act::Away => return self.store.lock().is_away = true,
            Act::Back => return self.store.lock().is_away = false,
            Act::Wake(at) => return self.processes[at].is_stalled = false,
            Act::Die(at) => return self.die(at),
            Act::Stall(at)
            | Act::Turn(at)
            | Act::Beat(at)
            | Act::Hear(at)
            | Act::Lose(at)
            | Act::Begin(at, _)
            | Act::Allow(at)
            | Act::Send(at, _)
            | Act::Report(at, _)
            | Act::Ask(at)
            | Act::Tidy(at) => at,
        };
        let is_away = self.store.lock().is_away;
        if self.processes[at].is_stalled {
            return;
        }
        match act {
            Act::Stall(_) => self.processes[at].is_stalled = true,
            Act::Hear(_) => self.hear(at),
            Act::Lose(_) => self.processes[at].unread = None,
            Act::Allow(_) => self.allow(at).await,
            Act::Send(_, latency) => self.send(at, latency),
            // From here on the store is needed.
            Act::Turn(_) if is_away => self.processes[at].watch.missed(),
            _ if is_away => {}
            Act::Turn(_) => self.turn(at),
            Act::Beat(_) => self.processes[at].unread = self.processes[at].ledger.beat(),
            Act::Begin(_, hearing) => self.begin(at, hearing).await,
            Act::Report(_, hearing) => self.report(at, hearing).await,
            Act::Ask(_) => self.ask(at).await,
            Act::Tidy(_) => self.processes[at].ledger.tidy(),
            _ => unreachable!("it was handled before"),
        }
    }

    async fn pass(&mut self, by: u64) {
        let awake = self.processes.iter_mut().filter(|process| !process.is_stalled);
        let allowed = awake.flat_map(|process| &mut process.executions).filter(|execution| execution.is_allowed);
        allowed.for_each(|execution| execution.awake_ms += by);
        let by = Duration::from_millis(by);
        self.clock.advance(by);
        tokio::time::advance(by).await;
        let now = self.clock.now();
        for (_, arrives, has_arrived) in &mut self.requests {
            if *arrives <= now && !*has_arrived {
                *has_arrived = true;
                self.effects.fetch_add(1, Relaxed);
            }
        }
    }

    fn die(&mut self, at: usize) {
        self.processes[at].ledger.is_dead.store(true, Relaxed);
        self.processes[at] = self.process(at);
    }

    fn hear(&mut self, at: usize) {
        let (process, from_sending) = (&mut self.processes[at], self.with.from_sending);
        if let Some(sent) = process.unread.take() {
            process.ledger.lease.renew(if from_sending { sent } else { process.ledger.moment() });
        }
    }

    fn turn(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let Some(sent) = process.ledger.beat() else { return };
        process.ledger.lease.renew(sent);
        let me = process.ledger.instance();
        let others: Vec<(i64, i64)> = {
            let store = self.store.lock();
            let living = store.instances.iter().enumerate().filter(|(no, of)| *no as u128 != me.0 && !of.has_ended);
            living.map(|(no, of)| (i64::try_from(no).expect("few"), of.beat)).collect()
        };
        for (no, beat) in process.watch.look(&others, Instant::now()) {
            let mut store = self.store.lock();
            let instance = &mut store.instances[usize::try_from(no).expect("few")];
            instance.has_ended |= instance.beat == beat;
        }
        process.ledger.take_over();
    }

    async fn begin(&mut self, at: usize, hearing: Hearing) {
        let process = &mut self.processes[at];
        *process.ledger.hearing.lock() = hearing;
        let key = Key::from_text("k").expect("it is one");
        let parts = Request::post("/pay").body(()).expect("it is one").into_parts().0;
        let request = StoredRequest {
            method: Method::POST,
            target: "/pay".into(),
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        let with = RecordedWith { request: Some(request).filter(|_| self.honours_key), ..RecordedWith::default() };
        let begun = process.protection.begin_keeping(&key, KeyOwner::of(None), &parts, &Bytes::new(), &[], with).await;
        if let Begin::Execute(claim) = begun {
            process.executions.push(Execution { claim, is_allowed: false, awake_ms: 0, sent: None });
        }
        *process.ledger.hearing.lock() = Hearing::Good;
    }

    async fn allow(&mut self, at: usize) {
        for execution in &mut self.processes[at].executions {
            if !execution.is_allowed {
                execution.is_allowed = execution.claim.dispatched().await.is_ok();
            }
        }
    }

    fn send(&mut self, at: usize, latency: u64) {
        let (now, is_checked) = (self.clock.now(), self.with.last_check);
        for execution in &mut self.processes[at].executions {
            let may = !is_checked || execution.claim.may_send().is_ok();
            if execution.is_allowed && execution.sent.is_none() && execution.awake_ms < TOTAL_MS && may {
                execution.sent = Some(self.requests.len());
                self.requests.push((execution.claim.id().seq, now + latency % LATENCY_MS, false));
            }
        }
    }

    async fn report(&mut self, at: usize, hearing: Hearing) {
        let process = &mut self.processes[at];
        for mut execution in std::mem::take(&mut process.executions) {
            let ambiguous = Settlement::Ambiguous { reason: "reset", status: None, stored: None };
            let what = match execution.sent {
                None => Settlement::NotExecuted { reason: "connect_error" },
                Some(request) if self.requests[request].2 => Settlement::Response {
                    evidence: Evidence::Succeeded,
                    status: StatusCode::CREATED,
                    code: None,
                    retained: Retained::None,
                    of_state: false,
                },
                Some(_) => ambiguous,
            };
            *process.ledger.hearing.lock() = hearing;
            if self.with.fenced_word || execution.sent.is_some() {
                let _ = execution.claim.settle(what, Source::Response).await;
            } else {
                let _ = process.protection.apply(execution.claim.operation().clone(), &taken_at_its_word()).await;
            }
            *process.ledger.hearing.lock() = Hearing::Good;
        }
    }

    async fn ask(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let service = Service(Arc::clone(&self.effects));
        let unknown: Vec<Operation> = {
            let store = self.store.lock();
            store.rows.iter().map(|row| row.operation.clone()).filter(|of| of.state == State::Unknown).collect()
        };
        for operation in unknown {
            let Ok(Some((_, applied))) = process.protection.ask(operation, &service).await else { continue };
            let ledger = &process.ledger;
            let operation = applied.operation.clone();
            // Only its owner sends again, and not while whoever had it before may be sending.
            let taken_at = ledger.taken_over_at(operation.id);
            let is_soon = taken_at.is_some_and(|at| self.clock.now() < after(at, TOTAL));
            if !applied.asks_for(Action::Dispatch) || operation.owner != ledger.instance() || is_soon {
                continue;
            }
            let Some(mut claim) = process.protection.take_up(operation) else { continue };
            if claim.redispatched().await.is_ok() {
                process.executions.push(Execution { claim, is_allowed: true, awake_ms: 0, sent: None });
            }
        }
    }

    /// What is wrong by now.
    fn fault(&self) -> Option<&'static str> {
        if !self.honours_key && self.requests.len() > 1 {
            return Some("it was sent twice");
        }
        let freed: HashSet<u64> = {
            let store = self.store.lock();
            store.rows.iter().filter(|row| row.operation.frees_key()).map(|row| row.operation.id.seq).collect()
        };
        if self.requests.iter().any(|(seq, ..)| freed.contains(seq)) {
            return Some("its key is free, and it was done or is on its way");
        }
        let executions = self.processes.iter().flat_map(|process| &process.executions);
        let mut unsent = executions.filter(|of| of.is_allowed && of.sent.is_none() && of.awake_ms < TOTAL_MS);
        let may_still = unsent.any(|of| freed.contains(&of.claim.id().seq) && of.claim.may_send().is_ok());
        may_still.then_some("its key is free, and it may still be sent")
    }
}

fn taken_at_its_word() -> Event {
    Event::Observed(Observation {
        evidence: Evidence::NotExecuted,
        source: Source::Response,
        reason: "connect_error".into(),
        status: None,
        retained: Retained::None,
    })
}

fn params() -> Idempotency {
    let rule = |status: StatusCode, then| Rule { status: Some(status.into()), json: Vec::new(), then };
    let status = StatusQuery {
        method: Method::GET,
        path: "/by-ref/{key}".into(),
        rules: vec![
            rule(StatusCode::OK, Verdict::Evidence(Evidence::Succeeded)),
            rule(StatusCode::NOT_FOUND, Verdict::NotFound),
        ],
        settle_after: Duration::from_millis(SETTLE_AFTER_MS),
        fenced: false,
        shared: false,
        schedule: QuerySchedule::default(),
        rate_per_sec: 20.0,
    };
    let wait = Duration::from_millis(100);
    let backoff = Backoff { base: wait, max: wait, multiplier: 1.0, jitter: Jitter::None };
    Idempotency { status: Some(status), redispatch: Redispatch { attempts: 3, backoff }, ..Idempotency::default() }
}

/// Plays `acts`; what was wrong after one of them.
fn played(with: Protections, honours_key: bool, acts: &[Act]) -> Option<(usize, &'static str)> {
    play(with, honours_key, acts).1
}

/// How many requests are sent in that order of things, with which nothing is wrong.
fn requests(acts: &[Act]) -> usize {
    let (world, fault) = play(ALL, false, acts);
    assert_eq!(fault, None);
    world.requests.len()
}

/// How often each process may ask the service.
fn rates(acts: &[Act]) -> Vec<Option<f64>> {
    let (world, _) = play(ALL, false, acts);
    world.processes.iter().map(|process| process.protection.query_rate()).collect()
}

/// Whether something was taken over, sent, freed, and sent again by whoever may.
fn what_happened(acts: &[Act]) -> [bool; 4] {
    let (world, _) = play(ALL, true, acts);
    let store = world.store.lock();
    let any = |is: &dyn Fn(&Operation) -> bool| store.rows.iter().any(|row| is(&row.operation));
    [
        any(&|of| of.epoch > 1),
        any(&|of| of.state == State::Succeeded),
        any(&Operation::frees_key),
        any(&|of| of.redispatches > 0),
    ]
}

fn play(with: Protections, honours_key: bool, acts: &[Act]) -> (World, Option<(usize, &'static str)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::new(with, honours_key);
        for (at, act) in acts.iter().enumerate() {
            world.act(*act).await;
            if let Some(fault) = world.fault() {
                return (world, Some((at, fault)));
            }
        }
        (world, None)
    })
}
