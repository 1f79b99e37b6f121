//! What is open, read in pages.

use mainstay_policies::operation::ledger::{Due, Ledger, LedgerError};

/// Operations that are read from the ledger's index at once.
pub(super) const PAGE: usize = 1024;

/// Everything that is open and not a person's alone.
pub(super) async fn open(ledger: &dyn Ledger) -> Result<Vec<Due>, LedgerError> {
    let mut open: Vec<Due> = Vec::new();
    loop {
        let more = ledger.due(u64::MAX, open.last().map(Due::place), PAGE).await?;
        let is_last = more.len() < PAGE;
        open.extend(more);
        if is_last {
            return Ok(open);
        }
    }
}
