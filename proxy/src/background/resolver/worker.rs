//! The worker: looks what is due, and starts what may start.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mainstay_policies::{
    circuit_breaker::State as BreakerState,
    idempotency::query::Held,
    operation::{
        Event, KeptRequest, Operation, OperationId, State, StepPolicy, UnixMillis,
        ledger::{Due, LedgerError},
        step::after,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    clock,
    health::Health,
    lanes::Lanes,
    open::{self, PAGE},
    work::{Done, Work},
};
use crate::{
    config::model::Direction,
    faults::{self, Pitfall},
    runtime::{Runtime, resources::Resources, snapshot::Snapshot},
};

/// Between two looks while something waits for its turn.
const TICK: Duration = Duration::from_millis(25);
/// Between two looks while nothing is due: what comes to be in doubt is noticed this late.
const IDLE: Duration = Duration::from_millis(100);
/// After the ledger refused a look.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at breakers, at the whole of what is due, and at the oldest.
const SECOND: Duration = Duration::from_secs(1);
/// Between two counts of what waits for a person: it looks at everything that is open.
const CENSUS_EVERY: Duration = Duration::from_secs(10);
/// Operations of one upstream that are worked on at once: at 20/s as many as a status endpoint that hangs can hold.
const RUNNING: usize = 128;
/// Turns that are booked ahead whatever the rate, so that callers who ask cannot take them all, and how far ahead.
const BOOKED: usize = 2;
const BOOKED_AHEAD: Duration = Duration::from_secs(2);
/// How far ahead turns are booked beyond those: as long as may pass until the next look.
const LOOK_AHEAD: Duration = Duration::from_millis(50);
/// Dispatches per second to an upstream that has no status endpoint with a rate of its own: the default rate of queries.
const DISPATCHES_PER_SEC: f64 = 20.0;
/// How long an operation whose route has gone waits for it to come back, before the next look and in all.
const ORPHAN_PAUSE: Duration = Duration::from_mins(1);
const ORPHAN_PATIENCE: Duration = Duration::from_hours(24);
/// The same once a person was called.
const SELDOM: Duration = Duration::from_hours(1);
/// Routes that have gone are named in the log once, and as many at most.
const ORPHANS_NAMED: usize = 1024;
/// Why an upstream is asked before its time.
const RECOVERED: &str = "the upstream has recovered";

/// Resolves until it is aborted.
pub(crate) async fn run(runtime: Arc<Runtime>) {
    let (reports, mut inbox) = mpsc::unbounded_channel();
    let mut worker = Worker::new(runtime, reports);
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            report = inbox.recv() => worker.take(report).await,
            () = sleep(pause) => {}
        }
        while let Ok(report) = inbox.try_recv() {
            worker.take(Some(report)).await;
        }
        pause = match worker.look().await {
            Ok(()) => worker.pause(),
            Err(error) => {
                tracing::warn!(%error, "the resolver cannot read the ledger");
                LEDGER_PAUSE
            }
        };
    }
}

/// What the tasks say. As many are on their way as operations are being worked on, or twice as many.
enum Report {
    /// The turn has come.
    Turn(Arc<str>),
    /// It is done.
    Done(Arc<str>, OperationId, Done),
}

/// One operation that is being worked on. However that ends, its lane gets its place back.
struct Running {
    reports: mpsc::UnboundedSender<Report>,
    upstream: Arc<str>,
    id: OperationId,
    waits_for_turn: bool,
    done: Done,
}

impl Running {
    fn new(reports: mpsc::UnboundedSender<Report>, upstream: Arc<str>, id: OperationId) -> Self {
        Self { reports, upstream, id, waits_for_turn: true, done: Done::default() }
    }

    fn ends_with(&mut self, done: Done) {
        self.done = done;
    }

    fn turn_has_come(&mut self) {
        if std::mem::take(&mut self.waits_for_turn) {
            let _ = self.reports.send(Report::Turn(Arc::clone(&self.upstream)));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(operation = %self.id, "work on an operation ended with a panic; it is due again");
        }
        self.turn_has_come();
        let done = std::mem::take(&mut self.done);
        // Nobody takes it if the worker has gone, and then its lanes have gone with it.
        let _ = self.reports.send(Report::Done(Arc::clone(&self.upstream), self.id, done));
    }
}

