//! An HTTP/1 client connection: one task, one request at a time, nothing between the socket and the stack.
//!
//! ```text
//! head ──► serve ──► answer ──► the rest of the request's body ──► head …
//!            │          │
//!            │          └ meanwhile: is the client still there?
//!            └ meanwhile: interim responses, 100 Continue, is the client still there?
//! ```

pub(crate) mod reader;
mod reply;
pub mod request;
mod search;
pub(crate) mod upgrade;
mod writer;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use hyper::ext::ReasonPhrase;
use tokio::time::{Sleep, sleep, timeout};

use self::{
    reader::Wire,
    reply::{Coding, ReplyContext},
    request::{Head, HeadLimits},
    search::HeadSearch,
    upgrade::Handover,
    writer::{HALF_CLOSE_PATIENCE, Writer},
};
use super::{
    incoming::{ClientExtras, ClientIncoming, ClientRequest, LastWord, Serve},
    phase::{Connection, Phase},
    ticks,
};
use crate::wire::{
    body::{ProxyBody, Stream},
    http1::{
        chunked,
        head::{Framing, Refused},
        maps,
    },
    interim::InterimReceiver,
    transport::Transport,
};

/// How long a client may go on sending what nobody wants, after the last answer. Closing at once would reset the connection,
/// and a reset takes with it what the client has not read yet (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);

/// As many bytes are gathered before they are written, where the body has them at hand.
const GATHERED_BYTES: usize = 16 * 1024;

/// The form of that answer, whatever the client speaks.
const UNASKED: ReplyContext = ReplyContext { http11: true, head: false, keep_alive: false, takes_trailers: false };

pub(super) struct Http1 {
    wire: Wire,
    connection: Arc<Connection>,
    limits: HeadLimits,
    writer: Writer,
    interim: InterimReceiver,
    /// Until when a client that has closed its sending side may be one that only half-closed.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Whether the connection goes on.
type GoesOn = bool;

impl Drop for Http1 {
    fn drop(&mut self) {
        drop(self.wire.close());
    }
}

impl Http1 {
    pub(super) fn new(stream: Transport, ahead: BytesMut, connection: Arc<Connection>, limits: HeadLimits) -> Self {
        Self {
            writer: Writer::new(connection.clone()),
            wire: Wire::new(stream, ahead),
            connection,
            limits,
            interim: InterimReceiver::new(),
            patience: None,
        }
    }

    /// Serves requests until the connection ends.
    pub(super) async fn run<S: Serve>(mut self, service: &Arc<S>, last_word: LastWord<S>) {
        loop {
            let mut search = HeadSearch::default();
            match poll_fn(|cx| self.poll_head(cx, &mut search)).await {
                Ok(Some(head)) => {
                    let goes_on = { pin!(self.exchange(head, service)).await };
                    if !goes_on {
                        return;
                    }
                }
                Ok(None) => return,
                Err(refused) => {
                    if self.answer(last_word(service, refused, &HeaderMap::new()), UNASKED).await.is_some() {
                        self.part().await;
                    }
                    return;
                }
            }
        }
    }

