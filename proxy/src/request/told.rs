//! What an access line tells of a request's way, beyond its answer.

use std::time::Duration;

/// What an access line tells of a request's way. Nothing of it costs a request more than a few words of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Where the last attempt went.
    pub(crate) endpoint: Option<usize>,
    /// Why the last attempt brought no answer.
    pub(crate) error: Option<&'static str>,
    /// What the cache did.
    pub(crate) cache: Option<&'static str>,
    /// Why the answer is a fallback.
    pub(crate) fallback: Option<&'static str>,
    /// How long it waited for its turn under a limit.
    pub(crate) waited: Duration,
    /// The beginnings of hashes: who called, and under which key.
    pub(crate) principal: Option<u32>,
    pub(crate) key: Option<u32>,
}

/// The beginning of a hash: enough to find the lines of one caller or key.
pub(crate) fn beginning(hash: &[u8; 32]) -> u32 {
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
