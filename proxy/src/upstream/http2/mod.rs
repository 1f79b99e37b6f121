//! One attempt over HTTP/2: a request goes out on a stream of a shared connection, and one of three facts comes back.
//!
//! | what is seen | it means |
//! |---|---|
//! | the connection takes no stream | not sent |
//! | `REFUSED_STREAM` from the peer, before it said anything else | not sent (RFC 9113 section 8.7) |
//! | GOAWAY from the peer, whose last stream is below ours | not sent (section 6.8) |
//! | any other end of the stream, or of the connection | maybe sent |
//! | the head of a final response | response started |

pub(crate) mod body;
mod frames;
pub(crate) mod multiplexed;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{
    Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    uri::{Authority, Scheme},
};
use http_body::Body;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};

use self::{body::Http2ResponseBody, multiplexed::Place};
use super::{
    Progress,
    head::RequestHead,
    informed::{Informed, MAX_INTERIM},
    pool::{AGED_CONNECTIONS, Pool},
    upload::{Sending, Upload},
};
use crate::wire::{
    body::{BoxError, ProxyBody},
    forward,
    http1::HeadLimits,
    http2::{Http2Body, Outflow, Stuck, fields},
};

/// Sends over HTTP/2.
pub(super) async fn send(
    pool: &Pool,
    (head, authority, scheme): (RequestHead<'_>, &Authority, Scheme),
    body: ProxyBody,
    progress: &Progress,
    informed: Informed<'_>,
) -> Result<Response<Http2ResponseBody>, AttemptError> {
    let mut aged = 0;
    let (mut exchange, place) = loop {
        let (mut sender, place) = pool.place().await?;
        if !progress.may_go_on() {
            return Err(AttemptError::new(Cause::Refused, Sent::No));
        }
        progress.meet(|| place.peer().clone());
        let request = request(head, &body, (authority, scheme.clone()));
        match begin(&mut sender, request, body.is_end_stream()) {
            Ok((response, stream)) => {
                progress.set(true);
                break (Exchange::new(response, Outflow::new(body, stream, Reason::CANCEL)), place);
            }
            // Closed, or about to be; the request has not become a stream.
            Err(_) if aged < AGED_CONNECTIONS => {
                place.close();
                aged += 1;
            }
            Err(error) => return Err(AttemptError::new(Cause::Refused, Sent::No).with_source(error)),
        }
    };
    let limits = pool.head_limits();
    let answered = std::future::poll_fn(|cx| exchange.poll(informed, progress, cx)).await;
    match answered.and_then(|response| within(limits, response)) {
        Ok(response) => Ok(exchange.answer(response, place)),
        Err(failed) => {
            let refusal = if exchange.interim == 0 { place.seen().refusal() } else { None };
            let unsent = refusal.is_some() || exchange.is_unsent(&failed, &place);
            progress.set(!unsent);
            Err(refusal.unwrap_or_else(|| failed.into_error(unsent)))
        }
    }
}

type Begun = (ResponseFuture, h2::SendStream<Bytes>);

fn begin(sender: &mut SendRequest<Bytes>, request: Request<()>, over: bool) -> Result<Begun, h2::Error> {
    sender.send_request(request, over)
}

/// The head as HTTP/2 has it.
fn request(head: RequestHead<'_>, body: &ProxyBody, (endpoint, scheme): (&Authority, Scheme)) -> Request<()> {
    let mut headers = head.headers.clone();
    if let Some(added) = head.added {
        // Before the host becomes the authority: `X-Forwarded-Host` names it.
        added.apply(&mut headers);
    }
    if let Some(host) = head.host {
        headers.insert(HOST, host.clone());
    }
    let uri: Uri = forward::absolute_form(head.uri, &mut headers, (endpoint, scheme));
    fields::strip(&mut headers);
    match body {
        ProxyBody::Full(bytes) => {
            headers.insert(CONTENT_LENGTH, bytes.len().into());
        }
        // Said where a body would be usual.
        ProxyBody::Empty if matches!(*head.method, Method::POST | Method::PUT | Method::PATCH) => {
            headers.entry(CONTENT_LENGTH).or_insert_with(|| 0.into());
        }
        ProxyBody::Empty => {}
        ProxyBody::Stream(stream) => {
            if let Some(length) = stream.size_hint().exact() {
                headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
            }
        }
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// The answer, unless its head is larger than one may be: as large as over HTTP/1.1, where it would begin with a status line.
fn within(limits: HeadLimits, response: Response<RecvStream>) -> Result<Response<RecvStream>, Failed> {
    let headers = response.headers();
    let fits = headers.len() <= limits.fields && fields::bytes(headers) <= limits.bytes;
    if fits { Ok(response) } else { Err(Failed::TooLarge(response.status())) }
}

/// A request and its response's head, on one stream.
struct Exchange {
    response: ResponseFuture,
    /// What is not sent of the request. A server may answer and stop the upload, so once that is stopped the answer is still
    /// worth waiting for.
    upload: Option<Outflow>,
    interim: usize,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the rest of it may not be sent any more")]
    Withdrawn,
    #[error("the stream ended before a response")]
    Stream(#[from] h2::Error),
    #[error("there is no end of interim responses")]
    Interim,
    #[error("a stream cannot change protocol")]
    Switching,
    #[error("the head is larger than limits.response_header_bytes or limits.response_header_count")]
    TooLarge(StatusCode),
    #[error(transparent)]
    Body(Stuck),
}

impl Failed {
    fn into_error(self, unsent: bool) -> AttemptError {
        let cause = match &self {
            _ if unsent => Cause::Refused,
            Self::Stream(error) if error.is_library() => Cause::Malformed,
            Self::Interim | Self::Switching | Self::TooLarge(_) => Cause::Malformed,
            Self::Stream(_) | Self::Body(_) | Self::Withdrawn => Cause::Reset,
        };
        let status = if let Self::TooLarge(status) = &self { Some(*status) } else { None };
        AttemptError::new(cause, if unsent { Sent::No } else { Sent::Maybe }).with_status(status).with_source(self)
    }
}

impl Exchange {
    fn new(response: ResponseFuture, upload: Outflow) -> Self {
        let upload = (!upload.is_over()).then_some(upload);
        Self { response, upload, interim: 0 }
    }

    /// Sends and receives until the head of the final response is there.
    fn poll(
        &mut self,
        informed: Informed<'_>,
        progress: &Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<RecvStream>, Failed>> {
        // A process may stand still in the midst of a body, too.
        if self.upload.is_some() && !progress.may_go_on() {
            return Poll::Ready(Err(Failed::Withdrawn));
        }
        self.poll_upload(cx)?;
        while let Some(interim) = ready!(self.response.poll_informational(cx)) {
            let (head, ()) = interim?.into_parts();
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(Failed::Switching));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(Failed::Interim));
            }
            informed.hear(head.status, Version::HTTP_2, head.headers);
        }
        Pin::new(&mut self.response).poll(cx).map_err(Failed::from)
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failed> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        match upload.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Err(stuck @ Stuck::Body(_))) => return Err(Failed::Body(stuck)),
            Poll::Ready(Ok(()) | Err(Stuck::Stream(_))) => {}
        }
        self.upload = None;
        Ok(())
    }

    /// Whether it is proven that the application has not seen the request. A peer that has said anything about it has.
    fn is_unsent(&self, failed: &Failed, place: &Place) -> bool {
        let Failed::Stream(error) = failed else { return false };
        let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let above = error.is_go_away() && place.seen().is_unprocessed(self.response.stream_id().as_u32());
        self.interim == 0 && error.is_remote() && (refused || above)
    }

    /// The response, whose body goes on with the stream.
    fn answer(self, response: Response<RecvStream>, place: Place) -> Response<Http2ResponseBody> {
        let (parts, stream) = response.into_parts();
        let body = Http2Body::new(stream, &parts.headers);
        let refuses = parts.status.is_client_error() || parts.status.is_server_error();
        let upload = self.upload.map(|outflow| Upload::start(Beside { outflow, _place: place.share() }));
        Response::from_parts(parts, Http2ResponseBody::new(body, upload, refuses, place))
    }
}

/// An upload that goes on beside its answer.
struct Beside {
    outflow: Outflow,
    _place: Place,
}

impl Sending for Beside {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.outflow.poll(cx).map_err(Into::into)
    }

    fn written(&self) -> u64 {
        self.outflow.sent()
    }

    fn finish(self) {}
}