    /// The next request's head; `None` if the client has left.
    fn poll_head(&mut self, cx: &mut Context<'_>, search: &mut HeadSearch) -> Poll<Result<Option<Head>, Refused>> {
        let mut state = self.wire.state();
        loop {
            let noted = search.has_begun();
            match search.take(&mut state.unread, self.limits.bytes) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    self.connection.enter(Phase::Busy);
                    return Poll::Ready(request::parse(&bytes, self.limits).map(Some));
                }
                Err(refused) => return Poll::Ready(Err(refused)),
            }
            if search.has_begun() && !noted {
                self.connection.enter(Phase::Head);
            }
            if state.ended {
                return Poll::Ready(Ok(None));
            }
            match state.poll_fill(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    if !search.has_begun() {
                        state.give_back();
                        self.writer.give_back();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    async fn exchange<S: Serve>(&mut self, head: Head, service: &Arc<S>) -> GoesOn {
        let mut asked = ReplyContext::new(&head);
        let asks_for_tunnel = head.parts.method == Method::CONNECT;
        let (request, beside, handover) = self.admit(head);
        let response = {
            let mut serving = pin!(service.serve(request, beside));
            poll_fn(|cx| match serving.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => self.poll_meanwhile(cx).map(|()| None),
            })
            .await
        };
        // Without one the client has left.
        let Some(response) = response else { return false };
        // Behind a tunnel's head comes what the tunnel carries, or the next request if it leads to HTTP of ours (RFC 9110 section
        // 9.3.6): the answer has no body either way.
        let opens_tunnel = asks_for_tunnel && response.status().is_success();
        asked.head |= opens_tunnel;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
            || opens_tunnel && handover.as_ref().is_some_and(Handover::is_wanted);
        let answered = { pin!(self.answer(response, asked)).await };
        let Some(keep_alive) = answered else { return false };
        if switches {
            self.hand_over(handover);
            return false;
        }
        let body_over = poll_fn(|cx| self.poll_body_over(cx)).await;
        if body_over && keep_alive {
            self.wire.end_body();
            if self.connection.is(Phase::Unread) {
                self.connection.enter(Phase::Idle);
            }
            return true;
        }
        // Through TLS the end has to be said: without a word it may be a cut.
        if !body_over || !self.wire.state().unread.is_empty() || self.wire.state().is_secure() {
            self.part().await;
        }
        false
    }

    fn admit(&mut self, head: Head) -> (ClientRequest, ClientExtras, Option<Handover>) {
        self.patience = None;
        let is_empty =
            head.framing == Framing::Chunked && head.parts.method.is_safe() && self.wire.state().take_no_chunks();
        let framing = if is_empty { Framing::None } else { head.framing };
        let body = self.wire.begin_body(framing, head.expects_continue);
        let body = body.map_or(ClientIncoming::Empty, ClientIncoming::Http1);
        // The last request's way ends here, whoever comes next.
        let interim = self.interim.next_request();
        let interim = (head.parts.version == http::Version::HTTP_11).then_some(interim);
        let (handover, upgrade) = if head.upgrades { Some(upgrade::pair()) } else { None }.unzip();
        (ClientRequest { parts: head.parts, body }, ClientExtras { interim, upgrade }, handover)
    }

    /// What the connection does while the request is being served; ready when the client has left.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.writer.poll_flush(cx, &mut self.wire, &mut self.patience) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
            if self.wire.state().take_promise() {
                self.writer.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
            } else if let Poll::Ready((status, headers)) = self.interim.poll_next(cx) {
                reply::write_interim(self.writer.buffer(), status, &headers);
            } else {
                break;
            }
        }
        self.poll_watch(cx)
    }

