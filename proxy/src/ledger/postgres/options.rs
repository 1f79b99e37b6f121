//! How this process uses a ledger in PostgreSQL.

use std::time::Duration;

use mainstay_policies::clock::WallClock;

pub use crate::config::model::Postgres as Settings;

/// How this process uses it.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it is reached and kept.
    pub settings: Settings,
    /// What people call this replica: the pod's name.
    pub name: String,
    /// Operations of this replica that are not terminal, at most.
    pub max_open: usize,
    /// The longest retention of any route.
    pub retention: Duration,
    /// The time by which it is kept, for tests; `None` is the store's own.
    pub clock: Option<WallClock>,
}
