//! Faults on purpose, for `tests/crash`: the process kills itself at a named point, or lacks a protection.
//!
//! Only with the feature `faults`, which no release has, and which says so in `--version` and at start. What happens is in
//! the environment: `MAINSTAY_FAULT=kill@after-begin:3,off@durable-settle` dies at the third time that a write comes past
//! `after-begin`, and answers before a settlement is on the disk; `stop@after-begin:3` stops there as SIGSTOP does, once;
//! `panic@look:20` panics at every 20th look of the resolver. `MAINSTAY_FAULT_WHEN=FILE` counts only from when that file is
//! there.

#[cfg(feature = "faults")]
mod armed;

#[cfg(feature = "faults")]
pub use armed::{ArmError, arm};
#[cfg(feature = "faults")]
pub(crate) use armed::{
    after_send, before_commit, key_bytes, keys_in_segment, log_pages_before_copy, reach, stumble, versions_ahead,
};

/// A place in the life of a keyed write at which the process may die, or stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "named in every build, reached in few"))]
pub(crate) enum Point {
    BeforeBegin,
    /// Recorded; nothing was sent.
    AfterBegin,
    /// It may be sent, the ledger says; nothing was.
    AfterCheck,
    /// The request is with a connection; no answer has come.
    AfterSend,
    /// The answer, or its loss, is known here and nowhere else.
    BeforeSettle,
    /// Recorded; the client knows nothing yet.
    AfterSettle,
    /// A shared ledger's store is about to be asked to write.
    BeforeBatch,
    /// It has written; nobody here knows yet.
    InBatch,
    /// It has taken this replica's sign of life; its lease is not renewed yet.
    AfterBeat,
}

/// A place at which a task may panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "named in every build, reached in few"))]
pub(crate) enum Pitfall {
    /// The resolver looks at what is due.
    Look,
    /// It works on one operation.
    Work,
    /// The ledger's writer takes up a batch.
    Batch,
    /// Housekeeping begins a round.
    House,
}

/// What runs instead without the feature: nothing.
#[cfg(not(feature = "faults"))]
mod unarmed {
    use mainstay_policies::evidence::Sent;

    use super::{Pitfall, Point};

    pub(crate) const fn reach(_point: Point) {}

    pub(crate) const fn stumble(_pitfall: Pitfall) {}

    pub(crate) fn after_send<F>(_sent: impl Fn() -> Sent, sending: F) -> F {
        sending
    }

    pub(crate) const fn before_commit() {}

    pub(crate) const fn log_pages_before_copy(usual: usize) -> usize {
        usual
    }

    pub(crate) const fn keys_in_segment(usual: usize) -> usize {
        usual
    }

    pub(crate) const fn key_bytes(usual: usize) -> usize {
        usual
    }

    pub(crate) const fn versions_ahead() -> u8 {
        0
    }
}

#[cfg(not(feature = "faults"))]
pub(crate) use unarmed::{
    after_send, before_commit, key_bytes, keys_in_segment, log_pages_before_copy, reach, stumble, versions_ahead,
};