struct Worker {
    runtime: Arc<Runtime>,
    reports: mpsc::UnboundedSender<Report>,
    lanes: Lanes,
    health: Health,
    /// Operations for which the status endpoint named a time.
    held: HashSet<(OperationId, UnixMillis)>,
    orphans: HashSet<(Arc<str>, Arc<str>)>,
    /// How far the ledger's index was read.
    read_to: Option<(UnixMillis, u64)>,
    next_second: Instant,
    next_census: Instant,
    /// A drain has been seen.
    has_drained: bool,
}

impl Worker {
    fn new(runtime: Arc<Runtime>, reports: mpsc::UnboundedSender<Report>) -> Self {
        let now = Instant::now();
        // A worker that follows one which ended by a fault follows the clock from where that one left it.
        runtime.resources.gate.clock_starts(runtime.resources.clock.now());
        Self {
            runtime,
            reports,
            lanes: Lanes::default(),
            health: Health::default(),
            held: HashSet::new(),
            orphans: HashSet::new(),
            read_to: None,
            next_second: now,
            next_census: now,
            has_drained: false,
        }
    }

    fn now(&self) -> UnixMillis {
        self.runtime.resources.clock.now()
    }

    fn pause(&self) -> Duration {
        if self.lanes.len() > 0 {
            return TICK;
        }
        let due = self.runtime.resources.ledger.next_due();
        let until = due.map_or(IDLE, |due| Duration::from_millis(due.saturating_sub(self.now())));
        until.clamp(Duration::from_millis(1), IDLE)
    }

    async fn take(&mut self, report: Option<Report>) {
        match report {
            Some(Report::Turn(upstream)) => {
                if let Some(lane) = self.lanes.lane(&upstream) {
                    lane.booked -= 1;
                }
            }
            Some(Report::Done(upstream, id, done)) => {
                self.lanes.end(&upstream, id);
                let Some(heard) = done.heard else { return };
                if let Some(wait) = heard.retry_after {
                    self.held.insert((id, after(self.now(), wait)));
                }
                if self.health.heard(&upstream, heard.is_up, Instant::now()) {
                    self.pull(&upstream, can_be_settled, RECOVERED).await;
                }
            }
            None => {}
        }
    }

    async fn look(&mut self) -> Result<(), LedgerError> {
        faults::stumble(Pitfall::Look);
        self.follow_clock().await?;
        self.ask_before_the_end().await;
        let now = Instant::now();
        let is_whole = now >= self.next_second;
        if is_whole {
            self.next_second = now + SECOND;
            self.look_at_breakers(now).await;
            self.look_for_silent(now).await;
        }
        self.feed(is_whole).await?;
        let snapshot = self.runtime.snapshot.load_full();
        for upstream in self.lanes.upstreams() {
            self.start(&snapshot, &upstream).await?;
        }
        self.lanes.tidy();
        if is_whole {
            self.count(now).await?;
        }
        Ok(())
    }

    /// Takes in what is due. All of it once a second; between, what has come after the last look.
    async fn feed(&mut self, is_whole: bool) -> Result<(), LedgerError> {
        let now = self.now();
        let mut from = if is_whole || self.lanes.len() < PAGE { None } else { self.read_to };
        loop {
            let due = self.runtime.resources.ledger.due(now, from, PAGE).await?;
            let is_last = due.len() < PAGE;
            from = due.last().map(Due::place).or(from);
            for due in due {
                self.lanes.add(due);
            }
            if is_last {
                self.read_to = from;
                return Ok(());
            }
        }
    }

