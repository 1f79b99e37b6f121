//! Asking an upstream outside of a client's request: status queries.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::HOST};
use mainstay_policies::{
    evidence::{AttemptError, Cause, Sent},
    idempotency::{Asker, query::QUERY_TIMEOUT},
    operation::TraceOrigin,
    timeout::IdleBody,
};
use tokio::time::Instant;

use crate::{
    runtime::{Runtime, snapshot::Snapshot},
    telemetry::trace::AttemptStart,
    upstream::{Informed, Progress, Upstream, head::RequestHead},
    wire::{
        body::{
            ProxyBody,
            collect::{self, Collected},
        },
        forward,
    },
};

/// Bytes of a status endpoint's answer that are read; a larger one is no evidence.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Asks over the connections of one worker.
pub(crate) struct StatusAsker {
    runtime: Arc<Runtime>,
    snapshot: Arc<Snapshot>,
    worker: usize,
    about: Option<TraceOrigin>,
}

impl StatusAsker {
    pub(crate) const fn new(runtime: Arc<Runtime>, snapshot: Arc<Snapshot>, worker: usize) -> Self {
        Self { runtime, snapshot, worker, about: None }
    }

    /// The same, with spans that link to the request which began the operation.
    pub(crate) const fn about(mut self, origin: Option<TraceOrigin>) -> Self {
        self.about = origin;
        self
    }

    async fn send(&self, upstream: &Arc<Upstream>, request: Request<Bytes>) -> Result<Response<Bytes>, AttemptError> {
        let now = Instant::now();
        let endpoint = upstream.pick(None, None);
        let _in_flight = upstream.enter(endpoint);
        let authority = upstream.authority(endpoint);
        let (head, body) = request.into_parts();
        let mut headers = head.headers;
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            headers.insert(HOST, host);
        }
        let mut trace = self.runtime.tracing.start_about(self.about, now);
        trace.name("status query");
        let mut span = trace.attempt(
            // The path holds the key, so the span does not show it.
            &AttemptStart {
                number: 1,
                method: &head.method,
                path: "(status query)",
                endpoint: upstream.configured(endpoint),
                upstream: &upstream.params().name,
                retry_reason: None,
            },
            now,
        );
        span.inject(&mut headers);
        if head.method == Method::POST {
            forward::fix_length(&mut headers, body.len());
        }
        let request = (
            RequestHead { method: &head.method, uri: &head.uri, headers: &headers, host: None, added: None },
            ProxyBody::from(body),
        );
        let (progress, informed) = (Progress::default().telling(span.met()), Informed::default());
        let response = match upstream.send(self.worker, endpoint, request, &progress, informed).await {
            Ok(response) => response,
            Err(error) => {
                span.error(error.cause.label());
                span.finish(Instant::now());
                trace.finish(Instant::now());
                return Err(error);
            }
        };
        span.status(response.status());
        span.finish(Instant::now());
        trace.finish(Instant::now());
        let (head, body) = response.into_parts();
        let body = IdleBody::new(body, QUERY_TIMEOUT);
        let broken = || AttemptError::new(Cause::Reset, Sent::Maybe);
        match collect::up_to(body, MAX_ANSWER_BYTES).await {
            Ok(Collected::Whole { body, .. }) => Ok(Response::from_parts(head, body)),
            Ok(Collected::TooLarge { .. }) => Err(broken().with_source("the answer is too large")),
            Err(error) => Err(broken().with_source(error)),
        }
    }
}

impl Asker for StatusAsker {
    fn ask(
        &self,
        upstream: &str,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, AttemptError>> + Send + '_>> {
        let upstream = self.snapshot.upstreams.get(upstream).cloned();
        Box::pin(async move {
            match upstream {
                Some(upstream) => self.send(&upstream, request).await,
                None => {
                    Err(AttemptError::new(Cause::Connect, Sent::No).with_source("the upstream is configured no more"))
                }
            }
        })
    }
}
