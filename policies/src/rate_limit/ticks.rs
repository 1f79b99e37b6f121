//! The time that limits count in, and what they say in it.

use std::time::Duration;

use super::usage::Usage;

/// Nanoseconds since the table's epoch, multiplied by `requests`: an interval of `unit / requests` is a whole number of these.
pub(super) type Ticks = u128;

/// What a limit says to a request.
#[derive(Debug)]
pub(super) enum Verdict {
    Admit(Usage),
    Wait { booking: Booking, usage: Usage },
    Reject { retry_after: Duration, usage: Usage },
}

/// A slot in a paced queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Booking {
    pub(super) at: Ticks,
    pub(super) interval: Ticks,
    pub(super) scale: u32,
}

impl Booking {
    /// Rounded up: a slot never begins early.
    pub(super) fn at_nanos(self) -> u64 {
        nanos(self.at, self.scale)
    }
}

/// A time in nanoseconds, rounded up.
pub(super) fn nanos(ticks: Ticks, scale: u32) -> u64 {
    u64::try_from(ticks.div_ceil(scale.max(1).into())).unwrap_or(u64::MAX)
}

/// The same time in the units of another rate.
pub(super) fn rescaled(ticks: Ticks, from: u32, to: u32) -> Ticks {
    if from == to || from == 0 { ticks } else { ticks / Ticks::from(from) * Ticks::from(to) }
}
