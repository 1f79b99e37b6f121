//! Safeguards that a test can switch off, to see that its checker misses them.
//!
//! A checker that never goes red proves nothing. With the feature `faults`, which no release has, each safeguard below can
//! be taken away from a running process; without it [`is_off`] is `false` at compile time and nothing of this is left.

#[cfg(feature = "faults")]
use std::sync::atomic::{AtomicU16, Ordering};

/// What can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Safeguard {
    /// Begin is durable before the first upstream byte.
    DurableBegin = 1,
    /// Settle is durable before the last byte of the answer.
    DurableSettle = 2,
    /// An update from an older view of the record, or by another owner, is refused.
    Ownership = 4,
    /// A terminal state never changes.
    StickyStates = 8,
    /// Nothing is sent unless the ledger says so as the last thing before the first byte.
    LastCheck = 16,
    /// New operations are written in the order of their keys.
    KeyOrder = 32,
    /// A batch about which nothing was heard is asked again.
    AskAgain = 64,
    /// What a refused begin may have left is looked for.
    RefusedList = 128,
    /// While the store cannot be read, nobody is seen to stand still.
    MissedLooks = 256,
    /// A lease runs from when the sign of life was sent.
    LeaseFromSending = 512,
    /// Two keys are the same only if their whole hashes are.
    WholeHash = 1024,
    /// That nothing was sent is nothing in the mouth of one from whom the operation was taken.
    FencedWord = 2048,
}

#[cfg(feature = "faults")]
static OFF: AtomicU16 = AtomicU16::new(0);

/// Takes `safeguard` away from this process, for good.
#[cfg(feature = "faults")]
pub fn switch_off(safeguard: Safeguard) {
    OFF.fetch_or(safeguard as u16, Ordering::Relaxed);
}

/// Whether `safeguard` was taken away.
#[cfg(feature = "faults")]
pub fn is_off(safeguard: Safeguard) -> bool {
    OFF.load(Ordering::Relaxed) & safeguard as u16 != 0
}

/// Whether `safeguard` was taken away: never, in this build.
#[cfg(not(feature = "faults"))]
pub const fn is_off(_safeguard: Safeguard) -> bool {
    false
}
