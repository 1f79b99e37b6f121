//! A breaker that threads share, and the permits it hands out.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    CallOutcome, CircuitBreaker, Ejections, Forced, Rejected, Snapshot, Trip,
    machine::{Machine, Ticket},
    window::Counts,
};

/// A circuit breaker; clones are the same breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    params: CircuitBreaker,
    machine: Mutex<Machine>,
}

/// Permission for one call. Dropped without [`record`](Self::record) it is a cancel: no sample, and a probe's place is free.
#[derive(Debug)]
#[must_use = "a permit that is dropped is a cancelled call"]
pub struct Permit {
    shared: Arc<Shared>,
    acquired: Instant,
    ticket: Option<Ticket>,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(params: CircuitBreaker) -> Self {
        let machine = Machine::new(&params, Instant::now());
        Self { shared: Arc::new(Shared { params, machine: Mutex::new(machine) }) }
    }

    /// A closed breaker that shares `group`'s bound on how many are open.
    pub fn in_group(params: CircuitBreaker, group: Arc<Ejections>) -> Self {
        let machine = Machine::new(&params, Instant::now()).in_group(group);
        Self { shared: Arc::new(Shared { params, machine: Mutex::new(machine) }) }
    }

    /// The parameters.
    pub fn params(&self) -> &CircuitBreaker {
        &self.shared.params
    }

    /// The breaker for a new configuration: the same one if the parameters are the same, else a closed one. Where an operator
    /// holds it survives either way.
    #[must_use]
    pub fn reconfigured(&self, params: CircuitBreaker) -> Self {
        if params == self.shared.params {
            return self.clone();
        }
        let machine = self.shared.machine.lock().renewed(&params, Instant::now());
        Self { shared: Arc::new(Shared { params, machine: Mutex::new(machine) }) }
    }

    /// It guards something else from now on: closed, held by nobody, with an empty window. Calls in flight no longer count.
    pub fn forget(&self, now: Instant) {
        self.shared.machine.lock().forget(&self.shared.params, now);
    }

    /// Asks to make a call now. Take it last before the call, so that nothing after it can strand a probe.
    pub fn acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        match self.shared.machine.lock().acquire(&self.shared.params, now) {
            Ok(ticket) => Ok(Permit { shared: Arc::clone(&self.shared), acquired: now, ticket: Some(ticket) }),
            Err(retry_after) => Err(Rejected { retry_after }),
        }
    }

    /// Whether a response of this status is an error: those in `errors`, or every 5xx.
    pub fn is_error(&self, status: StatusCode) -> bool {
        let errors = &self.shared.params.errors;
        if errors.is_empty() { status.is_server_error() } else { errors.contains(&status) }
    }

    /// What the breaker looks like now.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.shared.machine.lock().snapshot(&self.shared.params, now)
    }

    /// What completed in each tenth of the window, the oldest first.
    pub fn buckets(&self, now: Instant) -> [Counts; 10] {
        self.shared.machine.lock().buckets(now)
    }

    /// Why it opened last, if it ever did.
    pub fn trip(&self) -> Option<Trip> {
        self.shared.machine.lock().trip()
    }

    /// Holds the breaker until [`release`](Self::release). Calls in flight no longer count.
    pub fn force(&self, forced: Forced) {
        self.shared.machine.lock().force(forced, Instant::now());
    }

    /// Lets a held breaker go: closed, with an empty window. A breaker that is not held stays as it is.
    pub fn release(&self) {
        self.shared.machine.lock().release(Instant::now());
    }
}

impl Permit {
    /// The call ended at `now`; its latency since the permit decides whether it was slow.
    pub fn record(self, outcome: CallOutcome, now: Instant) {
        let latency = now.saturating_duration_since(self.acquired);
        self.record_after(outcome, latency, now);
    }

    /// The same of a call whose answer began after `latency` and told its outcome only at its end, `now`: how long a stream lasts
    /// does not make it slow.
    pub fn record_after(mut self, outcome: CallOutcome, latency: Duration, now: Instant) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.machine.lock().record(&self.shared.params, ticket, outcome, latency, now);
        }
    }

    /// Whether this call is a probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.ticket.is_some_and(|ticket| ticket.probe)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && ticket.probe
        {
            self.shared.machine.lock().cancel(ticket);
        }
    }
}
