//! What a ledger of several replicas needs, whatever engine keeps it: [`owned`] is what this replica owns, [`lease`] for how
//! long it may act on that, [`watch`] which other replicas have died, [`waiters`] who waits for what another replica does,
//! [`numbers`] the order of operations, [`told`] who learns of what the ledger does by itself,
//! [`again`] what was asked twice, [`acknowledged`] what its store must not have forgotten, [`meters`] what it counts of itself.

pub(super) mod acknowledged;
pub(super) mod again;
pub(super) mod lease;
pub(super) mod meters;
pub(super) mod numbers;
pub(super) mod owned;
pub(super) mod told;
pub(super) mod waiters;
pub(super) mod watch;

#[cfg(test)]
mod model;
