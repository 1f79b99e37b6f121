//! What a ledger that replicas share counts of itself.

use std::collections::BTreeMap;

use mainstay_policies::operation::ledger::Reading;
use parking_lot::Mutex;

/// Counts, each by its name and one word. All of them are far from the path of a single request: a batch, a beat, a refusal.
#[derive(Default)]
pub(in crate::ledger) struct Meters(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Meters {
    /// Once more.
    pub(in crate::ledger) fn count(&self, name: &'static str, word: &'static str) {
        self.add(name, word, 1);
    }

    /// So many more.
    pub(in crate::ledger) fn add(&self, name: &'static str, word: &'static str, more: u64) {
        *self.0.lock().entry((name, word)).or_default() += more;
    }

    /// All of them.
    pub(in crate::ledger) fn readings(&self) -> Vec<Reading> {
        self.0.lock().iter().map(|(&(name, word), &value)| Reading { name, word, value: value as f64 }).collect()
    }
}
