//! What a configuration is while it is served.

mod aftermath;
pub(crate) mod breakers;
mod calls_out;
mod forget;
pub(crate) mod gauges;
pub(crate) mod named;
mod notices;
pub mod readiness;
mod recent;
pub(crate) mod resources;
pub(crate) mod route;
pub mod secured;
pub(crate) mod served;
mod shared_ledger;
pub(crate) mod snapshot;
pub(crate) mod told;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use self::{
    calls_out::CallsOut,
    notices::Notices,
    readiness::{Condition, Readiness},
    recent::RecentFailures,
    resources::Resources,
    served::Served,
    snapshot::Snapshot,
    told::Standing,
};
use crate::{
    config::model::Direction,
    listener::{Ending, Places},
    telemetry::{events::Events, logs::AccessLog, trace::Tracing},
};

/// What every worker and every request shares.
pub(crate) struct Runtime {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) resources: Resources,
    pub(crate) tracing: Tracing,
    pub(crate) access: Arc<AccessLog>,
    /// Those who watch what happens.
    pub(crate) events: Arc<Events>,
    /// How far the end of the process has come, for callers of the service.
    ending: watch::Sender<Ending>,
    /// The same for the service's own calls, which go on until it has ended.
    ending_outbound: watch::Sender<Ending>,
    /// The service's own calls.
    pub(crate) calls_out: CallsOut,
    pub(crate) places: Arc<Places>,
    /// Log lines for what happens to operations, breakers and upstreams.
    pub(crate) notices: Notices,
    /// Where the configuration came from, and what was found in it.
    pub(crate) served: Served,
    /// How things stood, for those who watch.
    standing: Standing,
    /// Endpoints that could not be connected to, lately.
    pub(crate) recent_failures: RecentFailures,
    /// The drain's time is over.
    pub(crate) cutting_off: watch::Sender<bool>,
    /// Another configuration is in force.
    pub(crate) reloaded: watch::Sender<()>,
    /// Whether readiness fails, by SIGTERM or by an operator.
    drain: Mutex<Drain>,
}

/// Whether traffic is turned away.
#[derive(Clone, Copy, Debug)]
enum Drain {
    No,
    /// An operator or a hook began it then, and may take it back.
    Since(Instant),
    /// The process ends; it was begun then.
    Final(Instant),
}

impl Drain {
    const fn began(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Since(began) | Self::Final(began) => Some(began),
        }
    }
}

/// The process ends: what it tells its clients is not taken back.
#[derive(Debug)]
pub(crate) struct IsEnding;

impl Runtime {
    /// Serving `snapshot` from now on, and witness of every change of an operation.
    pub(crate) fn new(snapshot: Snapshot, resources: Resources, tracing: Tracing, access: Arc<AccessLog>) -> Arc<Self> {
        let runtime = Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            resources,
            tracing,
            events: access.events(),
            access,
            ending: watch::Sender::new(Ending::No),
            ending_outbound: watch::Sender::new(Ending::No),
            calls_out: CallsOut::default(),
            places: Places::new(),
            notices: Notices::default(),
            served: Served::default(),
            standing: Standing::default(),
            recent_failures: RecentFailures::default(),
            cutting_off: watch::Sender::new(false),
            reloaded: watch::Sender::new(()),
            drain: Mutex::new(Drain::No),
        });
        let witness = Arc::downgrade(&runtime);
        runtime.resources.recorder.tell(witness);
        runtime
    }

    /// How far the end of the process has come, as it is told in that direction.
    pub(crate) const fn ending(&self, direction: Direction) -> &watch::Sender<Ending> {
        match direction {
            Direction::Inbound => &self.ending,
            Direction::Outbound => &self.ending_outbound,
        }
    }

    pub(crate) fn is_draining(&self, direction: Direction) -> bool {
        *self.ending(direction).borrow() != Ending::No
    }

    /// Whether the drain's time is over.
    pub(crate) fn is_cutting_off(&self) -> bool {
        *self.cutting_off.borrow()
    }

    /// How long an HTTP/1 connection may be idle now, where that is less than without a drain.
    pub(crate) fn idle_patience(&self, direction: Direction, delay: Duration) -> Option<Duration> {
        let ending = *self.ending(direction).borrow();
        let began = self.drain.lock().began();
        ending.idle_patience(began.map(|began| began.elapsed()).unwrap_or_default(), delay)
    }

    /// Resolves when the drain's time is over.
    pub(crate) async fn cut_off(&self) {
        // The sender is part of what is borrowed here, so it is not gone.
        let _ = self.cutting_off.subscribe().wait_for(|over| *over).await;
    }

    /// Lets readiness fail and tells clients of these directions to go elsewhere from now on; whether it did so already. What
    /// comes is served.
    pub(crate) fn begin_drain(&self, readiness: &Readiness, directions: &[Direction]) -> bool {
        let mut drain = self.drain.lock();
        let already = drain.began().is_some();
        if !already {
            *drain = Drain::Since(Instant::now());
        }
        self.turn_away(readiness, directions);
        already
    }

    /// The same for good, because the process ends; since when traffic has been turned away.
    pub(crate) fn begin_end(&self, readiness: &Readiness) -> Instant {
        let mut drain = self.drain.lock();
        let began = drain.began().unwrap_or_else(Instant::now);
        *drain = Drain::Final(began);
        self.turn_away(readiness, &[Direction::Inbound]);
        began
    }

    /// Takes a drain back: readiness no longer fails for it, and answers say nothing of it from now on. Whether there was one.
    ///
    /// # Errors
    /// The process ends.
    pub(crate) fn undo_drain(&self, readiness: &Readiness) -> Result<bool, IsEnding> {
        let mut drain = self.drain.lock();
        let was_draining = match *drain {
            Drain::No => false,
            Drain::Since(_) => true,
            Drain::Final(_) => return Err(IsEnding),
        };
        *drain = Drain::No;
        for direction in [Direction::Inbound, Direction::Outbound] {
            self.ending(direction).send_if_modified(|ending| std::mem::replace(ending, Ending::No) != Ending::No);
        }
        readiness.set(Condition::Draining, false);
        Ok(was_draining)
    }

    /// Under the lock of `drain`, so that of a drain and its end the later one stands.
    fn turn_away(&self, readiness: &Readiness, directions: &[Direction]) {
        readiness.set(Condition::Draining, true);
        for direction in directions {
            self.ending(*direction).send_if_modified(|ending| {
                let begins = *ending == Ending::No;
                if begins {
                    *ending = Ending::Draining;
                }
                begins
            });
        }
    }
}
