//! A limit that threads share, its queue, and the permits it hands out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    ConcurrencyLimit, Overloaded,
    adapt::{Sample, initial},
};

/// A concurrency limit; clones are the same limit.
#[derive(Clone, Debug)]
pub struct Limit {
    params: ConcurrencyLimit,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

/// Whoever waits, waits because `in_flight >= limit`: every change of either keeps that true.
#[derive(Debug)]
struct State {
    params: ConcurrencyLimit,
    limit: u32,
    in_flight: u32,
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
}

/// A request in the queue; dropped, it leaves, or gives back the place it was just granted.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    ticket: u64,
    granted: oneshot::Receiver<()>,
    done: bool,
}

impl Limit {
    /// A limit with nothing in flight.
    pub fn new(params: ConcurrencyLimit) -> Self {
        let state = State {
            limit: initial(&params),
            params: params.clone(),
            in_flight: 0,
            waiting: BTreeMap::new(),
            next_ticket: 0,
        };
        Self { params, shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// The parameters.
    pub fn params(&self) -> &ConcurrencyLimit {
        &self.params
    }

    /// The same requests in flight and waiting, under new parameters, which hold from now on for both handles. An adapted
    /// limit is kept unless `max_concurrent` or `adaptive` changed.
    #[must_use]
    pub fn reconfigured(&self, params: ConcurrencyLimit) -> Self {
        let mut state = self.shared.state.lock();
        if params.max_concurrent != state.params.max_concurrent || params.adaptive != state.params.adaptive {
            state.limit = initial(&params);
        }
        state.params = params.clone();
        state.grant();
        drop(state);
        Self { params, shared: Arc::clone(&self.shared) }
    }

    /// Takes a place now or not at all.
    pub fn try_acquire(&self, now: Instant) -> Result<Permit, Overloaded> {
        if self.shared.state.lock().take() {
            Ok(Permit { shared: Arc::clone(&self.shared), acquired: now })
        } else {
            Err(Overloaded::NOW)
        }
    }

    /// Takes a place, waiting for it up to `max_wait` in a queue of `max_queue`, first come, first served.
    pub async fn acquire(&self) -> Result<Permit, Overloaded> {
        if let Ok(permit) = self.try_acquire(Instant::now()) {
            return Ok(permit);
        }
        if self.params.max_wait.is_zero() {
            return Err(Overloaded::NOW);
        }
        let Some(mut waiting) = self.enqueue()? else {
            return Ok(Permit { shared: Arc::clone(&self.shared), acquired: Instant::now() });
        };
        match tokio::time::timeout(self.params.max_wait, &mut waiting.granted).await {
            Ok(Ok(())) => {
                waiting.done = true;
                Ok(Permit { shared: Arc::clone(&self.shared), acquired: Instant::now() })
            }
            // The sender lives in the queue until it is used, so only time can have run out.
            Ok(Err(_)) | Err(_) => Err(Overloaded::NOW),
        }
    }

    /// Joins the queue; `None` if a place was free after all, which is then taken.
    fn enqueue(&self) -> Result<Option<Waiting<'_>>, Overloaded> {
        let mut state = self.shared.state.lock();
        if state.take() {
            return Ok(None);
        }
        if state.waiting.len() >= state.params.max_queue as usize {
            return Err(Overloaded::NOW);
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
}

impl State {
    /// Looks and takes under one lock, so it cannot over-admit; nobody who waits is overtaken.
    fn take(&mut self) -> bool {
        let free = self.in_flight < self.limit;
        if free {
            self.in_flight += 1;
        }
        free
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
        if let Some(aimd) = &self.params.adaptive {
            self.limit = aimd.next(self.limit, self.in_flight, sample);
        }
    }
}

impl Permit {
    /// The request ended well after `latency`; an adaptive limit learns from it.
    pub fn finish(self, latency: Duration) {
        self.observe(Sample::Latency(latency));
    }

    /// The service refused, timed out or failed; an adaptive limit falls.
    pub fn dropped_by_upstream(self) {
        self.observe(Sample::Drop);
    }

    /// Lets an adaptive limit learn before the place is free: the response's head came after `latency`.
    pub fn observe_latency(&self, latency: Duration) {
        self.observe(Sample::Latency(latency));
    }

    /// When the place was taken.
    pub fn acquired(&self) -> Instant {
        self.acquired
    }

    fn observe(&self, sample: Sample) {
        self.shared.state.lock().sample(sample);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state.lock().release();
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
