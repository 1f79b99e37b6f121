//! Which operations are under a key, without an index on disk over all of them.
//!
//! Hashes come in no order, so such an index costs a page of the log, and of the database, for each operation. Here the
//! latest operations are in a map in memory (`index`); those before are in segments on disk (`segments`), which are read
//! only if a filter in memory says that a key may be in them. `filing` moves keys from one to the other.
//!
//! ```text
//! begin ──► map of the latest ── 32 768 of them ──► segment, written a few pages with each transaction ──► filter
//! look  ──► map, newest first ──► segments whose filter says "maybe", newest first ──► the whole key in the record
//! ```
//!
//! What a service is asked about an operation is filed in the same way, beside its key, so that the answer is not taken for
//! one about another principal's (`is_anothers`).
//!
//! What is found is a candidate: the whole key in the record decides. Too many candidates cost time; one too few would
//! repeat a write, so a segment that is not as it was written is damage, and the ledger is not opened.

mod filing;
mod index;
mod segments;
#[cfg(test)]
mod tests;

pub(super) use self::{
    filing::Filing,
    index::{Entry, KeyIndex},
    segments::{all, asked_by, is_anothers, latest_under, load, read},
};
use crate::faults;

/// Entries of a segment: a megabyte of the map, and a few milliseconds of a start. Tests of the ledger meet many segments.
const SEGMENT: usize = if cfg!(test) { 150 } else { 1 << 15 };

fn segment_size() -> usize {
    faults::keys_in_segment(SEGMENT)
}
