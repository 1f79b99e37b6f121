//! `/_mainstay` on the data listeners: where a caller reads what became of its writes.
//!
//! ```text
//! GET|HEAD /                        what there is; for browsers a page
//! GET|HEAD openapi.json             the same for programs
//! GET|HEAD operations/{id}          one operation; Prefer: wait=N waits until it is settled
//! GET|HEAD operations/{id}/result   what is kept of its answer
//! GET|HEAD operations?key=          the same by key; &upstream= and &path= narrow it, or ask the service itself
//! GET|HEAD operations?state=        a listing
//! POST     operations:batchGet      up to 100 keys at once
//! GET|HEAD idempotency              the published policy; ?method=&path= that of one write
//! GET|HEAD problems[/{slug}]        what a problem means and what to do
//! POST     ids?count=N&kind=        fresh keys: uuidv7 (the default) or snowflake
//! ```
//!
//! Everything is seen with the eyes of the caller's principal: another's operation is absent. Where no principal is declared,
//! an operation is found by its key only with the credentials that it is bound to, and nobody lists any. What operators may do
//! lives on the admin listener.

mod batch;
mod html;
mod operations;
pub(crate) mod pages;
mod passthrough;
mod result;
pub mod routes;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, request::Parts};
use mainstay_policies::{
    clock::WallClock,
    idempotency::{Asker, IdMint, QueryGate, credentials, principal_hash},
    operation::{Operation, ledger::Ledger},
};

use crate::{
    api::Fault,
    config::model::{Config, Listener, Route},
};

/// What the interface reads from. One per configuration snapshot.
#[derive(Clone)]
pub struct ControlContext {
    /// The operations.
    pub ledger: Arc<dyn Ledger>,
    /// The snapshot: its upstreams, its published policy, and the prefix under which all this is served.
    pub config: Arc<Config>,
    /// Wall time.
    pub clock: WallClock,
    /// Asks upstreams, where it can be done.
    pub asker: Option<Arc<dyn Asker>>,
    /// Bounds that asking, together with the routes.
    pub gate: QueryGate,
    /// Makes fresh keys.
    pub mint: Arc<IdMint>,
}

/// The request's trace id, for problem documents: put into the request's extensions by the data path.
#[derive(Clone, Debug)]
pub struct TraceId(pub Arc<str>);

/// The listener that a request came to, in its extensions: who asks there is answered by its routes alone.
#[derive(Clone, Debug)]
pub struct AskedAt(pub Arc<Listener>);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Whoever reaches a listener that declares no principal. Its credentials are all that tells one from another.
    Anonymous,
    /// Whom the listener names, if it names anybody.
    Principal(Option<&'a [u8]>),
}

/// Who asks, and who that was by the ways in which its listener knew callers before: what was theirs is still its own.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who asks.
    pub reader: Reader<'a>,
    /// Its former principals, `None` where nobody was named.
    pub former: &'a [Option<Bytes>],
}

/// One request as the interface sees it.
struct CallerRequest<'a> {
    cx: &'a ControlContext,
    parts: &'a Parts,
    reader: Reader<'a>,
    principal: Option<&'a [u8]>,
    principal_hash: [u8; 32],
    former: &'a [Option<Bytes>],
}

impl CallerRequest<'_> {
    /// Under which path this is asked.
    fn prefix(&self) -> &str {
        &self.cx.config.control.path
    }

    /// With what links begin.
    fn links(&self) -> &str {
        &self.cx.config.control.links
    }

    fn allow(&self, methods: &[Method]) -> Result<(), Fault> {
        if methods.contains(&self.parts.method) {
            return Ok(());
        }
        Err(Fault::method(methods))
    }

    /// The credentials by which operations that are bound to some are shown: none are where somebody was always named.
    fn credentials(&self) -> Option<[u8; 32]> {
        let binds = matches!(self.reader, Reader::Anonymous) || self.former.contains(&None);
        // Without the secret nothing is shown that is bound to any.
        let secret = self.cx.ledger.fingerprint_secret().filter(|_| binds);
        secret.map(|secret| credentials(secret, &self.parts.headers))
    }

    /// Every principal that the caller has, or had: the one of now first.
    fn principals(&self) -> impl Iterator<Item = Option<&[u8]>> {
        std::iter::once(self.principal).chain(self.former.iter().map(Option::as_deref))
    }

    /// Whether an operation is the caller's.
    fn owns(&self, operation: &Operation) -> bool {
        operation.principal == self.principal_hash
            || self.former.iter().any(|former| operation.principal == principal_hash(former.as_deref()))
    }

    /// The routes of the listener that this came to, in file order.
    fn routes_here(&self) -> impl Iterator<Item = &Arc<Route>> {
        let at = self.parts.extensions.get::<AskedAt>();
        self.cx.config.routes.iter().filter(move |route| match at {
            Some(AskedAt(listener)) => route.matches.belongs_to(listener),
            None => route.matches.listeners.is_empty(),
        })
    }

    fn trace_id(&self) -> Option<&str> {
        self.parts.extensions.get::<TraceId>().map(|id| &*id.0)
    }
}

/// Also if another principal has one, or one with other credentials.
pub(super) const NO_OPERATION_WITH_KEY: &str = "There is no operation with this key that you may see. It may be another caller's, or forgotten: this does not say that \
     nothing was done.";

#[cfg(test)]
mod tests;
