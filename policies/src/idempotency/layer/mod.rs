//! The policy as a `tower` layer, for programs that do not run the proxy.

mod replies;
mod reply_body;
mod service;

use std::sync::Arc;

use tower_layer::Layer;

use super::Protection;

pub use self::{reply_body::ReplyBody, service::IdempotencyService};

/// Makes keyed writes to the inner service safe to repeat.
///
/// The inner service is called at most once per key, in a task of its own: a caller that leaves does not cancel a write
/// that is under way. An [`AttemptError`](crate::evidence::AttemptError) of the inner service says what it proves; any
/// other error proves nothing. Needs a tokio runtime.
///
/// ```
/// use std::{convert::Infallible, sync::{Arc, atomic::{AtomicU32, Ordering}}};
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use mainstay_policies::{
///     clock::WallClock,
///     idempotency::{Idempotency, IdempotencyLayer, Protection},
///     operation::memory::MemoryLedger,
/// };
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let clock = WallClock::system();
/// let ledger = Arc::new(MemoryLedger::new(clock.clone(), 10_000, 64 << 20));
/// let protection = Protection::new(Idempotency::default(), "pay".into(), "bank".into(), ledger, clock, false);
///
/// let payments = Arc::new(AtomicU32::new(0));
/// let counted = Arc::clone(&payments);
/// let bank = service_fn(move |_request| {
///     let receipt = counted.fetch_add(1, Ordering::SeqCst) + 1;
///     async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("receipt {receipt}"))))) }
/// });
/// let safe_bank = IdempotencyLayer::new(protection.into()).layer(bank);
///
/// for _ in 0..3 {
///     let pay = Request::post("/pay").header("idempotency-key", "order-7").body(Full::new(Bytes::from("5 EUR")))?;
///     assert_eq!(safe_bank.clone().oneshot(pay).await?.status(), 200);
/// }
/// assert_eq!(payments.load(Ordering::SeqCst), 1);
/// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    protection: Arc<Protection>,
    prefix: Arc<str>,
}

impl IdempotencyLayer {
    /// A layer that enforces `protection`.
    pub fn new(protection: Arc<Protection>) -> Self {
        Self { protection, prefix: "/_mainstay".into() }
    }

    /// The same with another path under which the program shows operations and problems; `/_mainstay` by default.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService::new(inner, Arc::clone(&self.protection), Arc::clone(&self.prefix))
    }
}