    /// Starts what may start of one upstream's operations.
    async fn start(&mut self, snapshot: &Arc<Snapshot>, upstream: &Arc<str>) -> Result<(), LedgerError> {
        while let Some(id) = self.lanes.first(upstream) {
            let Some(lane) = self.lanes.lane(upstream).filter(|lane| lane.running < RUNNING) else { break };
            let patience = if lane.booked < BOOKED { BOOKED_AHEAD } else { LOOK_AHEAD };
            let found = self.runtime.resources.ledger.read(id).await?;
            let now = self.now();
            let me = self.runtime.resources.ledger.instance();
            let due = found.filter(|operation| operation.due_at().is_some_and(|at| at <= now) && operation.owner == me);
            let Some(operation) = due else {
                self.lanes.skip(upstream);
                continue;
            };
            let Some((route, protection)) = snapshot.route_of(&operation) else {
                self.lanes.skip(upstream);
                self.wait_for_route(operation, now).await?;
                continue;
            };
            let asks = protection.query_rate().filter(|_| operation.status_target.is_some());
            let dispatches = protection.step_policy().redispatch.is_some() && operation.request == KeptRequest::Kept;
            if operation.state == State::Pending || (asks.is_none() && !dispatches) {
                self.lanes.skip(upstream);
                // Time alone moves it on.
                protection.apply(operation, &Event::Due).await?;
                continue;
            }
            let gate = &self.runtime.resources.gate;
            if asks.is_none() && gate.is_attempted(id) {
                self.lanes.skip(upstream);
                protection.apply(operation, &Event::PutOff { until: after(now, SECOND) }).await?;
                continue;
            }
            match gate.enter(id, upstream, asks.unwrap_or(DISPATCHES_PER_SEC), patience) {
                Ok(permit) => {
                    self.lanes.start(upstream);
                    let work = Work { runtime: self.runtime.clone(), snapshot: snapshot.clone(), route, protection };
                    let mut running = Running::new(self.reports.clone(), Arc::clone(upstream), id);
                    // Ends by its timeouts; what dies with the process is due again.
                    tokio::spawn(async move {
                        permit.turn().await;
                        running.turn_has_come();
                        match Box::pin(work.run(id, permit)).await {
                            Ok(done) => running.ends_with(done),
                            Err(error) => {
                                tracing::warn!(%error, operation = %id, "what is known of a write could not be recorded");
                            }
                        }
                    });
                }
                // Somebody asks already; if nothing comes of it, it is due still.
                Err(Held::InFlight) => self.lanes.skip(upstream),
                Err(Held::Rate) => break,
            }
        }
        Ok(())
    }

    /// The route of an operation, its upstream or its protection has gone from the configuration. It may come back.
    async fn wait_for_route(&mut self, operation: Operation, now: UnixMillis) -> Result<(), LedgerError> {
        let name = (Arc::clone(&operation.route), Arc::clone(&operation.upstream));
        if self.orphans.len() < ORPHANS_NAMED && self.orphans.insert(name) {
            tracing::warn!(
                route = %operation.route, upstream = %operation.upstream,
                "operations of this route are not resolved: it is configured no more"
            );
        }
        let since = operation.dispatched_at.unwrap_or(operation.created_at);
        let is_hopeless = operation.state == State::Pending || now >= after(since, ORPHAN_PATIENCE);
        let event = match operation.attention {
            // A person was called already.
            Some(_) => Event::PutOff { until: after(now, SELDOM) },
            None if is_hopeless => Event::Due,
            None => Event::PutOff { until: after(now, ORPHAN_PAUSE) },
        };
        self.runtime.resources.recorder.apply(operation, &event, &StepPolicy::NONE).await?;
        Ok(())
    }

    /// Soon nobody will be there to ask, and perhaps nobody to answer: everything in doubt is asked about now.
    async fn ask_before_the_end(&mut self) {
        if std::mem::replace(&mut self.has_drained, self.runtime.is_draining(Direction::Inbound)) || !self.has_drained {
            return;
        }
        let upstreams: Vec<Arc<str>> = self.runtime.snapshot.load().upstreams.keys().cloned().collect();
        for upstream in upstreams {
            // Nothing is sent again before its time for that.
            let can_be_asked = |operation: &Operation| operation.status_target.is_some();
            self.pull(&upstream, can_be_asked, "this process drains").await;
        }
    }

    /// A service that answers no question is asked one now and then, also when all that waits for it was given up: else it would
    /// be heard only within the hour that those sleep.
    async fn look_for_silent(&mut self, now: Instant) {
        let snapshot = self.runtime.snapshot.load_full();
        let patience = |upstream: &Arc<str>| {
            let routes = snapshot.routes.iter().filter(|route| route.upstream.params().name == *upstream);
            let asked = routes.filter_map(|route| route.protection.as_ref()?.step_policy().asking);
            asked.map(|asking| asking.schedule.max).min().unwrap_or(SELDOM).max(SECOND)
        };
        for upstream in self.health.unheard(patience, now) {
            let can_be_asked = |operation: &Operation| operation.status_target.is_some();
            if let Err(error) = self.bring_forward(&upstream, can_be_asked, 1).await {
                tracing::warn!(%error, %upstream, "cannot look whether the upstream is back");
            }
        }
    }

