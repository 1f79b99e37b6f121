//! One attempt: a request goes out, and one of three facts comes back — nothing was sent, something may have been sent, or
//! a response has started.

use std::{
    error::Error as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use tokio::time::Instant;

use super::pool::{Lease, Pool, StreamLease};
use crate::body::{BoxError, ProxyBody, WireBody};

/// Times that a request handed back by an aged connection is given to another one before a fresh one is opened for it.
const AGED_CONNECTIONS: usize = 3;

/// Whether a request has been given to a connection: what is known of an attempt that is cut off by time.
#[derive(Debug, Default)]
pub struct Progress(AtomicBool);

impl Progress {
    /// [`Sent::No`] until the request is in the hands of a connection.
    pub fn sent(&self) -> Sent {
        if self.0.load(Ordering::Relaxed) { Sent::Maybe } else { Sent::No }
    }

    fn set(&self, dispatched: bool) {
        self.0.store(dispatched, Ordering::Relaxed);
    }
}

/// Sends over HTTP/1.1.
pub(crate) async fn http1(
    pool: &Arc<Pool>,
    mut request: Request<ProxyBody>,
    progress: &Progress,
) -> Result<Response<UpstreamBody>, AttemptError> {
    let mut aged = 0;
    loop {
        let mut lease = pool.lease(aged >= AGED_CONNECTIONS).await?;
        let before = lease.written.bytes();
        progress.set(true);
        let mut failure = match lease.sender.try_send_request(request).await {
            Ok(response) => {
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                return framed(response)
                    .map(|response| response.map(|body| UpstreamBody::http1(body, lease, switches)));
            }
            Err(failure) => failure,
        };
        match failure.take_message() {
            // The peer closed the idle connection before the request was written: proven unsent, so another one takes it.
            Some(unsent) if lease.reused => {
                progress.set(false);
                request = unsent;
                aged += 1;
            }
            Some(_) => {
                progress.set(false);
                return Err(AttemptError::new(Cause::Refused, Sent::No).with_source(failure.into_error()));
            }
            None => {
                let sent = if lease.written.bytes() == before { Sent::No } else { Sent::Maybe };
                return Err(classify(failure.into_error(), sent));
            }
        }
    }
}

/// Sends over HTTP/2.
pub(crate) async fn http2(
    pool: &Pool,
    mut request: Request<ProxyBody>,
    progress: &Progress,
) -> Result<Response<UpstreamBody>, AttemptError> {
    let mut aged = 0;
    loop {
        let mut lease = pool.stream().await?;
        progress.set(true);
        let mut failure = match lease.sender.try_send_request(request).await {
            Ok(response) => return Ok(response.map(|body| UpstreamBody::http2(body, lease))),
            Err(failure) => failure,
        };
        match failure.take_message() {
            Some(unsent) if aged < AGED_CONNECTIONS => {
                progress.set(false);
                request = unsent;
                aged += 1;
            }
            Some(_) => {
                progress.set(false);
                return Err(AttemptError::new(Cause::Refused, Sent::No).with_source(failure.into_error()));
            }
            None => return Err(classify(failure.into_error(), Sent::Maybe)),
        }
    }
}

/// Makes the framing of an HTTP/1 response one: a transfer coding overrides a length (RFC 9112 section 6.3), repeated equal
/// lengths are one. A coding other than `chunked` cannot be passed on.
fn framed<B>(mut response: Response<B>) -> Result<Response<B>, AttemptError> {
    let headers = response.headers_mut();
    if let Some(coding) = headers.get(TRANSFER_ENCODING) {
        let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !chunked || headers.get_all(TRANSFER_ENCODING).iter().count() > 1 {
            return Err(AttemptError::new(Cause::Malformed, Sent::Maybe).with_source("an unknown transfer coding"));
        }
        headers.remove(CONTENT_LENGTH);
    } else if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(first) = headers.get(CONTENT_LENGTH).cloned()
    {
        // hyper refuses lengths that differ.
        headers.insert(CONTENT_LENGTH, first);
    }
    Ok(response)
}

/// What a transport error says. `sent` is what the byte count says.
fn classify(error: hyper::Error, sent: Sent) -> AttemptError {
    if refused_by_http2(&error) || error.is_canceled() {
        return AttemptError::new(Cause::Refused, Sent::No).with_source(error);
    }
    let cause = if error.is_parse() { Cause::Malformed } else { Cause::Reset };
    AttemptError::new(cause, sent).with_source(error)
}

/// `REFUSED_STREAM` from the peer, or its GOAWAY: h2 gives a stream that error only if its id is above the last one that
/// the peer processed (RFC 9113 section 6.8); the streams below end with an I/O error instead.
fn refused_by_http2(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        source = inner.source();
    }
    false
}

/// A response body; its connection goes back to the pool when it has ended cleanly, and is closed when it is dropped before.
pub struct UpstreamBody {
    body: WireBody,
    lease: Option<Lease>,
    _stream: Option<StreamLease>,
}

impl UpstreamBody {
    fn http1(body: Incoming, lease: Lease, switches: bool) -> Self {
        let mut body = Self { body: WireBody::new(body, false), lease: Some(lease), _stream: None };
        if !switches {
            body.release_at_end();
        }
        body
    }

    fn http2(body: Incoming, lease: StreamLease) -> Self {
        Self { body: WireBody::new(body, true), lease: None, _stream: Some(lease) }
    }

    /// The connection itself, when it changes protocol and will carry no further request.
    pub(crate) fn take_lease(&mut self) -> Option<Lease> {
        self.lease.take()
    }

    fn release_at_end(&mut self) {
        if self.lease.is_some() && self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(Instant::now());
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.release(),
            Poll::Ready(Some(Ok(_))) => self.release_at_end(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
