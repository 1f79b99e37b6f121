//! What services and clients share: who has arrived, who acted, and the tally of what clients saw.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clients::Manner;

/// Violations that are kept; the first ones tell, the rest repeats.
const SHOWN: usize = 20;

/// What one policy's clients saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests of which the proxy certainly knows.
    pub(crate) sent: u64,
    /// Answers by class of status, from 1xx.
    pub(crate) classes: [u64; 5],
    pub(crate) rate_limited: u64,
    pub(crate) overloaded: u64,
    pub(crate) circuit_open: u64,
    /// Answers of the service, or what was made of their failures.
    pub(crate) admitted: u64,
    /// Answers whose body broke off, as the service did.
    pub(crate) truncated: u64,
    /// HTTP/2 answers of which only the end was seen: a reset overtakes what was not read.
    pub(crate) torn: u64,
    /// The client left while the service had the request and before an answer.
    pub(crate) left_held: u64,
    /// Those of them that left with a reset, which nobody can take for the end of what they had to say.
    pub(crate) reset_held: u64,
    /// The client left inside its own body.
    pub(crate) left_upload: u64,
    /// The client left inside the answer's body.
    pub(crate) left_body: u64,
    /// The client left while it waited for its turn.
    pub(crate) left_queued: u64,
}

impl Tally {
    /// Answers that were read to their end, or as far as there was one.
    pub(crate) fn answered(&self) -> u64 {
        self.classes.iter().sum::<u64>() + self.torn
    }

    /// A client left a request that a service had.
    pub(crate) fn leave(&mut self, manner: Manner, resets: bool) {
        self.sent += 1;
        self.admitted += 1;
        match manner {
            Manner::LeaveHeld => {
                self.left_held += 1;
                self.reset_held += u64::from(resets);
            }
            _ => self.left_upload += 1,
        }
    }

    pub(crate) const fn left(&self) -> u64 {
        self.left_held + self.left_upload + self.left_body + self.left_queued
    }
}

/// What everybody shares.
#[derive(Default)]
pub(crate) struct World {
    visits: Mutex<HashMap<u64, watch::Sender<Stage>>>,
    next: AtomicU64,
    /// Whether the services fail more often than not.
    pub(crate) trouble: AtomicBool,
    /// No client begins another request.
    pub(crate) stop: AtomicBool,
    effects: Mutex<HashMap<String, u32>>,
    tallies: Mutex<BTreeMap<&'static str, Tally>>,
    wrong: Mutex<Vec<String>>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    UnderWay,
    /// A service has read its head.
    Arrived,
    /// A service that holds it may answer.
    Released,
}

/// A request on its way; forgotten when dropped.
pub(crate) struct Visit {
    world: Arc<World>,
    pub(crate) id: u64,
    stage: watch::Receiver<Stage>,
}

impl World {
    /// A new request.
    pub(crate) fn visit(self: &Arc<Self>) -> Visit {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, stage) = watch::channel(Stage::UnderWay);
        self.visits.lock().insert(id, sender);
        Visit { world: Arc::clone(self), id, stage }
    }

    /// A service has read the head of this one.
    pub(crate) fn arrived(&self, id: u64) {
        if let Some(stage) = self.visits.lock().get(&id) {
            stage.send_if_modified(|stage| {
                let is_new = *stage == Stage::UnderWay;
                if is_new {
                    *stage = Stage::Arrived;
                }
                is_new
            });
        }
    }

    /// Waits until the client releases this one; for ever, if it left.
    pub(crate) async fn released(&self, id: u64) {
        let stage = self.visits.lock().get(&id).map(watch::Sender::subscribe);
        if let Some(mut stage) = stage
            && stage.wait_for(|stage| *stage == Stage::Released).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// The service did what the key stands for.
    pub(crate) fn acts(&self, key: &str) {
        *self.effects.lock().entry(key.to_owned()).or_default() += 1;
    }

    /// How often it did.
    pub(crate) fn effects(&self, key: &str) -> u32 {
        self.effects.lock().get(key).copied().unwrap_or_default()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, policy: &'static str, change: impl FnOnce(&mut Tally)) {
        change(self.tallies.lock().entry(policy).or_default());
    }

    pub(crate) fn tally(&self, policy: &str) -> Tally {
        self.tallies.lock().get(policy).cloned().unwrap_or_default()
    }

    pub(crate) fn condemn(&self, what: String) {
        let mut wrong = self.wrong.lock();
        if wrong.len() < SHOWN {
            wrong.push(what);
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.wrong.lock().clone()
    }
}

impl Visit {
    /// Waits until a service has read its head.
    pub(crate) async fn arrived(&self) {
        let mut stage = self.stage.clone();
        let _ = stage.wait_for(|stage| *stage != Stage::UnderWay).await;
    }

    pub(crate) fn has_arrived(&self) -> bool {
        *self.stage.borrow() != Stage::UnderWay
    }

    /// Lets a service that holds it answer.
    pub(crate) fn release(&self) {
        if let Some(stage) = self.world.visits.lock().get(&self.id) {
            stage.send_replace(Stage::Released);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.world.visits.lock().remove(&self.id);
    }
}