    /// An upstream has recovered, or will not be asked for long: what waits for it is due now, and the gate spreads it.
    async fn pull(&mut self, upstream: &Arc<str>, is_meant: impl Fn(&Operation) -> bool, why: &'static str) {
        match self.bring_forward(upstream, is_meant, usize::MAX).await {
            Ok(0) => {}
            Ok(operations) => tracing::info!(%upstream, operations, "{why}: asking it now"),
            Err(error) => tracing::warn!(%error, %upstream, "operations sleep their backoff out"),
        }
    }

    /// Makes what waits for an upstream due now, those first that would be next, and `most` at most. Where the endpoint itself has
    /// named a time, that stands; so does the time of what only waits for a late answer.
    async fn bring_forward(
        &mut self,
        upstream: &Arc<str>,
        is_meant: impl Fn(&Operation) -> bool,
        most: usize,
    ) -> Result<usize, LedgerError> {
        let now = self.now();
        self.held.retain(|(_, until)| *until > now);
        let held: HashSet<_> = self.held.iter().map(|(id, _)| *id).collect();
        let mut brought = 0;
        // In the order in which they are due.
        for due in open::open(self.runtime.resources.ledger.as_ref()).await? {
            if brought == most {
                break;
            }
            if due.upstream != *upstream || due.at <= now || held.contains(&due.id) {
                continue;
            }
            let found = self.runtime.resources.ledger.read(due.id).await?;
            if let Some(operation) = found.filter(|found| found.state == State::Unknown && is_meant(found)) {
                let event = Event::DueBy { at: now };
                self.runtime.resources.recorder.apply(operation, &event, &StepPolicy::NONE).await?;
                brought += 1;
            }
        }
        Ok(brought)
    }

    async fn look_at_breakers(&mut self, now: Instant) {
        let snapshot = self.runtime.snapshot.load_full();
        for upstream in snapshot.upstreams.keys() {
            let routes = snapshot.routes.iter().filter(|route| route.upstream.params().name == *upstream);
            let are_closed =
                routes.filter(|route| route.protection.is_some()).flat_map(|route| route.breakers.all()).all(
                    |(_, breaker)| !matches!(breaker.snapshot(now).state, BreakerState::Open | BreakerState::HalfOpen),
                );
            if self.health.breakers(upstream, are_closed, now) {
                self.pull(upstream, can_be_settled, RECOVERED).await;
            }
        }
    }

    /// See the module's documentation: times on record follow a wall clock that jumps.
    async fn follow_clock(&self) -> Result<(), LedgerError> {
        let Resources { recorder, gate, clock, .. } = &self.runtime.resources;
        let snapshot = self.runtime.snapshot.load_full();
        let longest = |of: &Operation| snapshot.route_of(of).map_or(ORPHAN_PAUSE, |(_, of)| of.longest_wait());
        if let Some(jump) = clock::follow(recorder, gate, clock.now(), longest).await? {
            self.runtime.resources.metrics.resolver().clock_jumped(jump);
        }
        Ok(())
    }

    async fn count(&mut self, now: Instant) -> Result<(), LedgerError> {
        let resources = &self.runtime.resources;
        resources.metrics.resolver().waiting(self.lanes.depths());
        let oldest = resources.ledger.oldest_unknown().await?;
        let oldest = oldest.map_or(0, |began| self.now().saturating_sub(began));
        resources.metrics.resolver().unresolved(oldest);
        if now >= self.next_census {
            self.next_census = now + CENSUS_EVERY;
            resources.metrics.resolver().flagged(resources.ledger.flagged().await?);
        }
        Ok(())
    }
}

/// Whether something can be done about it before its time: what neither can be asked about nor sent again waits for its late
/// answer.
fn can_be_settled(operation: &Operation) -> bool {
    operation.status_target.is_some() || operation.request == KeptRequest::Kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a panic would take a place of its lane for good, and after `RUNNING` of them nothing would be asked any more.
    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let id = OperationId { seq: 1, tag: 1 };
        for turn_had_come in [false, true] {
            let (reports, mut inbox) = mpsc::unbounded_channel();
            let mut running = Running::new(reports, "app".into(), id);
            let work = tokio::spawn(async move {
                if turn_had_come {
                    running.turn_has_come();
                }
                let _held = &mut running;
                panic!("on purpose");
            });
            assert!(work.await.unwrap_err().is_panic());
            assert!(matches!(inbox.recv().await, Some(Report::Turn(_))), "{turn_had_come}");
            assert!(matches!(inbox.recv().await, Some(Report::Done(_, done, Done { heard: None })) if done == id));
            assert!(inbox.recv().await.is_none(), "each once");
        }
    }
}
