//! So many lines of one kind a second, and how many more there were.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines of one kind in one second: enough to see what happens, too few to hide anything else.
const LINES: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Bounds the lines of one kind.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The line's message.
    what: &'static str,
    /// So many of them a second.
    lines: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Bound {
    /// For lines that say `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, lines: LINES, window: Mutex::default() }
    }

    /// For lines of which one a second is enough.
    pub(crate) fn one_a_second(what: &'static str) -> Self {
        Self { lines: 1, ..Self::new(what) }
    }

    /// Whether a line may be written now. If not, it is counted.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        self.tell(self.window.lock().turn(now));
        let mut window = self.window.lock();
        window.began.get_or_insert(now);
        if window.said < self.lines {
            window.said += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    /// Says how many were left out, once their second is over; to be called now and then.
    pub(crate) fn look(&self, now: Instant) {
        self.tell(self.window.lock().turn(now));
    }

    fn tell(&self, left_out: u64) {
        if left_out > 0 {
            tracing::info!(more = left_out, "{}: and {left_out} more", self.what);
        }
    }
}

impl Window {
    /// Ends the window if its time is over; how many were left out of it.
    fn turn(&mut self, now: Instant) -> u64 {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) < SECOND) {
            return 0;
        }
        std::mem::take(self).left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_pass_and_the_rest_is_counted_once() {
        let (bound, began) = (Bound::new("x"), Instant::now());
        let passed = |at: Instant| (0..200).filter(|_| bound.admits(at)).count();
        assert_eq!(passed(began), 10);
        assert_eq!(bound.window.lock().turn(began + SECOND / 2), 0);
        assert_eq!(bound.window.lock().turn(began + SECOND), 190);
        assert_eq!(bound.window.lock().turn(began + 9 * SECOND), 0);
        assert_eq!(passed(began + 10 * SECOND), 10);
    }
}
