//! The resolver: settles what is unknown, with no client about.
//!
//! ```text
//! ledger: what is due ──► lanes, one per upstream, the longest due first
//!                             └─ the query gate: evenly spaced by `rate`, one query per operation
//!                                  └─ ask the status endpoint ── proof: settled
//!                                       └─ none: the next due time, or another dispatch, or a person
//! ```
//!
//! What is to be done, and when the next time is, is decided in [`step`](mainstay_policies::operation::step) alone; here it
//! is carried out. The ledger is the queue: what is in the lanes is due there, too, so a crash loses nothing, and whatever
//! ends without a result comes up again. After a restart everything open is due at once, and the gate spreads it.
//!
//! It runs on the main thread, beside the workers, with connections of its own.
//!
//! The wall clock may jump. Due times are wall times, since they outlive the process; how long nothing happens is measured
//! on the monotonic clock. Between two looks of the worker both must have moved alike. Where the wall clock was put
//! *forward*, every time on record is put forward with it, durably: nothing is given up early, and above all `settle_after`
//! is not cut short, for a `not_found` that is believed too early frees the key of a write that may still arrive. Until that
//! is done no `not_found` is believed at all. Where it was put *back*, waits would only last longer: each is bounded by the
//! longest that its policy knows, and `settle_after` may last longer by as much as the clock went back, which is the safe
//! side. A jump while no process runs cannot be told from time that passed.
//!
//! It is started again if it ends by a panic ([`supervise`](super::supervise)): it keeps nothing that the ledger does not
//! have, but for what it knows of the clock, which is the gate's.

mod clock;
mod handle;
mod health;
mod lanes;
mod open;
mod work;
mod worker;

pub(crate) use self::handle::{NotDone, Resolver};
pub(crate) use self::worker::run;
