//! Which streams have a request that was refused before `h2` saw it, and why.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::wire::http1::head::Refused;

/// Requests that can wait for their refusal at once. More are malformed, so that nobody fills our memory with them: those that
/// come while none is taken off wait beyond the streams that a connection may have.
const MAX_WAITING: usize = 1024;

/// What the guard tells whoever accepts streams.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Whether there is one, so that others need not lock.
    any: AtomicBool,
    waiting: Mutex<Vec<(u32, Refused)>>,
}

impl Refusals {
    /// Why the request of a stream that has been accepted is refused. Streams are accepted in the order of their numbers, so this
    /// forgets those before it.
    pub fn take(&self, stream: u32) -> Option<Refused> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let found = waiting.iter().find(|(of, _)| *of == stream).map(|(_, refused)| *refused);
        waiting.retain(|(of, _)| *of > stream);
        self.any.store(!waiting.is_empty(), Ordering::Relaxed);
        found
    }

    /// False where too many wait.
    pub(super) fn note(&self, stream: u32, refused: Refused) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.len() == MAX_WAITING {
            return false;
        }
        waiting.push((stream, refused));
        self.any.store(true, Ordering::Relaxed);
        true
    }
}
