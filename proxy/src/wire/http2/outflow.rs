//! A body on its way out over an HTTP/2 stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::wire::{
    body::{BoxError, ProxyBody},
    trailers,
};

/// A body and the stream that it goes out on. Dropped before its end, it resets the stream.
pub(crate) struct Outflow {
    body: ProxyBody,
    stream: SendStream<Bytes>,
    /// A piece that waits for the peer's window, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
    /// Bytes that the stream has taken.
    sent: u64,
    /// What the peer is told if the body breaks off.
    if_broken: Reason,
}

/// Why a body did not get out whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stuck {
    /// The peer wants no more of it, or its connection is gone.
    #[error("the stream does not take the body")]
    Stream(#[source] Option<h2::Error>),
    /// The body broke off; the peer has been told.
    #[error("the body broke off")]
    Body(#[source] BoxError),
}

impl From<h2::Error> for Stuck {
    fn from(error: h2::Error) -> Self {
        Self::Stream(Some(error))
    }
}

impl Outflow {
    /// Sends `body`, and what is over of it if it breaks off: a reset that says `if_broken`.
    pub(crate) fn new(body: ProxyBody, stream: SendStream<Bytes>, if_broken: Reason) -> Self {
        Self { body, stream, waiting: None, sent: 0, if_broken }
    }

    /// Whether there is nothing to send: the head has said that it is all.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Bytes that the stream has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Hands over what the peer's windows have room for, and reads the body as they do. Ready when all is handed over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>> {
        // Also has the task woken at a reset.
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            return Poll::Ready(Err(reset.map_or_else(Stuck::from, |reason| Stuck::from(h2::Error::from(reason)))));
        }
        loop {
            if self.waiting.is_some() {
                ready!(self.poll_room(cx))?;
            }
            if let Some((data, last)) = self.waiting.take() {
                self.sent += data.len() as u64;
                self.stream.send_data(data, last)?;
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(Stuck::from));
            };
            match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => self.take(data),
                    Err(other) => {
                        if let Ok(mut trailers) = other.into_trailers() {
                            trailers::strip(&mut trailers);
                            // Nothing is left to say: the stream ends without a section.
                            let sent = if trailers.is_empty() {
                                self.stream.send_data(Bytes::new(), true)
                            } else {
                                self.stream.send_trailers(trailers)
                            };
                            return Poll::Ready(sent.map_err(Stuck::from));
                        }
                    }
                },
                Err(error) => {
                    self.stream.send_reset(self.if_broken);
                    return Poll::Ready(Err(Stuck::Body(error)));
                }
            }
        }
    }

    fn take(&mut self, data: Bytes) {
        let last = self.body.is_end_stream();
        if data.is_empty() && !last {
            return;
        }
        // Asked for only once there is something to send, and no more of it than makes the stream's turn come: room that is
        // held by a stream with nothing to say is missing to all others of the connection.
        if !data.is_empty() {
            self.stream.reserve_capacity(1);
        }
        self.waiting = Some((data, last));
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>> {
        let empty = self.waiting.as_ref().is_some_and(|(data, _)| data.is_empty());
        while !empty && self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(Stuck::Stream(None))),
            }
        }
        Poll::Ready(Ok(()))
    }
}
