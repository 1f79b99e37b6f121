//! Which part of `/_mainstay` answers a request.

use bytes::Bytes;
use http::{Method, Response, request::Parts};
use mainstay_policies::{idempotency::principal_hash, problem::Problem};

use super::{Caller, CallerRequest, ControlContext, Reader, batch, operations, pages, result};
use crate::api::{Fault, reply::Reply};

/// Answers a request under the control prefix. The rate limit was applied by the caller.
pub async fn handle(cx: &ControlContext, parts: &Parts, body: Bytes, caller: Caller<'_>) -> Response<Bytes> {
    let Caller { reader, former } = caller;
    let principal = match reader {
        Reader::Anonymous => None,
        Reader::Principal(principal) => principal,
    };
    let asked = CallerRequest { cx, parts, reader, principal, principal_hash: principal_hash(principal), former };
    let reply = match asked.dispatch(&body).await {
        Ok(reply) => reply,
        Err(fault) => fault.into_reply(asked.links(), asked.trace_id()),
    };
    reply.into_response(parts.method == Method::HEAD)
}

impl CallerRequest<'_> {
    async fn dispatch(&self, body: &Bytes) -> Result<Reply, Fault> {
        let path = self.parts.uri.path();
        let rest = path.strip_prefix(self.prefix()).unwrap_or(path);
        let segments: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
        match segments[..] {
            [""] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                Ok(pages::index(self))
            }
            ["openapi.json"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                pages::openapi(self)
            }
            ["operations"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                operations::find_or_list(self).await
            }
            ["operations", id] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                operations::read(self, id).await
            }
            ["operations", id, "result"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                result::read(self, id).await
            }
            ["operations:batchGet"] => {
                self.allow(&[Method::POST])?;
                batch::get(self, body).await
            }
            ["idempotency"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                pages::published_policy(self)
            }
            ["problems"] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                Ok(pages::problems(self))
            }
            ["problems", slug] => {
                self.allow(&[Method::GET, Method::HEAD])?;
                let problem =
                    Problem::from_slug(slug).ok_or_else(|| Fault::no_route("There is no such problem type."))?;
                Ok(pages::problem(self, problem))
            }
            ["ids"] => {
                self.allow(&[Method::POST])?;
                pages::ids(self).await
            }
            _ => Err(Fault::no_route("Nothing is served here.")),
        }
    }
}
