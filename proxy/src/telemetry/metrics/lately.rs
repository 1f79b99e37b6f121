//! What became of a route's requests in the last five minutes, stage by stage of their way: for whoever looks at one route.
//!
//! Counters are looked at with those of the last minute ([`recent`](super::recent)); what they grew by is kept in ten parts of half a
//! minute, so that a part which has ended leaves as a whole: some 400 bytes of each route that is in use.

use std::time::Duration;

use tokio::time::Instant;

/// Parts that five minutes have.
const PARTS: usize = 10;
/// Looks that a part has: half a minute.
const LOOKS: usize = 6;

/// A stage of a request's way, as far as something is counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Requests that ended. Those over a limit are taken off where it is told, not before: they are counted as such when they are
    /// refused, and here when their answer has ended, so that the difference would not only grow.
    Admitted,
    /// Requests over a limit.
    Limited,
    /// Requests that waited for their turn.
    Queued,
    /// Answers that were replayed.
    Replayed,
    /// Attempts that were made once more.
    Retried,
    /// Attempts that a breaker turned away.
    Broken,
    /// Attempts that took too long.
    TimedOut,
    /// Failures that were answered with a fallback.
    FellBack,
    /// Answers that the cache had.
    CacheHit,
}

/// Each, with the member of a document that tells it.
pub(crate) const STAGES: [(Stage, &str); 9] = [
    (Stage::Admitted, "admitted"),
    (Stage::Limited, "limited"),
    (Stage::Queued, "queued"),
    (Stage::Replayed, "replayed"),
    (Stage::Retried, "retried"),
    (Stage::Broken, "broken"),
    (Stage::TimedOut, "timed_out"),
    (Stage::FellBack, "fallback"),
    (Stage::CacheHit, "cache_hits"),
];

/// Counts by stage. Of what only grows, the low 32 bits tell what it grew by in a few seconds.
pub(crate) type Stages = [u32; STAGES.len()];

/// The five minutes of one route.
#[derive(Debug, Default)]
pub(super) struct FiveMinutes {
    /// As it stood at the last look.
    last: Stages,
    /// What it grew by in each part; none if it did not grow at all.
    parts: Option<Box<[Stages; PARTS]>>,
}

impl FiveMinutes {
    /// Looks at the counts as they stand, in a part of the five minutes which may have just begun.
    pub(super) fn look(&mut self, stages: Stages, (part, is_new): (usize, bool), may_remember: bool) {
        let grown = since(&stages, &self.last);
        self.last = stages;
        if self.parts.is_none() && may_remember && grown.iter().any(|count| *count > 0) {
            self.parts = Some(Box::default());
        }
        let Some(parts) = &mut self.parts else { return };
        if is_new {
            parts[part] = Stages::default();
        }
        add(&mut parts[part], &grown);
        if parts.iter().flatten().all(|count| *count == 0) {
            self.parts = None;
        }
    }

    /// What it grew by; `stages` as they stand.
    pub(super) fn grown(&self, stages: &Stages) -> Stages {
        let mut sum = since(stages, &self.last);
        for part in self.parts.iter().flat_map(|parts| parts.iter()) {
            add(&mut sum, part);
        }
        sum
    }
}

fn since(stages: &Stages, before: &Stages) -> Stages {
    std::array::from_fn(|at| stages[at].wrapping_sub(before[at]))
}

fn add(sum: &mut Stages, more: &Stages) {
    sum.iter_mut().zip(more).for_each(|(count, more)| *count = count.saturating_add(*more));
}

/// Which part it is, and how long they are.
#[derive(Debug)]
pub(super) struct Parts {
    looks: usize,
    began: [Instant; PARTS],
}

impl Parts {
    pub(super) fn new(now: Instant) -> Self {
        Self { looks: 0, began: [now; PARTS] }
    }

    /// The part that the next look belongs to, and whether it begins with it.
    pub(super) fn next(&self) -> (usize, bool) {
        (self.looks / LOOKS % PARTS, self.looks.is_multiple_of(LOOKS))
    }

    /// A look has ended; `last` is when the one before it did.
    pub(super) fn end(&mut self, last: Instant) {
        let (part, is_new) = self.next();
        if is_new {
            self.began[part] = last;
        }
        self.looks += 1;
    }

    /// How long all of them together are by now: up to five minutes, and less right after the start.
    pub(super) fn window(&self, now: Instant) -> Duration {
        let oldest = self.began.iter().min().copied().unwrap_or(now);
        now.saturating_duration_since(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_secs(5);

    /// One route that is looked at every five seconds.
    struct Watched(FiveMinutes, Parts, Instant);

    impl Watched {
        fn new() -> Self {
            let now = Instant::now();
            Self(FiveMinutes::default(), Parts::new(now), now)
        }

        fn look(&mut self, admitted: u32) {
            let Self(five, parts, now) = self;
            five.look(of(admitted), parts.next(), true);
            parts.end(*now);
            *now += LOOK;
        }

        fn admitted(&self, by_now: u32) -> u32 {
            self.0.grown(&of(by_now))[Stage::Admitted as usize]
        }
    }

    fn of(admitted: u32) -> Stages {
        let mut stages = Stages::default();
        stages[Stage::Admitted as usize] = admitted;
        stages
    }

    #[test]
    fn five_minutes_hold_what_was_counted_in_them_up_to_this_moment_and_nothing_older() {
        let mut watched = Watched::new();
        watched.look(7);
        assert_eq!((watched.admitted(9), watched.1.window(watched.2)), (9, LOOK), "what no look has seen, too");
        for _ in 0..59 {
            watched.look(7);
        }
        assert_eq!((watched.admitted(7), watched.1.window(watched.2)), (7, LOOK * 60));
        watched.look(7);
        assert_eq!((watched.admitted(8), watched.1.window(watched.2)), (1, LOOK * 55), "a part leaves as a whole");
        for _ in 0..60 {
            watched.look(7);
        }
        assert!(watched.0.parts.is_none(), "a route that is idle takes no memory");
    }

    #[test]
    fn counters_that_overflow_grow_on() {
        let mut watched = Watched::new();
        watched.look(u32::MAX);
        (0..60).for_each(|_| watched.look(u32::MAX));
        assert_eq!(watched.admitted(4), 5);
    }

    #[test]
    fn every_stage_has_its_place() {
        for (at, (stage, _)) in STAGES.into_iter().enumerate() {
            assert_eq!(stage as usize, at);
        }
    }
}
