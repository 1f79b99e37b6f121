//! What the last minute was like, and the quarter of an hour before now, for people who look at it now.
//!
//! Counters only grow. Every five seconds a task looks at all of them and keeps what they grew by, so no request pays for it;
//! whoever asks in between gets what has been counted since, too. All that is kept is bounded: a minute of each route that is in
//! use ([`MOST`] of them), and 180 points of 16 bytes of all together.

use std::{
    collections::VecDeque,
    ops::{AddAssign, Index},
    time::Duration,
};

use mainstay_policies::clock::UnixMillis;
use tokio::time::Instant;

use super::{
    histogram::{BUCKETS, quantile},
    lately::Parts,
};

/// How often counters are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Looks that a minute has.
const SLOTS: usize = 12;
/// Looks that a quarter of an hour has.
const POINTS: usize = 180;
/// Routes, and endpoints, whose last minute is kept: some 1.3 KiB each.
pub(crate) const MOST: usize = 512;
/// Milliseconds of a day.
const DAY: u64 = 24 * 3_600_000;

/// What is counted of a route, and looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Requests that were answered.
    Answers,
    /// Those of them with 5xx.
    Errors,
    /// Requests whose caller left.
    Cancelled,
    /// Attempts that were made once more.
    Retried,
    /// Requests over a limit.
    Limited,
    /// Answers that were replayed.
    Replayed,
    /// Writes that fell into doubt.
    Doubted,
    /// Writes that a question settled.
    SettledByAsking,
}

/// As many as there are kinds.
const KINDS: usize = Counted::SettledByAsking as usize + 1;

/// Counts, and how long requests took. Of what only grows, the low 32 bits tell what it grew by in a few seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    of: [u32; KINDS],
    buckets: [u32; BUCKETS],
}

impl Counts {
    /// Of attempts, their errors, and how long they took.
    pub(super) fn of_attempts(errors: u64, buckets: [u64; BUCKETS]) -> Self {
        let mut of = [0; KINDS];
        (of[Counted::Answers as usize], of[Counted::Errors as usize]) = (buckets.iter().sum(), errors);
        Self::new(of, buckets)
    }

    pub(super) fn new(of: [u64; KINDS], buckets: [u64; BUCKETS]) -> Self {
        Self { of: of.map(|count| count as u32), buckets: buckets.map(|count| count as u32) }
    }

    /// What these grew by since they were `before`.
    fn since(&self, before: &Self) -> Self {
        let mut grown = *self;
        grown.of.iter_mut().zip(before.of).for_each(|(count, before)| *count = count.wrapping_sub(before));
        grown.buckets.iter_mut().zip(before.buckets).for_each(|(count, before)| *count = count.wrapping_sub(before));
        grown
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The time that such a share of the requests did not exceed, in milliseconds; `None` without requests.
    pub(crate) fn took_ms(&self, share: f64) -> Option<f64> {
        quantile(&self.buckets, share)
    }
}

impl Index<Counted> for Counts {
    type Output = u32;

    fn index(&self, kind: Counted) -> &u32 {
        &self.of[kind as usize]
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, more: &Self) {
        self.of.iter_mut().zip(more.of).for_each(|(count, more)| *count = count.saturating_add(more));
        self.buckets.iter_mut().zip(more.buckets).for_each(|(count, more)| *count = count.saturating_add(more));
    }
}

/// The last minute of something that is counted.
#[derive(Debug, Default)]
pub(super) struct Minute {
    /// As it stood at the last look.
    last: Counts,
    /// What it grew by at each look; none if it did not grow at all.
    slots: Option<Box<[Counts; SLOTS]>>,
    /// It grows, and there was no room to remember it.
    is_left_out: bool,
}

impl Minute {
    /// Looks at the counts as they stand; what they grew by since the last look.
    pub(super) fn look(&mut self, counts: Counts, slot: usize, may_remember: bool) -> Counts {
        let grown = counts.since(&self.last);
        self.last = counts;
        match &mut self.slots {
            Some(slots) => {
                slots[slot] = grown;
                if slots.iter().all(Counts::is_zero) {
                    self.slots = None;
                }
            }
            None if grown.is_zero() => self.is_left_out = false,
            None if may_remember => {
                let mut slots = Box::new([Counts::default(); SLOTS]);
                slots[slot] = grown;
                (self.slots, self.is_left_out) = (Some(slots), false);
            }
            None => self.is_left_out = true,
        }
        grown
    }

