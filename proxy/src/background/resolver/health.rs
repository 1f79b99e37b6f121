//! When an upstream has recovered: then what waits for it need not sleep its backoff out.
//!
//! Two signs of trouble, each with its own end: a status query that found nobody (no answer, or a 5xx), until one is
//! answered; and a circuit breaker that is not closed, until it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

/// Between two pulls of one upstream: a breaker that flaps does not undo all backoff.
const BETWEEN_PULLS: Duration = Duration::from_secs(5);

/// How the upstreams are, as far as the resolver sees. Upstreams that are well leave nothing here.
#[derive(Debug, Default)]
pub(super) struct Health {
    upstreams: HashMap<Arc<str>, Trouble>,
    pulled: HashMap<Arc<str>, Instant>,
}

#[derive(Debug, Default)]
struct Trouble {
    silent: bool,
    broken: bool,
    /// When it was asked last in vain.
    tried: Option<Instant>,
}

impl Health {
    /// A status query was answered, or not. Returns whether the upstream has recovered by it.
    pub(super) fn heard(&mut self, upstream: &Arc<str>, is_up: bool, now: Instant) -> bool {
        let has_recovered = self.learn(upstream, |trouble| &mut trouble.silent, !is_up, now);
        if let Some(trouble) = self.upstreams.get_mut(upstream).filter(|_| !is_up) {
            trouble.tried = Some(now);
        }
        has_recovered
    }

    /// The upstreams that answer no query, and were asked none for as long as `patience` says: only another query shows that one
    /// is back. Each counts as asked now.
    pub(super) fn unheard(&mut self, patience: impl Fn(&Arc<str>) -> Duration, now: Instant) -> Vec<Arc<str>> {
        let silent = self.upstreams.iter_mut().filter(|(_, trouble)| trouble.silent);
        let waited = |at: Instant, upstream| now.duration_since(at) >= patience(upstream);
        let unheard = silent.filter(|(upstream, trouble)| trouble.tried.is_none_or(|at| waited(at, upstream)));
        unheard.map(|(upstream, trouble)| (trouble.tried.replace(now), Arc::clone(upstream)).1).collect()
    }

    /// All breakers before the upstream are closed, or not. Returns whether it has recovered by it.
    pub(super) fn breakers(&mut self, upstream: &Arc<str>, are_closed: bool, now: Instant) -> bool {
        self.learn(upstream, |trouble| &mut trouble.broken, !are_closed, now)
    }

    fn learn(
        &mut self,
        upstream: &Arc<str>,
        sign: fn(&mut Trouble) -> &mut bool,
        is_trouble: bool,
        now: Instant,
    ) -> bool {
        if is_trouble {
            *sign(self.upstreams.entry(Arc::clone(upstream)).or_default()) = true;
            return false;
        }
        let Some(trouble) = self.upstreams.get_mut(upstream) else { return false };
        let was_trouble = std::mem::take(sign(trouble));
        if !trouble.silent && !trouble.broken {
            self.upstreams.remove(upstream);
        }
        self.pulled.retain(|_, at| now.duration_since(*at) < BETWEEN_PULLS);
        let has_recovered = was_trouble && !self.pulled.contains_key(upstream);
        if has_recovered {
            self.pulled.insert(Arc::clone(upstream), now);
        }
        has_recovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_recovers_once_by_an_answer_or_a_breaker_that_closes() {
        let (mut health, app, now) = (Health::default(), Arc::from("app"), Instant::now());
        assert!(!health.heard(&app, true, now), "it was well");
        health.heard(&app, false, now);
        assert!(!health.heard(&Arc::from("other"), true, now), "another one");
        assert!(health.heard(&app, true, now));
        assert!(!health.heard(&app, true, now), "once");
        let later = now + BETWEEN_PULLS;
        health.breakers(&app, false, later);
        assert!(!health.heard(&app, true, later), "an answer to a query closes no breaker");
        assert!(health.breakers(&app, true, later));
    }

    #[test]
    fn a_silent_upstream_is_tried_again_as_long_as_it_is_silent() {
        let (mut health, app, start) = (Health::default(), Arc::<str>::from("app"), Instant::now());
        let tried = |health: &mut Health, secs| {
            health.unheard(|_| Duration::from_secs(10), start + Duration::from_secs(secs)).len()
        };
        health.breakers(&app, false, start);
        assert_eq!(tried(&mut health, 60), 0, "a breaker has probes of its own");
        health.heard(&app, false, start + Duration::from_mins(1));
        assert_eq!([61, 69, 70, 71, 79, 80].map(|at| tried(&mut health, at)), [0, 0, 1, 0, 0, 1]);
        health.heard(&app, false, start + Duration::from_secs(85));
        assert_eq!([90, 94, 95].map(|at| tried(&mut health, at)), [0, 0, 1], "whatever the query was for");
        assert!(health.heard(&app, true, start + Duration::from_secs(96)));
        assert_eq!(tried(&mut health, 1000), 0);
    }

    #[test]
    fn an_upstream_that_flaps_is_pulled_forward_now_and_then() {
        let (mut health, app, start) = (Health::default(), Arc::from("app"), Instant::now());
        let pulls = (0..100_u32).filter(|n| {
            let now = start + Duration::from_millis(100) * *n;
            health.heard(&app, n % 2 == 1, now)
        });
        assert_eq!(pulls.count(), 2, "in ten seconds");
        assert!(health.upstreams.is_empty());
    }
}
