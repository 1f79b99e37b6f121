//! What every ledger must pass.
