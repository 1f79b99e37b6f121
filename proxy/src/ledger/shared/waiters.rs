//! Who waits for a change of an operation: local waiters, woken by what this replica writes and by one look at the store for
//! all of them together.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mainstay_policies::operation::OperationId;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};

/// Operations that are looked at in one go.
pub(in crate::ledger) const AT_ONCE: usize = 4_096;

/// Who waits for what.
#[derive(Default)]
pub(in crate::ledger) struct Waiters {
    by_seq: Mutex<HashMap<u64, Waiter>>,
    /// Somebody began to wait.
    pub(in crate::ledger) came: Notify,
}

struct Waiter {
    woken: Arc<Notify>,
    /// The lowest revision that any of them has seen.
    seen: u64,
    since: Instant,
    count: usize,
}

/// Somebody who waits; leaves nothing behind.
pub(in crate::ledger) struct Waiting<'a> {
    waiters: &'a Waiters,
    seq: u64,
}

impl Waiters {
    /// Every change of `id` after the revision `seen` from now on ends the wait.
    pub(in crate::ledger) fn enlist(&self, id: OperationId, seen: u64) -> (Waiting<'_>, OwnedNotified) {
        let woken = {
            let mut by_seq = self.by_seq.lock();
            let waiter = by_seq.entry(id.seq).or_insert_with(|| Waiter {
                woken: Arc::default(),
                seen,
                since: Instant::now(),
                count: 0,
            });
            waiter.count += 1;
            waiter.seen = waiter.seen.min(seen);
            Arc::clone(&waiter.woken).notified_owned()
        };
        self.came.notify_one();
        (Waiting { waiters: self, seq: id.seq }, woken)
    }

    /// An operation has changed.
    pub(in crate::ledger) fn wake(&self, seq: u64) {
        if let Some(waiter) = self.by_seq.lock().get(&seq) {
            waiter.woken.notify_waiters();
        }
    }

    /// What is waited for, each with the revision that was seen, and how long the youngest of the waits has lasted.
    pub(in crate::ledger) fn waited_for(&self) -> (Vec<(u64, u64)>, Duration) {
        let by_seq = self.by_seq.lock();
        let all = by_seq.iter().take(AT_ONCE).map(|(seq, waiter)| (*seq, waiter.seen)).collect();
        let youngest = by_seq.values().map(|waiter| waiter.since).max();
        (all, youngest.map_or(Duration::ZERO, |since| since.elapsed()))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut by_seq = self.waiters.by_seq.lock();
        let Some(waiter) = by_seq.get_mut(&self.seq) else { return };
        waiter.count -= 1;
        if waiter.count == 0 {
            by_seq.remove(&self.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_and_leave_nothing_behind() {
        let waiters = Waiters::default();
        let id = OperationId { seq: 7, tag: 1 };
        let (first, woken) = waiters.enlist(id, 3);
        let (second, also) = waiters.enlist(id, 2);
        assert_eq!(waiters.waited_for().0, [(7, 2)]);
        waiters.wake(7);
        woken.await;
        also.await;
        drop((first, second));
        assert_eq!(waiters.waited_for().0, []);
    }
}
