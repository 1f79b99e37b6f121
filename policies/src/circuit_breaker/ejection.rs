//! How many breakers of one group may be open at once: outlier ejection (Envoy's `max_ejection_percent`).
//!
//! With a breaker per endpoint, an open one takes its endpoint out of rotation. When most of them fail, the fault is rarely
//! theirs, and those that are left would get all the load. So at most a share of the group is open; a breaker beyond it stays
//! closed and is judged again on its next completion. One endpoint may always be taken out, as in Envoy.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The share of a group that may be open.
#[derive(Debug)]
pub struct Ejections {
    ejected: AtomicUsize,
    max: AtomicUsize,
}

/// One open breaker; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Ejection(Arc<Ejections>);

impl Ejections {
    /// A group of `members` of which `percent` may be open, rounded down, but one always.
    pub fn new(members: usize, percent: u32) -> Arc<Self> {
        Arc::new(Self { ejected: AtomicUsize::new(0), max: AtomicUsize::new(max(members, percent)) })
    }

    /// The group has so many members now. Who is ejected stays so.
    pub fn resize(&self, members: usize, percent: u32) {
        self.max.store(max(members, percent), Ordering::Relaxed);
    }

    /// Members that are ejected.
    pub fn ejected(&self) -> usize {
        self.ejected.load(Ordering::Relaxed)
    }

    pub(super) fn eject(self: &Arc<Self>) -> Option<Ejection> {
        let max = self.max.load(Ordering::Relaxed);
        let reserve = |ejected| (ejected < max).then_some(ejected + 1);
        self.ejected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).ok()?;
        Some(Ejection(Arc::clone(self)))
    }
}

impl Drop for Ejection {
    fn drop(&mut self) {
        self.0.ejected.fetch_sub(1, Ordering::Relaxed);
    }
}

fn max(members: usize, percent: u32) -> usize {
    (members.saturating_mul(percent as usize) / 100).max(1)
}
