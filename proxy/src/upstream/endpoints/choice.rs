//! Which endpoint a request goes to.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mainstay_policies::balance::{Affinity, Balance, Candidate, by_hash, grown, in_turn, less_loaded};

use super::Endpoints;

/// How willingly an endpoint is given a request: the first ones there are get it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Fit,
    /// It could not be connected to the last time.
    Lost,
    /// A retry comes from it.
    Avoided,
    /// It says that it cannot serve. Where all do, all are used.
    Unwell,
}

impl Endpoints {
    /// An endpoint for a request, by the rule of the upstream. A retry avoids the endpoint that it comes from.
    pub(in crate::upstream) fn pick(&self, avoid: Option<usize>, affinity: Option<Affinity>) -> usize {
        if self.is_plain {
            let count = self.configured.len();
            if count == 1 {
                return 0;
            }
            return pick_of(count, avoid, |at| self.configured[at].outstanding.load(Relaxed));
        }
        self.choose(&[], avoid, affinity).expect("an upstream has an endpoint in use, always")
    }

    /// The same, if there is one that has not refused the request.
    pub(in crate::upstream) fn pick_beside(
        &self,
        refused: &[usize],
        avoid: Option<usize>,
        affinity: Option<Affinity>,
    ) -> Option<usize> {
        self.choose(refused, avoid, affinity)
    }

    fn choose(&self, refused: &[usize], avoid: Option<usize>, affinity: Option<Affinity>) -> Option<usize> {
        let live = self.live.load();
        if let ([only], []) = (&***live, refused) {
            return Some(*only);
        }
        let balance = &self.mould.params.balance;
        let affinity = affinity.filter(|_| matches!(balance, Balance::Hash(_)));
        if affinity.is_none()
            && refused.is_empty()
            && self.mould.params.slow_start.is_zero()
            && !self.has_shares.load(Relaxed)
            && let Some(number) = self.at_a_glance(&live, avoid)
        {
            return Some(number);
        }
        let candidates = self.candidates(&live, refused, avoid);
        let turn = || self.turn.fetch_add(1, Relaxed);
        let number = match (balance, affinity) {
            (_, Some(affinity)) => by_hash(&candidates, affinity),
            (Balance::RoundRobin, None) => in_turn(&candidates, turn, fastrand::f64),
            (Balance::P2c | Balance::Hash(_), None) => less_loaded(&candidates, fastrand::f64),
        }?;
        // One of them finds out whether it still is lost.
        self.at(number).reach.is_shunned();
        Some(number)
    }

    /// The one that the rule gives where all are as good, if that can be told without looking at each.
    fn at_a_glance(&self, live: &[usize], avoid: Option<usize>) -> Option<usize> {
        let number = if self.mould.params.balance == Balance::RoundRobin {
            let number = live[self.turn.fetch_add(1, Relaxed) % live.len()];
            (Some(number) != avoid).then_some(number)?
        } else {
            let avoid = avoid.and_then(|avoid| live.iter().position(|number| *number == avoid));
            live[pick_of(live.len(), avoid, |at| self.outstanding(live[at]).load(Relaxed))]
        };
        let here = self.at(number);
        (!here.checked.is_unwell() && !here.reach.is_shunned()).then_some(number)
    }

    /// The part of the requests that an endpoint has: what its record says, and less where its address came not long ago.
    fn share(&self, number: usize) -> f64 {
        let warm = |ago: Option<Duration>| match (ago, self.mould.params.slow_start) {
            (None, _) | (_, Duration::ZERO) => 1.0,
            (Some(ago), slow_start) => grown(ago, slow_start),
        };
        if let Some(configured) = self.configured.get(number) {
            return warm(configured.came.map(|came| came.elapsed()));
        }
        let seat = &self.seats[number - self.configured.len()];
        let came_ms = Some(seat.came_ms.load(Relaxed)).filter(|came_ms| *came_ms > 0);
        let ago = came_ms.map(|came_ms| Duration::from_millis(self.age_ms().saturating_sub(came_ms)));
        f64::from_bits(seat.share.load(Relaxed)) * warm(ago)
    }

    /// Those that may be chosen: the best that there are.
    fn candidates(&self, live: &[usize], refused: &[usize], avoid: Option<usize>) -> Vec<Candidate> {
        let rank = |number: usize| match () {
            () if self.at(number).checked.is_unwell() => Rank::Unwell,
            () if Some(number) == avoid => Rank::Avoided,
            () if self.at(number).reach.is_out() => Rank::Lost,
            () => Rank::Fit,
        };
        let all = live.iter().copied().filter(|number| !refused.contains(number));
        let ranked: Vec<_> = all.map(|number| (rank(number), number)).collect();
        let best = ranked.iter().map(|(rank, _)| *rank).min();
        let candidate = |number: usize| Candidate {
            load: self.outstanding(number).load(Relaxed),
            share: self.share(number),
            ..Candidate::new(number, self.at(number).identity)
        };
        ranked.into_iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, number)| candidate(number)).collect()
    }
}

/// The less loaded of two random ones, of so many.
fn pick_of(count: usize, avoid: Option<usize>, load: impl Fn(usize) -> usize) -> usize {
    let draw = || {
        let candidate = fastrand::usize(..count);
        if Some(candidate) == avoid { (candidate + 1 + fastrand::usize(..count - 1)) % count } else { candidate }
    };
    let (a, b) = (draw(), draw());
    if load(b) < load(a) { b } else { a }
}