    /// Whether its last minute takes memory.
    pub(super) const fn is_kept(&self) -> bool {
        self.slots.is_some()
    }

    /// What it grew by since the last look; `counts` as they stand.
    pub(super) fn since_look(&self, counts: &Counts) -> Counts {
        counts.since(&self.last)
    }

    /// What it grew by in the last minute; `None` if that is not known.
    pub(super) fn grown(&self, counts: &Counts) -> Option<Counts> {
        if self.is_left_out {
            return None;
        }
        let mut sum = self.since_look(counts);
        for slot in self.slots.iter().flat_map(|slots| slots.iter()) {
            sum += slot;
        }
        Some(sum)
    }
}

/// One look at all routes together.
#[derive(Clone, Copy, Debug)]
struct Point {
    answers: f32,
    errors: f32,
    p99_ms: Option<f32>,
    in_doubt: u32,
}

/// What the process was like: a minute, and a quarter of an hour.
#[derive(Debug)]
pub(super) struct Recent {
    looked_at: Instant,
    /// The wall clock's time of it.
    ended_at: UnixMillis,
    /// The slot of the next look.
    slot: usize,
    took: [Duration; SLOTS],
    slots: [Counts; SLOTS],
    commits: Minute,
    points: VecDeque<Point>,
    pub(super) parts: Parts,
    /// The day, and the writes that questions settled on it.
    day: u64,
    settled_by_asking: u64,
}

/// Whatever has counts, and its minute.
pub(super) struct Subject<'a> {
    pub(super) counts: Counts,
    pub(super) minute: &'a mut Minute,
}

impl Recent {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            looked_at: now,
            ended_at: 0,
            slot: 0,
            took: [Duration::ZERO; SLOTS],
            slots: [Counts::default(); SLOTS],
            commits: Minute::default(),
            points: VecDeque::new(),
            parts: Parts::new(now),
            day: 0,
            settled_by_asking: 0,
        }
    }

    /// The place of the next look in a minute.
    pub(super) const fn slot(&self) -> usize {
        self.slot
    }

    /// A look at one route; what it grew by.
    pub(super) fn look(&self, Subject { minute, counts }: Subject<'_>, may_remember: bool) -> Counts {
        minute.look(counts, self.slot, may_remember)
    }

    /// Ends a look: all routes together grew by so much.
    pub(super) fn end(&mut self, all: Counts, commits: Counts, in_doubt: u64, (now, wall): (Instant, UnixMillis)) {
        self.commits.look(commits, self.slot, true);
        let took = now.saturating_duration_since(self.looked_at);
        let seconds = took.as_secs_f32().max(f32::MIN_POSITIVE);
        (self.slots[self.slot], self.took[self.slot]) = (all, took);
        self.slot = (self.slot + 1) % SLOTS;
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            answers: all[Counted::Answers] as f32 / seconds,
            errors: all[Counted::Errors] as f32 / seconds,
            p99_ms: all.took_ms(0.99).map(|ms| ms as f32),
            in_doubt: u32::try_from(in_doubt).unwrap_or(u32::MAX),
        });
        if wall / DAY != self.day {
            (self.day, self.settled_by_asking) = (wall / DAY, 0);
        }
        self.settled_by_asking += u64::from(all[Counted::SettledByAsking]);
        self.parts.end(self.looked_at);
        (self.looked_at, self.ended_at) = (now, wall);
    }

    /// The last minute; `since` is what all routes together grew by since the last look.
    pub(super) fn minute(&self, since: &Counts, commits: &Counts, now: Instant) -> LastMinute {
        let mut counts = *since;
        self.slots.iter().for_each(|slot| counts += slot);
        LastMinute {
            window: self.window(now),
            counts,
            commit_p99_ms: self.commits.grown(commits).and_then(|counts| counts.took_ms(0.99)),
            settled_by_asking_today: self.settled_by_asking + u64::from(since[Counted::SettledByAsking]),
        }
    }

    /// How long that minute is.
    pub(super) fn window(&self, now: Instant) -> Duration {
        self.took.iter().sum::<Duration>() + now.saturating_duration_since(self.looked_at)
    }

    pub(super) fn series(&self) -> Series {
        Series {
            ended_at: self.ended_at,
            rate: self.points.iter().map(|point| point.answers).collect(),
            errors: self.points.iter().map(|point| point.errors).collect(),
            p99_ms: self.points.iter().map(|point| point.p99_ms).collect(),
            in_doubt: self.points.iter().map(|point| point.in_doubt).collect(),
        }
    }
}

