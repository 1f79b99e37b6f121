//! How keys move from memory to segments, and when a segment goes: the writer's bookkeeping, transaction by transaction.

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{
    index::{Entry, KeyIndex},
    segment_size,
    segments::{self, PAGE, Sealing},
};
use crate::ledger::disk::sql::SqlError;

/// Segments that are looked at for operations in one go, each a few microseconds.
const LOOKS: usize = 8;

/// What is on its way to a segment, and which segments are looked at next.
pub(crate) struct Filing {
    /// The last operation whose key is in a segment, or in the one that is being written.
    sealed: u64,
    next_id: i64,
    sealing: Option<Sealing>,
    /// Where the search for segments without operations goes on, and whether there is reason to search.
    looked_up_to: u64,
    may_be_empty: bool,
    /// Segments that the transaction removes.
    removed: Vec<i64>,
}

impl Filing {
    /// Goes on from what the file has.
    pub(crate) fn new(db: &Connection) -> Result<Self, SqlError> {
        let segments = segments::all(db)?;
        Ok(Self {
            sealed: segments.iter().map(|segment| segment.last).max().unwrap_or(0),
            next_id: segments.iter().map(|segment| segment.id).max().unwrap_or(0) + 1,
            sealing: None,
            looked_up_to: 0,
            may_be_empty: true,
            removed: Vec::new(),
        })
    }

    /// Operations may have been the last of their segment.
    pub(crate) const fn look_for_empty(&mut self) {
        self.may_be_empty = true;
    }

    /// Writes, within a transaction that files `filed` entries, twice as many to the segment that is being written.
    pub(crate) fn write(&mut self, db: &Connection, filed: usize) -> Result<(), SqlError> {
        if let Some(sealing) = &mut self.sealing {
            sealing.write(db, 2 * filed.div_ceil(PAGE).max(1))?;
        }
        if !std::mem::take(&mut self.may_be_empty) {
            return Ok(());
        }
        let next = segments::after(db, self.looked_up_to, LOOKS)?;
        self.looked_up_to = if next.len() == LOOKS { next.last().map_or(0, |last| last.last) } else { 0 };
        for segment in next {
            if segments::is_empty(db, segment)? {
                segments::remove(db, segment.id)?;
                self.removed.push(segment.id);
            }
        }
        Ok(())
    }

    /// The transaction is committed: it filed these entries, and `last` is the last operation that there is.
    pub(crate) fn committed(&mut self, index: &Mutex<KeyIndex>, filed: &[Entry], last: u64) {
        let mut index = index.lock();
        for entry in filed {
            index.add(*entry);
        }
        if self.sealing.as_mut().is_some_and(|sealing| sealing.committed(&mut index)) {
            self.sealing = None;
            // As many come as go, over time.
            self.may_be_empty = true;
        }
        for id in self.removed.drain(..) {
            index.forget(id);
        }
        if self.sealing.is_none() && index.fresh() >= segment_size() {
            self.sealing = Some(Sealing::start(self.next_id, &mut index, self.sealed, last));
            self.next_id += 1;
            self.sealed = last;
        }
    }

    /// The transaction was rolled back.
    pub(crate) fn rolled_back(&mut self) {
        self.removed.clear();
        self.sealing.iter_mut().for_each(Sealing::rolled_back);
    }
}