    /// Watches for the client to leave, as far as its bytes tell.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.wire.state();
        state.set_owner(cx);
        if state.failed {
            return Poll::Ready(());
        }
        // An open body is read by its reader; the next request waits its turn.
        if !state.body_ended() || !state.unread.is_empty() {
            return Poll::Pending;
        }
        if !state.ended {
            match state.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(_)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
        // Who waits for a turn and closes has given it up: the next in the queue shall have it.
        if self.connection.is_queued() {
            return Poll::Ready(());
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(HALF_CLOSE_PATIENCE)));
        patience.as_mut().poll(cx)
    }

    /// Writes the answer. Whether the connection may be used again; `None` if it cannot go on.
    async fn answer(&mut self, response: Response<ProxyBody>, mut asked: ReplyContext) -> Option<bool> {
        while let Some((status, headers)) = self.interim.try_next() {
            reply::write_interim(self.writer.buffer(), status, &headers);
        }
        asked.keep_alive &= !self.wire.state().drop_promise();
        // A body that nobody reads and that is not all there ends the connection: the answer has to say so, or the next request
        // would be sent into its end.
        let refuses = response.status().is_client_error() || response.status().is_server_error();
        asked.keep_alive &= poll_fn(|cx| Poll::Ready(self.wire.state().may_go_on(refuses, cx))).await;
        let length = response.body().size_hint().exact();
        let reason = response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let head = (response.status(), reason, response.headers());
        let written = reply::write_head(self.writer.buffer(), head, length, asked, &ticks::date());
        let until_close = written.coding == Coding::UntilClose;
        if until_close {
            // From the start: the sweep, a drain or a kill can end it anywhere.
            self.wire.state().reset_at_close(true);
        }
        let (head, body) = response.into_parts();
        maps::give_back(head.headers);
        let whole = match (written.coding, body) {
            (Coding::Nothing, _) | (_, ProxyBody::Empty) => true,
            (_, ProxyBody::Full(bytes)) => {
                self.writer.push(bytes);
                true
            }
            (coding, ProxyBody::Stream(stream)) => self.stream(stream, coding).await?,
        };
        let sent = self.flush().await && whole;
        if sent && until_close {
            self.wire.state().reset_at_close(false);
        }
        sent.then_some(written.keep_alive)
    }

    /// Streams a body: whether it was whole. What has been gathered may still have to be written.
    async fn stream(&mut self, mut stream: Stream, coding: Coding) -> Option<bool> {
        let mut left = if let Coding::Length(length) = coding { length } else { u64::MAX };
        let mut trailers = None;
        while !stream.is_end_stream() {
            let frame = match poll_fn(|cx| self.poll_frame(cx, &mut stream)).await? {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    tracing::debug!(%error, "an answer broke off");
                    return Some(false);
                }
            };
            match frame.into_data() {
                Ok(mut data) => {
                    data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= data.len() as u64;
                    if matches!(coding, Coding::Chunked { .. }) {
                        self.writer.push_chunk(data);
                    } else {
                        self.writer.push(data);
                    }
                }
                // The end is still to come: whoever follows the body waits for it.
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        if let Coding::Chunked { trailers: wanted } = coding {
            chunked::write_end(self.writer.buffer(), trailers.as_ref().filter(|_| wanted));
        }
        Some(!matches!(coding, Coding::Length(_)) || left == 0)
    }

    /// The next frame of an answer, with as much room before it as the client makes; `None` if it has left.
    #[expect(clippy::type_complexity, reason = "a frame as bodies give it, or no client")]
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<Option<Option<Result<http_body::Frame<bytes::Bytes>, crate::wire::body::BoxError>>>> {
        if self.writer.pending_bytes() >= GATHERED_BYTES {
            match self.writer.poll_flush(cx, &mut self.wire, &mut self.patience) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Poll::Ready(frame) = stream.as_mut().poll_frame(cx) {
            return Poll::Ready(Some(frame));
        }
        if let Poll::Ready(Err(_)) = self.writer.poll_flush(cx, &mut self.wire, &mut self.patience) {
            return Poll::Ready(None);
        }
        self.poll_watch(cx).map(|()| None)
    }

    async fn flush(&mut self) -> GoesOn {
        poll_fn(|cx| self.writer.poll_flush(cx, &mut self.wire, &mut self.patience)).await.is_ok()
    }

    /// Whether the request's body is through, once its reader is. What is left of it then is passed over if it is there.
    fn poll_body_over(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.wire.state();
        if state.body_ended() {
            return Poll::Ready(true);
        }
        state.set_owner(cx);
        if !state.can_go_on() {
            return Poll::Ready(false);
        }
        if state.body_held { Poll::Pending } else { Poll::Ready(state.skip_body(cx)) }
    }

    /// Says goodbye: nothing more is written, and what still arrives is not read, until the client has seen it.
    async fn part(&mut self) {
        let shut = poll_fn(|cx| self.wire.state().poll_shutdown(cx)).await;
        if shut.is_err() {
            return;
        }
        let ends = poll_fn(|cx| {
            let mut state = self.wire.state();
            loop {
                state.unread.clear();
                match state.poll_fill(cx) {
                    Poll::Ready(Ok(read)) if read > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        // Either way it is closed now.
        let _ = timeout(LINGER, ends).await;
    }

    fn hand_over(&mut self, handover: Option<Handover>) {
        if let (Some(handover), Some((stream, ahead))) = (handover, self.wire.close()) {
            handover.give(stream, ahead);
        }
    }
}