/// The last minute of the process.
#[derive(Clone, Debug)]
pub(crate) struct LastMinute {
    /// How long it is: less than a minute right after the start, and up to five seconds more.
    pub(crate) window: Duration,
    /// Of all routes.
    pub(crate) counts: Counts,
    /// How long the ledger's commits took at most, but for one in a hundred.
    pub(crate) commit_p99_ms: Option<f64>,
    /// Writes that a question settled since midnight (UTC), or since the start.
    pub(crate) settled_by_asking_today: u64,
}

/// A quarter of an hour in steps of [`INTERVAL`], the oldest first; rates are per second.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// When the last step ended.
    pub(crate) ended_at: UnixMillis,
    /// Requests answered.
    pub(crate) rate: Vec<f32>,
    /// Those of them with 5xx.
    pub(crate) errors: Vec<f32>,
    /// How long they took at most, but for one in a hundred; `None` where there was none.
    pub(crate) p99_ms: Vec<Option<f32>>,
    /// Writes in doubt at the end of each step.
    pub(crate) in_doubt: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(answers: u64, errors: u64, at_most_1ms: u64, at_most_25ms: u64) -> Counts {
        let mut buckets = [0; BUCKETS];
        (buckets[1], buckets[5]) = (at_most_1ms, at_most_25ms);
        Counts::new([answers, errors, 0, 0, 0, 0, 0, 0], buckets)
    }

    /// One route, looked at with a wall clock that starts at midnight.
    struct Watched(Recent, Minute, Instant);

    impl Watched {
        fn new() -> Self {
            let now = Instant::now();
            Self(Recent::new(now), Minute::default(), now)
        }

        fn look(&mut self, total: Counts, in_doubt: u64) {
            let Self(recent, minute, now) = self;
            *now += INTERVAL;
            let wall = 20_000 * DAY + recent.points.len() as u64 * 5_000;
            let grown = recent.look(Subject { counts: total, minute }, true);
            recent.end(grown, Counts::default(), in_doubt, (*now, wall));
        }

        fn minute(&self, total: Counts) -> LastMinute {
            let since = self.1.since_look(&total);
            self.0.minute(&since, &Counts::default(), self.2 + Duration::from_secs(1))
        }
    }

    #[test]
    fn a_minute_holds_what_was_counted_in_it_up_to_this_moment_and_nothing_older() {
        let mut watched = Watched::new();
        watched.look(counts(100, 1, 100, 0), 0);
        let seen = watched.minute(counts(130, 2, 100, 30));
        assert_eq!((seen.counts[Counted::Answers], seen.counts[Counted::Errors]), (130, 2));
        assert_eq!(seen.window, Duration::from_secs(6));
        for _ in 0..SLOTS {
            watched.look(counts(130, 2, 100, 30), 0);
        }
        let seen = watched.minute(counts(130, 2, 100, 30));
        assert_eq!(
            (seen.counts[Counted::Answers], seen.window),
            (30, Duration::from_secs(61)),
            "what the last look but eleven found"
        );
        watched.look(counts(130, 2, 100, 30), 0);
        assert_eq!(watched.minute(counts(130, 2, 100, 30)).counts, Counts::default());
        assert!(!watched.1.is_kept(), "a route that is idle takes no memory");
    }

    #[test]
    fn quantiles_are_of_the_minute_alone() {
        let mut watched = Watched::new();
        watched.look(counts(1_000, 0, 0, 1_000), 0);
        for _ in 0..=SLOTS {
            watched.look(counts(1_000, 0, 0, 1_000), 0);
        }
        let seen = watched.minute(counts(1_100, 0, 100, 1_000)).counts;
        let (p50, p99) = (seen.took_ms(0.5).unwrap(), seen.took_ms(0.99).unwrap());
        assert!((p50 - 0.75).abs() < 1e-9 && (p99 - 0.995).abs() < 1e-9, "between 0.5 and 1 ms: {p50} {p99}");
        assert_eq!(Counts::default().took_ms(0.5), None);
    }

    #[test]
    fn counters_that_overflow_grow_on() {
        let mut watched = Watched::new();
        watched.look(counts(u64::from(u32::MAX) - 1, 0, 0, 0), 0);
        for _ in 0..SLOTS {
            watched.look(counts(u64::from(u32::MAX) - 1, 0, 0, 0), 0);
        }
        assert_eq!(watched.minute(counts(u64::from(u32::MAX) + 9, 0, 0, 0)).counts[Counted::Answers], 10);
    }

    #[test]
    fn the_series_is_bounded_and_begins_with_the_oldest() {
        let mut watched = Watched::new();
        for look in 1..=POINTS as u64 + 20 {
            watched.look(counts(look * 10, look * 5, look * 10, 0), look);
        }
        let series = watched.0.series();
        assert_eq!([series.rate.len(), series.errors.len(), series.p99_ms.len(), series.in_doubt.len()], [POINTS; 4]);
        assert_eq!((series.in_doubt[0], series.in_doubt[POINTS - 1]), (21, POINTS as u32 + 20));
        assert!((series.rate[0] - 2.0).abs() < 1e-6 && (series.errors[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_kept_of_the_process_is_a_few_kibibytes() {
        let points = POINTS * size_of::<Point>();
        assert!(points + size_of::<Recent>() < 6 * 1024, "{points} and {}", size_of::<Recent>());
        assert!(size_of::<[Counts; SLOTS]>() < 1_300);
    }

    #[test]
    fn a_route_without_room_says_that_it_does_not_know() {
        let (mut minute, busy) = (Minute::default(), counts(5, 0, 5, 0));
        minute.look(busy, 0, false);
        assert_eq!(minute.grown(&busy), None);
        minute.look(busy, 1, false);
        assert_eq!(minute.grown(&busy), Some(Counts::default()), "it is idle again");
    }

    #[test]
    fn the_day_begins_anew_at_midnight() {
        let (mut recent, mut now) = (Recent::new(Instant::now()), Instant::now());
        let asked = |count| Counts::new([0, 0, 0, 0, 0, 0, 0, count], [0; BUCKETS]);
        for (wall, grown, today) in [(20_000 * DAY + 1, 3, 3), (20_001 * DAY - 1, 2, 5), (20_001 * DAY + 5, 1, 1)] {
            now += INTERVAL;
            recent.end(asked(grown), Counts::default(), 0, (now, wall));
            assert_eq!(recent.minute(&Counts::default(), &Counts::default(), now).settled_by_asking_today, today);
        }
    }
}
