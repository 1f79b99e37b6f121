//! How a gRPC answer is judged: by its code, which may come only with the trailers, long after the head.
//!
//! Until then the breaker's permit, the attempt's span and its count wait on the body. A half-open breaker does not wait for
//! ever: its own timeout opens it again, whatever a stream does.

use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode};
use http_body::Body as _;
use mainstay_policies::{
    circuit_breaker::{CallOutcome, Permit},
    evidence::Cause,
    grpc::{Code, tells_in_fields},
};
use tokio::time::Instant;

use super::first_frame::{self, First};
use crate::{
    runtime::route::Route,
    telemetry::{
        metrics::{AttemptResult, endpoint::Wrong},
        trace::AttemptSpan,
    },
    upstream::{BodyEnd, HearsEnd, UpstreamBody},
};

/// What an answer says of its service, as far as it has come.
pub(super) enum Told {
    /// By its status.
    Status(StatusCode),
    /// By its code.
    Code(Code),
    /// Not yet.
    Later,
}

/// What the answer to a gRPC call says.
pub(super) fn told(response: &Response<UpstreamBody>, first: &First) -> Told {
    if !response.status().is_success() || !tells_in_fields(response.headers()) {
        return Told::Status(response.status());
    }
    let code = first_frame::trailers(first).and_then(Code::in_fields).or_else(|| Code::in_fields(response.headers()));
    match code {
        Some(code) => Told::Code(code),
        // Clients read it so.
        None if response.body().is_end_stream() => Told::Code(Code::Unknown),
        None => Told::Later,
    }
}

/// Tells breaker and metrics what an answer with this status, or with a code that has this twin, said after so long.
pub(super) fn judge(
    route: &Route,
    endpoint: usize,
    permit: Option<Permit>,
    status: StatusCode,
    took: Duration,
    now: Instant,
) {
    if let Some(permit) = permit {
        let failed = route.breakers.of(endpoint).is_some_and(|breaker| breaker.is_error(status));
        permit.record_after(if failed { CallOutcome::Error } else { CallOutcome::Success }, took, now);
    }
    let wrong = status.is_server_error().then_some(Wrong::Answered(status));
    route.upstream.ended(endpoint, took, wrong, now);
    route.metrics.attempt(AttemptResult::Response(status), took);
}

/// An attempt whose answer has begun and has not told its code.
pub(super) struct Unjudged {
    pub(super) route: Arc<Route>,
    pub(super) endpoint: usize,
    pub(super) permit: Option<Permit>,
    /// `None` once it is judged.
    pub(super) span: Option<AttemptSpan>,
    /// Until its head came: how long a stream lasts says nothing of how slow its service is.
    pub(super) took: Duration,
}

impl HearsEnd for Unjudged {
    fn ended(mut self: Box<Self>, how: BodyEnd<'_>) {
        let now = Instant::now();
        let Some(mut span) = self.span.take() else { return };
        match how {
            BodyEnd::Whole(trailers) => {
                let code = trailers.and_then(Code::in_fields).unwrap_or(Code::Unknown);
                span.code(code);
                judge(&self.route, self.endpoint, self.permit.take(), code.twin(), self.took, now);
            }
            BodyEnd::Broken => {
                span.error(Cause::Reset.label());
                if let Some(permit) = self.permit.take() {
                    permit.record_after(CallOutcome::Error, self.took, now);
                }
                let wrong = Wrong::Failed(Cause::Reset.label());
                self.route.upstream.ended(self.endpoint, self.took, Some(wrong), now);
                self.route.metrics.attempt(AttemptResult::Failed(Cause::Reset.label()), self.took);
            }
        }
        span.finish(now);
    }
}

impl Drop for Unjudged {
    /// Nobody waits for the rest any more: its permit is a cancel, and no sample.
    fn drop(&mut self) {
        if self.span.is_some() {
            self.route.metrics.attempt(AttemptResult::Cancelled, self.took);
        }
    }
}
