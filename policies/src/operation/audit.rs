//! What people did: who, when, what, why, and what came of it.
//!
//! An entry about an operation is written in the same step as the change that it documents, so neither is there without
//! the other. Entries hold no key, body or credential; what a person wrote is kept as it was written.

use super::{OperationId, UnixMillis};

/// Entries that are kept; the oldest go first. Some thousands a day for a month.
pub const AUDIT_KEPT: u64 = 100_000;

/// One thing that a person did, or tried to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: UnixMillis,
    /// Who, in their own words: nobody has proven it.
    pub actor: String,
    /// What: `resolve`, `query`, `redispatch`, `force`, `release`, `log-level`, `drain`.
    pub action: String,
    /// To what: an operation's id, a breaker's name.
    pub target: String,
    /// The operation, if it is about one.
    pub operation: Option<OperationId>,
    /// Why, in their own words.
    pub reason: String,
    /// How things stood; `None` if that was not known.
    pub before: Option<String>,
    /// How they stand since; `None` if nothing changed.
    pub after: Option<String>,
    /// `done`, or why it was refused.
    pub result: String,
}

/// An entry of the trail, numbered from 1 in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Its number.
    pub number: u64,
    /// What was done.
    pub entry: AuditEntry,
}
