//! A limit that threads share, its queue, and the permits it hands out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Adaptive, ConcurrencyLimit, CpuLoad, Overloaded,
    adapt::{Sample, initial},
    bbr::Shedder,
};

/// A concurrency limit; clones are the same limit.
#[derive(Clone, Debug)]
pub struct Limit {
    params: ConcurrencyLimit,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cpu: CpuLoad,
    state: Mutex<State>,
}

/// Whoever waits, waits because `in_flight >= limit`: every change of either keeps that true.
#[derive(Debug)]
struct State {
    params: ConcurrencyLimit,
    limit: u32,
    in_flight: u32,
    /// Only with [`Adaptive::Bbr`]; boxed, since its window is large and most limits have none.
    shedder: Option<Box<Shedder>>,
    /// Who waits, in order of arrival. A ticket that is gone from here was granted a place.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    next_ticket: u64,
}

/// A place among the requests in flight, free again when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped no longer limits anything"]
pub struct Permit {
    shared: Arc<Shared>,
    acquired: Instant,
    /// The service did the work.
    passed: bool,
    /// It was not free at once.
    waited: bool,
}

/// How a limit by CPU stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shedding {
    /// How many requests the service was seen to work at without making them wait; `None` if nothing was answered lately.
    pub capacity: Option<u32>,
    /// Whether requests beyond that are shed now.
    pub is_armed: bool,
}

/// A request in the queue; dropped, it leaves, or gives back the place it was just granted.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    ticket: u64,
    granted: oneshot::Receiver<()>,
    done: bool,
}

impl Limit {
    /// A limit with nothing in flight, that knows of no CPU.
    pub fn new(params: ConcurrencyLimit) -> Self {
        Self::watching(params, CpuLoad::unknown())
    }

