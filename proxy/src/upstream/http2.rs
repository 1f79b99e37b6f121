//! One attempt over HTTP/2, which hyper speaks: its `try_send_request` hands back a request that was not sent, which is the one
//! hard proof that it was not.

use std::error::Error as _;

use http::{Request, Response};
use mainstay_policies::evidence::{AttemptError, Cause, Sent};

use super::{Progress, body::UpstreamBody, exchange::AGED_CONNECTIONS, pool::Pool};
use crate::body::ProxyBody;

/// Sends over HTTP/2.
pub(super) async fn send(
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
            None => return Err(classify(failure.into_error())),
        }
    }
}

/// What a transport error says of a request that was in the hands of its connection.
fn classify(error: hyper::Error) -> AttemptError {
    if refused_by_peer(&error) || error.is_canceled() {
        return AttemptError::new(Cause::Refused, Sent::No).with_source(error);
    }
    let cause = if error.is_parse() { Cause::Malformed } else { Cause::Reset };
    AttemptError::new(cause, Sent::Maybe).with_source(error)
}

/// `REFUSED_STREAM` from the peer, or its GOAWAY: h2 gives a stream that error only if its id is above the last one that
/// the peer processed (RFC 9113 section 6.8); the streams below end with an I/O error instead.
fn refused_by_peer(error: &hyper::Error) -> bool {
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
