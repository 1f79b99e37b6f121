//! An HTTP/2 client connection: one task that reads and writes frames, and one for each stream.
//!
//! ```text
//! bytes ──► guard ──► stream ──► serve ──► head ──► body, as fast as the client's windows take it
//!                                  │
//!                                  └ meanwhile: interim responses, 100 Continue, has the client reset the stream?
//! ```

pub mod guard;
mod io;

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE, EXPECT},
};
use http_body::Body;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use self::{
    guard::{Guard, Refusals},
    io::Http2Stream,
};
use super::{
    ending::Ending,
    incoming::{ClientExtras, ClientIncoming, ClientRequest, Serve, Serving},
    ticks,
};
use crate::{
    config::model::Limits,
    wire::{
        body::ProxyBody,
        http2::{self, Heard, Http2Body, KeepAlive, Outflow, Pulse, fields},
        interim::InterimReceiver,
        transport::Transport,
    },
};

/// A client that answers no ping for this long is gone.
const PULSE: Pulse = Pulse { interval: Duration::from_secs(30), timeout: Duration::from_secs(20) };

/// A certificate is valid to the end of its last second.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How long the end of a request is waited for that may have no body; it comes with the head.
const END_WITHIN: Duration = Duration::from_millis(20);

/// Serves the streams of one connection to its end.
pub(super) async fn serve<S: Serve>(stream: Transport, ahead: BytesMut, session: Serving<S>) {
    let Serving { service, connection, limits, last_word, draining, valid_for, .. } = session;
    connection.speaks_http2();
    let heard = Heard::default();
    let refusals = Arc::new(Refusals::default());
    let guard = Guard::new(limits.request_head(), refusals.clone());
    let io = Http2Stream::new(stream, ahead, connection.clone(), heard.clone(), guard);
    let served = match builder(&limits).handshake::<_, Bytes>(io).await {
        Ok(frames) => {
            let accept = |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| {
                match refusals.take(respond.stream_id().as_u32()) {
                    Some(refused) => {
                        let to_head = request.method() == Method::HEAD;
                        let response = last_word(&service, refused, request.headers());
                        // It is in memory, so nothing of it is left to send.
                        answer(&mut respond, response, to_head);
                    }
                    // Ends with its stream, which ends with the connection at the latest.
                    None => drop(tokio::spawn(exchange(request, respond, service.clone()))),
                }
            };
            run(frames, heard, accept, (draining, valid_for)).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection ended");
    }
}

fn builder(limits: &Limits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams.get())
        .max_header_list_size(u32::try_from(guard::list_bytes(limits.request_head())).unwrap_or(u32::MAX))
        .initial_window_size(http2::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(http2::CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(http2::SEND_BUFFER_BYTES)
        // h2 ends a connection when so many streams were reset before they were accepted, 20 unless told otherwise: a busy
        // machine would cut off a client that cancels what it may have open at once, its other writes with it.
        .max_pending_accept_reset_streams(usize::try_from(limits.streams.get()).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(Some(http2::RESET_BY_ERROR_STREAMS))
        .max_concurrent_reset_streams(http2::REMEMBERED_RESET_STREAMS);
    builder
}

async fn run(
    mut frames: server::Connection<Http2Stream, Bytes>,
    heard: Heard,
    accept: impl Fn(Request<RecvStream>, SendResponse<Bytes>),
    (ending, valid_for): (watch::Receiver<Ending>, Option<Duration>),
) -> Result<(), h2::Error> {
    let pings = frames.ping_pong().expect("a new connection's pings are taken once");
    let mut keep_alive = KeepAlive::new(pings, heard, PULSE);
    let came_late = *ending.borrow() != Ending::No;
    let is_of_use = Notify::new();
    let expired = async {
        match valid_for {
            Some(left) => sleep(left + A_MOMENT).await,
            None => pending().await,
        }
    };
    let goodbye = async {
        tokio::select! {
            () = goodbye(ending, came_late, &is_of_use) => {}
            () = expired => {}
        }
    };
    let mut goodbye = pin!(goodbye);
    let mut is_said = false;
    loop {
        let accepted = poll_fn(|cx| {
            if !is_said && goodbye.as_mut().poll(cx).is_ready() {
                is_said = true;
                // GOAWAY, first with the highest id, then the streams in flight to their ends; the drain's own deadline bounds
                // them.
                frames.graceful_shutdown();
            }
            if keep_alive.poll(cx, true).is_ready() {
                frames.abrupt_shutdown(Reason::NO_ERROR);
            }
            frames.poll_accept(cx)
        });
        let Some(accepted) = accepted.await else { return Ok(()) };
        let (request, respond) = accepted?;
        if came_late {
            is_of_use.notify_one();
        }
        accept(request, respond);
    }
}

/// Resolves when the client is to be told to go elsewhere: when a drain begins, but one that comes during a drain not before
/// it has been of use, or it would come back at once, and again.
async fn goodbye(mut ending: watch::Receiver<Ending>, came_late: bool, is_of_use: &Notify) {
    if !came_late {
        let _ = ending.wait_for(|ending| *ending != Ending::No).await;
        return;
    }
    tokio::select! {
        () = is_of_use.notified() => {}
        _ = ending.wait_for(|ending| *ending == Ending::Closing) => {}
    }
}

/// One stream, from its head to the end of its answer.
async fn exchange<S: Serve>(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, service: Arc<S>) {
    let mut interim = InterimReceiver::new();
    let to_head = request.method() == Method::HEAD;
    let mut request = request;
    let first = if may_be_empty(&request) { Box::pin(first_piece(request.body_mut())).await } else { None };
    let (request, beside) = admit(request, first, &mut interim);
    let response = {
        let mut serving = pin!(service.serve(request, beside));
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => poll_meanwhile(&mut respond, &mut interim, cx).map(|()| None),
        })
        .await
    };
    // Without one the client has left.
    let Some(response) = response else { return };
    while let Some((status, headers)) = interim.try_next() {
        inform(&mut respond, status, headers);
    }
    if let Some(mut outflow) = answer(&mut respond, response, to_head)
        && let Err(error) = poll_fn(|cx| outflow.poll(cx)).await
    {
        tracing::debug!(%error, "an answer broke off");
    }
}

/// Whether a request has no body although its head does not end its stream: some clients end it by an empty DATA frame, also
/// where a body would be unusual.
fn may_be_empty(request: &Request<RecvStream>) -> bool {
    let headers = request.headers();
    !request.body().is_end_stream()
        && request.method().is_safe()
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(EXPECT)
}

/// What comes first of a body, if it comes soon.
async fn first_piece(body: &mut RecvStream) -> Option<Bytes> {
    let pieces = poll_fn(|cx| {
        loop {
            match body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => return Poll::Ready(Some(data)),
                // The reader of the body meets the error.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    timeout(END_WITHIN, pieces).await.ok().flatten()
}

fn admit(
    request: Request<RecvStream>,
    first: Option<Bytes>,
    interim: &mut InterimReceiver,
) -> (ClientRequest, ClientExtras) {
    let (parts, stream) = request.into_parts();
    let sink = interim.next_request();
    let body = if stream.is_end_stream() && first.is_none() {
        ClientIncoming::Empty
    } else {
        let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        let expects = parts.headers.get(EXPECT).is_some_and(expects);
        let body = Http2Body::new(stream, &parts.headers).beginning_with(first);
        ClientIncoming::Http2(Box::new(if expects { body.inviting(sink.clone()) } else { body }))
    };
    (ClientRequest { parts: Box::new(parts), body }, ClientExtras { interim: Some(sink), upgrade: None })
}

/// What a stream does while its request is being served; ready when the client has reset it.
fn poll_meanwhile(respond: &mut SendResponse<Bytes>, interim: &mut InterimReceiver, cx: &mut Context<'_>) -> Poll<()> {
    while let Poll::Ready((status, headers)) = interim.poll_next(cx) {
        inform(respond, status, headers);
    }
    respond.poll_reset(cx).map(|_| ())
}

/// Sends an interim response. It is advice: where the stream takes none, nothing is lost.
fn inform(respond: &mut SendResponse<Bytes>, status: StatusCode, mut headers: HeaderMap) {
    fields::strip(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Err(error) = respond.send_informational(response) {
        tracing::debug!(%error, "an interim response was not sent");
    }
}

/// Sends the answer as far as it is at hand; the rest of it goes on.
fn answer(respond: &mut SendResponse<Bytes>, response: Response<ProxyBody>, to_head: bool) -> Option<Outflow> {
    let (parts, body) = response.into_parts();
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.headers_mut() = parts.headers;
    let body = dress(&mut head, body, to_head, &ticks::date());
    let over = body.is_end_stream();
    let sent = respond.send_response(head, over).and_then(|mut stream| match body {
        _ if over => Ok(None),
        // In memory already, so it need not wait here for the client's window; the sweep bounds how long it may.
        ProxyBody::Full(bytes) => stream.send_data(bytes, true).map(|()| None),
        body => Ok(Some(Outflow::new(body, stream, Reason::INTERNAL_ERROR))),
    });
    sent.unwrap_or_else(|error| {
        tracing::debug!(%error, "an answer was not sent");
        respond.send_reset(Reason::INTERNAL_ERROR);
        None
    })
}

/// Makes a head one of HTTP/2, and leaves of the body what goes out.
fn dress(head: &mut Response<()>, body: ProxyBody, to_head: bool, date: &[u8]) -> ProxyBody {
    let status = head.status();
    let headers = head.headers_mut();
    fields::strip(headers);
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_bytes(date)
    {
        headers.insert(DATE, date);
    }
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if status == StatusCode::NO_CONTENT {
        // It has none, whatever it says (RFC 9110 section 8.6).
        headers.remove(CONTENT_LENGTH);
    } else if !bodiless
        && !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    match body {
        _ if bodiless => ProxyBody::Empty,
        ProxyBody::Full(_) if to_head => ProxyBody::Empty,
        // To a HEAD it has no data, but an end that is still to come, which is the exchange's.
        body => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE_TEXT: &str = "Wed, 25 Nov 2026 00:00:00 GMT";

    #[track_caller]
    fn check(
        (status, fields): (u16, &[(&'static str, &'static str)]),
        (body, to_head): (&'static str, bool),
        (expected, sent): (&[(&str, &str)], &str),
    ) {
        let mut head = Response::builder().status(status);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let mut head = head.body(()).unwrap();
        let body = dress(&mut head, Bytes::from_static(body.as_bytes()).into(), to_head, DATE_TEXT.as_bytes());
        let mut got: Vec<_> =
            head.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        got.sort_unstable();
        assert_eq!(got, expected);
        let body = if let ProxyBody::Full(bytes) = &body { bytes } else { &Bytes::new() };
        assert_eq!(body, sent);
    }

    #[test]
    fn an_answer_says_when_it_was_made_and_how_long_it_is() {
        check((200, &[]), ("four", false), (&[("content-length", "4"), ("date", DATE_TEXT)], "four"));
        check((200, &[("date", "then")]), ("", false), (&[("date", "then")], ""));
    }

    #[test]
    fn some_answers_have_no_body() {
        check((200, &[]), ("four", true), (&[("content-length", "4"), ("date", DATE_TEXT)], ""));
        check((200, &[("content-length", "9")]), ("", true), (&[("content-length", "9"), ("date", DATE_TEXT)], ""));
        check((204, &[("content-length", "4")]), ("four", false), (&[("date", DATE_TEXT)], ""));
        check(
            (304, &[("content-length", "4")]),
            ("four", false),
            (&[("content-length", "4"), ("date", DATE_TEXT)], ""),
        );
    }

    #[test]
    fn nothing_of_an_http1_connection_stands_in_an_answer() {
        check((200, &[("connection", "close"), ("te", "x")]), ("", false), (&[("date", DATE_TEXT)], ""));
    }
}