    /// A limit with nothing in flight, that sheds by `cpu` if its parameters say so.
    pub fn watching(params: ConcurrencyLimit, cpu: CpuLoad) -> Self {
        let state = State {
            limit: initial(&params),
            in_flight: 0,
            shedder: shedder(&params),
            params: params.clone(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
        };
        Self { params, shared: Arc::new(Shared { cpu, state: Mutex::new(state) }) }
    }

    /// The parameters.
    pub fn params(&self) -> &ConcurrencyLimit {
        &self.params
    }

    /// The same requests in flight and waiting, under new parameters, which hold from now on for both handles. An adapted
    /// limit is kept unless `max_concurrent` or `adaptive` changed, and what was seen of the service unless the latter did.
    #[must_use]
    pub fn reconfigured(&self, params: ConcurrencyLimit) -> Self {
        let mut state = self.shared.state.lock();
        if params.max_concurrent != state.params.max_concurrent || params.adaptive != state.params.adaptive {
            state.limit = initial(&params);
        }
        if params.adaptive != state.params.adaptive {
            state.shedder = shedder(&params);
        }
        state.params = params.clone();
        state.grant();
        drop(state);
        Self { params, shared: Arc::clone(&self.shared) }
    }

    /// Takes a place now or not at all.
    pub fn try_acquire(&self, now: Instant) -> Result<Permit, Overloaded> {
        self.shared.state.lock().take(&self.shared.cpu, now)?;
        Ok(self.permit(now))
    }

    /// Takes a place, waiting for it up to `max_wait` in a queue of `max_queue`, first come, first served.
    pub async fn acquire(&self) -> Result<Permit, Overloaded> {
        let now = Instant::now();
        match self.try_acquire(now) {
            Err(full) if full == Overloaded::FULL && !self.params.max_wait.is_zero() => {}
            at_once => return at_once,
        }
        let Some(mut waiting) = self.enqueue(now)? else {
            return Ok(self.permit(now));
        };
        match tokio::time::timeout(self.params.max_wait, &mut waiting.granted).await {
            Ok(Ok(())) => {
                waiting.done = true;
                let mut permit = self.permit(Instant::now());
                permit.waited = true;
                Ok(permit)
            }
            // The sender lives in the queue until it is used, so only time can have run out.
            Ok(Err(_)) | Err(_) => Err(Overloaded::FULL),
        }
    }

    /// The permit for a place that was taken.
    fn permit(&self, acquired: Instant) -> Permit {
        Permit { shared: Arc::clone(&self.shared), acquired, passed: false, waited: false }
    }

    /// Joins the queue; `None` if a place was free after all, which is then taken.
    fn enqueue(&self, now: Instant) -> Result<Option<Waiting<'_>>, Overloaded> {
        let mut state = self.shared.state.lock();
        match state.take(&self.shared.cpu, now) {
            Ok(()) => return Ok(None),
            Err(full) if full == Overloaded::FULL => {}
            Err(shed) => return Err(shed),
        }
        if state.waiting.len() >= state.params.max_queue as usize {
            return Err(Overloaded::FULL);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let (grant, granted) = oneshot::channel();
        state.waiting.insert(ticket, grant);
        Ok(Some(Waiting { shared: &self.shared, ticket, granted, done: false }))
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.shared.state.lock().in_flight
    }

    /// How many may be in flight now.
    pub fn limit(&self) -> u32 {
        self.shared.state.lock().limit
    }

    /// Requests waiting for a place.
    pub fn queued(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// How it stands, if it sheds by CPU.
    pub fn shedding(&self, now: Instant) -> Option<Shedding> {
        let mut state = self.shared.state.lock();
        let shedder = state.shedder.as_mut()?;
        let is_armed = shedder.is_armed(self.shared.cpu.share(), now);
        Some(Shedding { capacity: shedder.capacity(now), is_armed })
    }
}

fn shedder(params: &ConcurrencyLimit) -> Option<Box<Shedder>> {
    match &params.adaptive {
        Some(Adaptive::Bbr(bbr)) => Some(Box::new(Shedder::new(bbr.clone(), Instant::now()))),
        Some(Adaptive::Aimd(_)) | None => None,
    }
}

impl State {
    /// Looks and takes under one lock, so it cannot over-admit; nobody who waits is overtaken.
    fn take(&mut self, cpu: &CpuLoad, now: Instant) -> Result<(), Overloaded> {
        if let Some(shedder) = &mut self.shedder
            && shedder.sheds(self.in_flight, cpu.share(), now)
        {
            return Err(Overloaded::SHED);
        }
        if self.in_flight >= self.limit {
            return Err(Overloaded::FULL);
        }
        self.in_flight += 1;
        Ok(())
    }

    fn release(&mut self) {
        self.in_flight -= 1;
        self.grant();
    }

    /// Gives free places to those who wait longest.
    fn grant(&mut self) {
        while self.in_flight < self.limit
            && let Some((_, grant)) = self.waiting.pop_first()
        {
            self.in_flight += 1;
            // A waiter removes its ticket before its receiver goes, so this one still listens; if it leaves before it hears
            // of it, it gives the place back.
            let _ = grant.send(());
        }
    }

    fn sample(&mut self, sample: Sample) {
        if let Some(Adaptive::Aimd(aimd)) = &self.params.adaptive {
            self.limit = aimd.next(self.limit, self.in_flight, sample);
        }
    }
}

impl Permit {
    /// The request ended well after `latency`; an adaptive limit learns from it.
    pub fn finish(mut self, latency: Duration) {
        self.observe_latency(latency);
    }

    /// The service refused, timed out or failed; an adaptive limit falls.
    pub fn dropped_by_upstream(self) {
        self.observe(Sample::Drop);
    }

    /// Lets an adaptive limit learn before the place is free: the response's head came after `latency`. One by CPU takes the
    /// whole time until then for its sample.
    pub fn observe_latency(&mut self, latency: Duration) {
        self.passed = true;
        self.observe(Sample::Latency(latency));
    }

    /// The same of a response that is the service's own error: it shows how slow the service is, not what it can do.
    pub fn observe_error(&mut self, latency: Duration) {
        self.observe(Sample::Latency(latency));
    }

    /// The same of a response by which the service says that it is overloaded: an adaptive limit falls at once, and the place
    /// is held on.
    pub fn observe_drop(&mut self) {
        self.observe(Sample::Drop);
    }

    /// When the place was taken.
    pub fn acquired(&self) -> Instant {
        self.acquired
    }

    /// Whether it stood in the queue for the place.
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    fn observe(&self, sample: Sample) {
        self.shared.state.lock().sample(sample);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if self.passed
            && let Some(shedder) = &mut state.shedder
        {
            let now = Instant::now();
            shedder.passed(now.saturating_duration_since(self.acquired), now);
        }
        state.release();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.shared.state.lock();
        if state.waiting.remove(&self.ticket).is_none() {
            state.release();
        }
    }
}
