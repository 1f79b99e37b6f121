//! What is known of an attempt before it has ended.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mainstay_policies::evidence::Sent;
use parking_lot::Mutex;

use crate::wire::peer::{Met, Peer};

/// Whether a request may have been sent: what is known of an attempt that is cut off by time. And whether it may still be sent
/// now: asked as the last thing before its first byte goes out, however long the way there took, and before the rest of it does.
#[derive(Default)]
pub struct Progress {
    is_sent: AtomicBool,
    /// One more than the endpoint that stands in for the one that was picked; 0: none does.
    stand_in: AtomicUsize,
    /// Endpoints that could not be connected to on the way; none, and no room for any, in all but few attempts.
    lost: Mutex<Vec<usize>>,
    permission: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Whoever wants to know whom it was sent to.
    met: Option<Arc<Met>>,
}

/// The way of an attempt, where the endpoint that was picked could not be connected to.
pub(crate) struct Detour {
    /// The endpoint that it leads to instead; `None`: to the one that was picked.
    pub(crate) stand_in: Option<usize>,
    /// Those that could not be connected to.
    pub(crate) lost: Vec<usize>,
}

impl Progress {
    /// [`Sent::No`] until the kernel has taken a byte of the request, or an HTTP/2 connection its head.
    pub fn sent(&self) -> Sent {
        if self.is_sent.load(Ordering::Relaxed) { Sent::Maybe } else { Sent::No }
    }

    pub(super) fn set(&self, sent: bool) {
        self.is_sent.store(sent, Ordering::Relaxed);
    }

    /// Where it led, if not straight to the endpoint that was picked.
    pub(crate) fn detour(&self) -> Detour {
        let lost = std::mem::take(&mut *self.lost.lock());
        Detour { stand_in: self.stand_in.load(Ordering::Relaxed).checked_sub(1), lost }
    }

    pub(super) fn lose(&self, endpoint: usize) {
        self.lost.lock().push(endpoint);
    }

    pub(super) fn lead_to(&self, endpoint: usize) {
        self.stand_in.store(endpoint + 1, Ordering::Relaxed);
    }

    /// Tells this whom it is sent to.
    #[must_use]
    pub(crate) fn telling(mut self, met: Option<Arc<Met>>) -> Self {
        self.met = met;
        self
    }

    /// A connection has taken it, whose other end is only looked at where somebody wants to know.
    pub(super) fn meet(&self, peer: impl FnOnce() -> Peer) {
        if let Some(met) = &self.met {
            met.note(peer());
        }
    }

    /// The first byte goes out only if `permission` says so then, and what follows as long as it does.
    #[must_use]
    pub fn only_if(mut self, permission: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.permission = Some(Box::new(permission));
        self
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.permission.as_ref().is_none_or(|permission| permission())
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.sent()).finish()
    }
}
