//! When what is kept of an operation is dropped.

use crate::operation::{Operation, Retained, UnixMillis};

pub(super) fn is_forgotten(operation: &Operation, now: UnixMillis) -> bool {
    operation.forgotten_at().is_some_and(|at| at <= now)
}

/// When the next part of a record is to be dropped.
pub(super) fn next_expiry(operation: &Operation) -> Option<UnixMillis> {
    match operation.retained {
        Retained::Stored(_) => operation.expires_at(),
        Retained::None | Retained::StatusOnly => operation.forgotten_at(),
    }
}
