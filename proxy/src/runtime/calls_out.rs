//! The service's own calls, as the end of the process waits for them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How many of the service's own calls are under way, and when the last one was. No request of a caller touches it.
#[derive(Default)]
pub(crate) struct CallsOut(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    open: usize,
    last: Option<Instant>,
}

impl CallsOut {
    pub(crate) fn begin(&self) {
        let mut calls = self.0.lock();
        calls.open += 1;
        calls.last = Some(Instant::now());
    }

    pub(crate) fn end(&self) {
        let mut calls = self.0.lock();
        calls.open = calls.open.saturating_sub(1);
        calls.last = Some(Instant::now());
    }

    /// Whether there has been none for so long.
    pub(crate) fn are_over(&self, quiet: Duration) -> bool {
        let calls = self.0.lock();
        calls.open == 0 && calls.last.is_none_or(|last| last.elapsed() >= quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_over_once_none_was_under_way_for_a_while() {
        let (calls, quiet) = (CallsOut::default(), Duration::from_secs(1));
        assert!(calls.are_over(quiet), "there was none");
        calls.begin();
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!calls.are_over(quiet), "one is under way");
        calls.end();
        assert!(!calls.are_over(quiet), "the next may follow");
        tokio::time::advance(quiet).await;
        assert!(calls.are_over(quiet));
    }
}
