//! How this process uses a ledger in PostgreSQL.

use std::{sync::Arc, time::Duration};

use mainstay_policies::clock::WallClock;

pub use crate::config::model::Postgres as Settings;

/// Hears how long each commit took, and how many begins and changes it carried.
#[derive(Clone)]
pub struct OnCommit(pub Arc<dyn Fn(Duration, usize) + Send + Sync>);

impl OnCommit {
    /// Nobody does.
    pub fn nobody() -> Self {
        Self(Arc::new(|_, _| ()))
    }
}

impl std::fmt::Debug for OnCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnCommit")
    }
}

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
    /// Hears how long each commit took.
    pub on_commit: OnCommit,
    /// The time by which it is kept, for tests; `None` is the store's own.
    pub clock: Option<WallClock>,
}
