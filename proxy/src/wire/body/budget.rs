//! How many bytes of bodies are held whole at a time, all requests together.
//!
//! What streams is bounded where it streams; what has to be at hand whole (a keyed write and its answer, a body that is kept to
//! be sent again) is asked for here first, before the first of its bytes is read. So many of them at once cost no more memory
//! than was said.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The bytes that may be held, and those that are.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    most: AtomicUsize,
    held: AtomicUsize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<BodyBudget>,
    bytes: AtomicUsize,
}

impl BodyBudget {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(most), held: AtomicUsize::new(0) })
    }

    /// Another bound from now on; what is held stays.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// Bytes that may be held.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Room for so many bytes; `None` if there is none now. What alone is larger than all that may be held has its turn when
    /// nothing else is: it would never have one otherwise.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let most = self.most();
        let fits = |held: usize| {
            let sum = held.saturating_add(bytes);
            (held == 0 || sum <= most).then_some(sum)
        };
        self.held.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Held { budget: self.clone(), bytes: AtomicUsize::new(bytes) })
    }
}

impl Held {
    /// It is less than was thought.
    pub(crate) fn shrink(&self, bytes: usize) {
        let before = self.bytes.fetch_min(bytes, Relaxed);
        self.budget.held.fetch_sub(before.saturating_sub(bytes), Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes.load(Relaxed), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_may_be_and_all_of_it_comes_back() {
        let budget = BodyBudget::new(100);
        let first = budget.hold(60).expect("there is room");
        assert!(budget.hold(41).is_none());
        let second = budget.hold(40).expect("there is room");
        assert_eq!(budget.held(), 100);
        first.shrink(10);
        first.shrink(50);
        assert_eq!(budget.held(), 50, "what was given back is not given back twice");
        drop((first, second));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_is_larger_than_all_waits_until_it_is_alone() {
        let budget = BodyBudget::new(100);
        let small = budget.hold(1).expect("there is room");
        assert!(budget.hold(200).is_none());
        drop(small);
        let large = budget.hold(200).expect("it is alone");
        assert!(budget.hold(1).is_none());
        drop(large);
        budget.set_most(10);
        assert!(budget.hold(5).is_some_and(|_| budget.hold(6).is_none()));
    }
}
