//! Whether an endpoint is well, by what it answers when it is asked: so many answers in a row that contradict what is thought of
//! it change that, and one that agrees begins the count anew. Before it was asked it counts as well.

use std::num::NonZeroU32;

/// How many answers in a row change what is thought of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Bad ones, of one that was well.
    pub unhealthy: NonZeroU32,
    /// Good ones, of one that was not.
    pub healthy: NonZeroU32,
}

/// What is thought of an endpoint, and how many answers in a row contradict it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    is_unhealthy: bool,
    against: u32,
}

impl Health {
    /// Whether it is thought to be well.
    pub const fn is_healthy(self) -> bool {
        !self.is_unhealthy
    }

    /// It answered well, or did not. Whether that changes what is thought of it.
    pub fn note(&mut self, is_good: bool, thresholds: Thresholds) -> bool {
        if is_good == self.is_healthy() {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let enough = if is_good { thresholds.healthy } else { thresholds.unhealthy };
        if self.against < enough.get() {
            return false;
        }
        *self = Self { is_unhealthy: !is_good, against: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_in_a_row_as_are_asked_for_change_anything() {
        let thresholds = Thresholds {
            unhealthy: NonZeroU32::new(3).expect("not zero"),
            healthy: NonZeroU32::new(2).expect("not zero"),
        };
        let mut health = Health::default();
        assert!(health.is_healthy(), "before anybody asked");
        for (answers, is_healthy, changes) in [
            ("++", true, 0),
            ("--+--+--", true, 0),
            ("-", false, 1),
            ("---", false, 0),
            ("+-+-", false, 0),
            ("++", true, 1),
            ("---++---", false, 3),
        ] {
            let changed = answers.chars().filter(|answer| health.note(*answer == '+', thresholds)).count();
            assert_eq!((health.is_healthy(), changed), (is_healthy, changes), "{answers}");
        }
    }
}
