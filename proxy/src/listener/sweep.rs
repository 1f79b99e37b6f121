//! All connections of a worker, looked at now and then: those that outlast their phase are closed.

use std::{sync::Arc, time::Duration};

use mainstay_policies::operation::UnixMillis;
use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::Instant};

use super::{
    phase::{Connection, Patience},
    places::Place,
    ticks::{Ticks, set_date},
};

/// The HTTP/1 connections of one worker.
pub(crate) struct Connections {
    began: Instant,
    ticks: Arc<Ticks>,
    all: Mutex<Vec<(Arc<Connection>, AbortHandle)>>,
}

impl Connections {
    pub(crate) fn new(wall: UnixMillis) -> Self {
        let ticks = Arc::new(Ticks::default());
        set_date(wall);
        Self { began: Instant::now(), ticks, all: Mutex::new(Vec::new()) }
    }

    /// `age`: how old it may grow.
    pub(crate) fn open(&self, place: Place, age: Option<Duration>) -> Arc<Connection> {
        Arc::new(Connection::new(self.ticks.clone(), place, age))
    }

    /// Lets the sweep end the connection's task.
    pub(crate) fn watch(&self, connection: Arc<Connection>, task: AbortHandle) {
        self.all.lock().push((connection, task));
    }

    /// Ends what takes too long and forgets what has ended. Runs on the worker's thread, so no connection is being polled
    /// meanwhile.
    pub(crate) fn sweep(&self, limits: &Patience, wall: UnixMillis) {
        let now = self.began.elapsed().as_millis() as u32;
        self.ticks.set(now);
        set_date(wall);
        self.all.lock().retain(|(connection, task)| {
            if task.is_finished() {
                return false;
            }
            connection.answers.sweep(now);
            let overdue = connection.overdue(now, limits);
            if overdue {
                task.abort();
            }
            !overdue
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            phase::Phase,
            places::Places,
            ticks::{SWEEP_EVERY, millis},
        },
        *,
    };
    use crate::wire::direction::Direction;

    #[tokio::test]
    async fn nothing_is_cut_off_before_its_time_whenever_it_began_between_two_sweeps() {
        let ticks = Arc::new(Ticks::default());
        let connections = Connections { began: Instant::now(), ticks: ticks.clone(), all: Mutex::new(Vec::new()) };
        let limits = |header_timeout, keep_alive| Patience {
            header_timeout,
            keep_alive,
            aged: keep_alive,
            draining: None,
            draining_outbound: None,
        };
        let limit = Duration::from_millis(400);
        let sweep = millis(SWEEP_EVERY);
        for after_a_sweep in 0..sweep {
            for phase in [Phase::Head, Phase::Idle] {
                let connection = connections.open(Places::new().take(1, Direction::Inbound).await, None);
                ticks.set(1_000);
                connection.enter(phase);
                let began = 1_000 + after_a_sweep;
                let end =
                    (1..10).map(|nth| 1_000 + nth * sweep).find(|&now| connection.overdue(now, &limits(limit, limit)));
                let took = Duration::from_millis(u64::from(end.unwrap() - began));
                assert!(took >= limit && took <= limit + 2 * SWEEP_EVERY, "{phase:?}: {took:?}");
            }
        }
    }
}
