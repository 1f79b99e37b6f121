//! `/_mainstay` on the data listeners: where a caller reads what became of its writes.
//!
//! ```text
//! GET|HEAD operations/{id}          one operation; Prefer: wait=N waits until it is settled
//! GET|HEAD operations?key=          the same by key; &upstream= and &path= narrow it, or ask the service itself
//! GET|HEAD operations?state=        a listing
//! POST     operations:batchGet      up to 100 keys at once
//! GET|HEAD idempotency              the published policy
//! GET|HEAD problems[/{slug}]        what a problem means and what to do
//! POST     ids?count=N&kind=        fresh keys: uuidv7 (the default) or snowflake
//! ```
//!
//! Everything is seen with the eyes of the caller's principal: another's operation is absent. What operators may do lives
//! on the admin listener.

mod batch;
mod operations;
mod pages;
mod passthrough;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use mainstay_policies::{
    clock::WallClock,
    idempotency::{Asker, IdMint, QueryGate, principal_hash},
    operation::ledger::Ledger,
    problem::Problem,
};

use crate::{
    api::{Fault, reply::Reply},
    config::model::Config,
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

/// One request as the interface sees it.
struct Asked<'a> {
    cx: &'a ControlContext,
    parts: &'a Parts,
    principal: Option<&'a [u8]>,
    principal_hash: [u8; 32],
}

/// Answers a request under the control prefix. The rate limit was applied by the caller.
pub async fn handle(cx: &ControlContext, parts: &Parts, body: Bytes, principal: Option<&[u8]>) -> Response<Bytes> {
    let asked = Asked { cx, parts, principal, principal_hash: principal_hash(principal) };
    let reply = match asked.dispatch(&body).await {
        Ok(reply) => reply,
        Err(fault) => fault.into_reply(asked.prefix(), asked.trace_id()),
    };
    reply.into_response(parts.method == Method::HEAD)
}

impl Asked<'_> {
    async fn dispatch(&self, body: &Bytes) -> Result<Reply, Fault> {
        let path = self.parts.uri.path();
        let rest = path.strip_prefix(self.prefix()).unwrap_or(path);
        let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        match segments[..] {
            ["operations"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                operations::find_or_list(self).await
            }
            ["operations", id] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                operations::read(self, id).await
            }
            ["operations:batchGet"] => {
                self.allow(&[Method::POST])?;
                batch::get(self, body).await
            }
            ["idempotency"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                Ok(pages::published_policy(&self.cx.config))
            }
            ["problems"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                Ok(pages::problems(self))
            }
            ["problems", slug] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                let problem =
                    Problem::from_slug(slug).ok_or_else(|| Fault::absent("There is no such problem type."))?;
                Ok(pages::problem(self, problem))
            }
            ["ids"] => {
                self.allow(&[Method::POST])?;
                pages::ids(self).await
            }
            _ => Err(Fault::absent("Nothing is served here.")),
        }
    }

    fn prefix(&self) -> &str {
        &self.cx.config.control.path
    }

    fn allow(&self, methods: &[Method]) -> Result<(), Fault> {
        if methods.contains(&self.parts.method) {
            return Ok(());
        }
        Err(Fault::method(methods))
    }

    fn trace_id(&self) -> Option<&str> {
        self.parts.extensions.get::<TraceId>().map(|id| &*id.0)
    }
}

#[cfg(test)]
mod tests;
