//! What is known when the service must be asked.

use std::sync::Arc;

use http::HeaderMap;
use mainstay_policies::cache::{Key, Lead, Store, Stored};

/// What is known when the service must be asked.
pub(super) struct Miss {
    pub(crate) store: Arc<Store>,
    pub(crate) key: Key,
    pub(crate) found: Option<Arc<Stored>>,
    /// Whether what was found may stand in for a failure.
    pub(crate) or_if_error: bool,
    /// The duty to tell others how it ended.
    pub(crate) lead: Option<Lead>,
    /// The newest invalidation that was known before.
    pub(crate) asked_at: u64,
    /// The client's headers, which the answer may vary on.
    pub(crate) client: HeaderMap,
}
