//! How far the end of the process has come, as client connections see it.

use std::time::Duration;

/// How long a connection on which nothing has come may stay once accepting has ended: its first request may be on its way.
const LAST_PATIENCE: Duration = Duration::from_millis(250);

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not at all.
    No,
    /// Clients are told to go elsewhere, and served as before: who sends them here learns of it late.
    Draining,
    /// Nothing is accepted any more; what is in flight ends.
    Closing,
}

impl Ending {
    /// How long an HTTP/1 connection may be idle, `elapsed` after the drain began. Never at once: a request may be on its
    /// way, and one that was idle before has `delay` from then on. `None`: as long as without a drain.
    pub(crate) fn idle_patience(self, elapsed: Duration, delay: Duration) -> Option<Duration> {
        let patience = delay.max(LAST_PATIENCE);
        match self {
            Self::No => None,
            Self::Draining => (elapsed >= patience).then_some(patience),
            Self::Closing => Some(LAST_PATIENCE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_idle_before_a_drain_has_its_delay_and_never_nothing() {
        let millis = Duration::from_millis;
        for (ending, elapsed, delay, expected) in [
            (Ending::No, 9000, 5000, None),
            (Ending::Draining, 0, 5000, None),
            (Ending::Draining, 4999, 5000, None),
            (Ending::Draining, 5000, 5000, Some(5000)),
            (Ending::Draining, 0, 0, None),
            (Ending::Draining, 250, 0, Some(250)),
            (Ending::Closing, 0, 5000, Some(250)),
        ] {
            let patience = ending.idle_patience(millis(elapsed), millis(delay));
            assert_eq!(patience, expected.map(millis), "{ending:?} after {elapsed} ms of {delay}");
        }
    }
}
