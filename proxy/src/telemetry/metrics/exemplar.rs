//! Exemplars: for each bucket of a histogram, the trace of a request that fell into it.

use std::time::Duration;

use mainstay_policies::clock::UnixMillis;
use parking_lot::Mutex;

/// The latest sampled request of each bucket. Only sampled requests come here, so a lock will do.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<Vec<Exemplar>>);

/// A request whose trace can be looked at.
#[derive(Clone, Debug)]
pub(super) struct Exemplar {
    /// The upper bound of its bucket, in seconds.
    pub(super) bound: f64,
    trace_id: String,
    took: Duration,
    at: Option<UnixMillis>,
}

impl Exemplars {
    /// A request fell into the bucket of that bound.
    pub(super) fn put(&self, bound: f64, trace_id: String, took: Duration, at: Option<UnixMillis>) {
        let new = Exemplar { bound, trace_id, took, at };
        let mut kept = self.0.lock();
        match kept.iter_mut().find(|known| known.bound.total_cmp(&bound).is_eq()) {
            Some(known) => *known = new,
            None => kept.push(new),
        }
    }

    /// Those that there are.
    pub(super) fn all(&self) -> Vec<Exemplar> {
        self.0.lock().clone()
    }
}

impl Exemplar {
    /// What follows the bucket's sample.
    pub(super) fn written(&self) -> String {
        let (trace_id, took) = (&self.trace_id, self.took.as_secs_f64());
        let at = self.at.map_or_else(String::new, |at| format!(" {:.3}", at as f64 / 1e3));
        format!(" # {{trace_id=\"{trace_id}\"}} {took}{at}")
    }

    /// How the bucket's bound is written.
    pub(super) fn le(&self) -> String {
        if self.bound.is_finite() { format!("{:?}", self.bound) } else { "+Inf".into() }
    }
}
