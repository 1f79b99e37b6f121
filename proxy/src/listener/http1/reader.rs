//! The bytes of one HTTP/1 client connection. Its own task reads heads and writes answers; the body of the request at hand
//! is read by whoever sends it upstream, perhaps another task. They share a socket, a buffer, and where the body stands.
//!
//! While a body is open only its reader reads, so that nothing is taken off the socket that nobody asked for; its end hands
//! the reading back. They are shared only then: most requests have no body, and those take no lock.

use std::{
    future::Future,
    io::{self, IoSlice},
    ops::{Deref, DerefMut},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::wire::{
    body::BoxError,
    http1::chunked::{Decoded, Decoder, Malformed},
    transport::Transport,
};
use crate::{
    listener::buffers::{self, READ_BYTES},
    wire::http1::head::Framing,
};

/// What is read of a large body at a time.
const MAX_READ_BYTES: usize = 64 * 1024;

/// With less room than this in a buffer, more is made.
const MIN_ROOM_BYTES: usize = 1024;

/// The connection's own hold on its bytes.
pub(super) struct Wire(Held);

enum Held {
    Alone(Box<State>),
    /// With the reader of a body.
    Shared(Arc<Shared>),
}

/// `None` once the body has ended and its connection has gone on without it.
struct Shared(Mutex<Option<Box<State>>>);

/// The state, for as long as nobody else may touch it.
pub(super) enum Access<'a> {
    Alone(&'a mut State),
    Locked(MappedMutexGuard<'a, State>),
}

impl Deref for Access<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match self {
            Self::Alone(state) => state,
            Self::Locked(state) => state,
        }
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut State {
        match self {
            Self::Alone(state) => state,
            Self::Locked(state) => state,
        }
    }
}

pub(super) struct State {
    /// `None` once the connection has ended or changed protocol.
    stream: Option<Transport>,
    /// What has been read and not used.
    pub(super) unread: BytesMut,
    coding: Coding,
    /// How much to read next.
    read_bytes: usize,
    /// The client has closed its sending side.
    pub(super) ended: bool,
    /// Reading has failed.
    pub(super) failed: bool,
    promise: Promise,
    /// Somebody may still read the body.
    pub(super) body_held: bool,
    /// The connection's task, which goes on when the body is through.
    owner: Option<Waker>,
    /// Whoever waits for more of the body.
    reader: Option<Waker>,
}

/// Where the request's body stands.
enum Coding {
    Ended,
    Length(u64),
    Chunked(Decoder),
    /// It cannot be followed to its end, so that nothing behind it can be told from it.
    Lost,
}

/// What became of `Expect: 100-continue`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    None,
    /// To be given when somebody reads the body and none of it has come.
    Owed,
    /// To be written now.
    Due,
}

/// What is next of a body.
enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More has to be read.
    More,
    End,
}

/// A request's body cannot be read to its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection ended inside the request's body")]
    Ended,
    #[error("the request's body cannot be followed")]
    Lost,
    #[error(transparent)]
    Chunk(#[from] Malformed),
}

impl Wire {
    pub(super) fn new(stream: Transport, ahead: BytesMut) -> Self {
        Self::with(Some(stream), ahead)
    }

    fn with(stream: Option<Transport>, ahead: BytesMut) -> Self {
        Self(Held::Alone(Box::new(State {
            stream,
            unread: ahead,
            coding: Coding::Ended,
            read_bytes: READ_BYTES,
            ended: false,
            failed: false,
            promise: Promise::None,
            body_held: false,
            owner: None,
            reader: None,
        })))
    }

    pub(super) fn state(&mut self) -> Access<'_> {
        match &mut self.0 {
            Held::Alone(state) => Access::Alone(state),
            Held::Shared(shared) => {
                let state = MutexGuard::map(shared.0.lock(), |state| {
                    &mut **state.as_mut().expect("it is taken out only where the connection holds it alone again")
                });
                Access::Locked(state)
            }
        }
    }

    /// The body of a request whose head has been taken out of `unread`; `None` if it has none. The last one has ended.
    pub(super) fn begin_body(&mut self, framing: Framing, expects_continue: bool) -> Option<Http1Body> {
        self.end_body();
        let mut state = self.state();
        state.coding = match framing {
            Framing::None | Framing::Length(0) => return None,
            Framing::Length(length) => Coding::Length(length),
            Framing::Chunked => Coding::Chunked(Decoder::default()),
        };
        state.promise = if expects_continue { Promise::Owed } else { Promise::None };
        state.body_held = true;
        drop(state);
        Some(Http1Body(self.share()))
    }

    fn share(&mut self) -> Arc<Shared> {
        match &mut self.0 {
            Held::Alone(_) => {
                let shared = Arc::new(Shared(Mutex::new(None)));
                if let Held::Alone(state) = std::mem::replace(&mut self.0, Held::Shared(shared.clone())) {
                    *shared.0.lock() = Some(state);
                }
                shared
            }
            Held::Shared(shared) => shared.clone(),
        }
    }

    /// What has ended is shared no more: whoever still holds that body has nothing to do with the next one.
    pub(super) fn end_body(&mut self) {
        if let Held::Shared(shared) = &self.0 {
            let ended = shared.0.lock().take_if(|state| state.body_ended());
            if let Some(mut state) = ended {
                (state.body_held, state.reader) = (false, None);
                self.0 = Held::Alone(state);
            }
        }
    }

    /// The connection is over: whoever still reads the body learns it. What was not used is given back with the socket.
    pub(super) fn close(&mut self) -> Option<(Transport, BytesMut)> {
        let mut state = self.state();
        if !state.body_ended() {
            state.coding = Coding::Lost;
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        let stream = state.stream.take()?;
        Some((stream, std::mem::take(&mut state.unread)))
    }
}

impl State {
    pub(super) fn body_ended(&self) -> bool {
        matches!(self.coding, Coding::Ended)
    }

    /// Whether the body can still be followed to its end.
    pub(super) fn can_go_on(&self) -> bool {
        !matches!(self.coding, Coding::Lost) && !self.failed
    }

    /// Whether a further request can follow, as far as is known while the answer is still to be given: what nobody reads of
    /// this one's body is passed over. Who reads a body still stops with an answer that refuses it.
    pub(super) fn may_go_on(&mut self, refuses: bool, cx: &mut Context<'_>) -> bool {
        self.body_ended() || if self.body_held { !refuses } else { self.can_go_on() && self.skip_body(cx) }
    }

    /// Takes a chunked body that has come with its head and is empty: a request without one.
    pub(super) fn take_no_chunks(&mut self) -> bool {
        const NONE: &[u8] = b"0\r\n\r\n";
        let has_none = self.unread.starts_with(NONE);
        if has_none {
            self.unread.advance(NONE.len());
        }
        has_none
    }

    /// The task to wake when the body is through, or gone.
    pub(super) fn set_owner(&mut self, cx: &Context<'_>) {
        if !self.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            self.owner = Some(cx.waker().clone());
        }
    }

    fn wake_owner(&self) {
        if let Some(owner) = &self.owner {
            owner.wake_by_ref();
        }
    }

    /// Whether `100 Continue` is to be written now.
    pub(super) fn take_promise(&mut self) -> bool {
        let due = self.promise == Promise::Due;
        if due {
            self.promise = Promise::None;
        }
        due
    }

    /// The answer has begun: nothing precedes it any more. Whether the client still waits to be told to send its body, and now
    /// will not be: what it sends next may be either that body or, if it takes the answer for its word, another request.
    pub(super) fn drop_promise(&mut self) -> bool {
        let waits = self.promise != Promise::None && !self.body_ended();
        self.promise = Promise::None;
        waits
    }

    /// Reads more into `unread`; 0 bytes are the end. Without anything to read no buffer is held.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let enough = MIN_ROOM_BYTES.max(self.read_bytes / 4);
        if self.unread.capacity() - self.unread.len() < enough {
            if let Err(error) = ready!(stream.poll_read_ready(cx)) {
                self.failed = true;
                return Poll::Ready(Err(error));
            }
            if self.unread.capacity() == 0 {
                self.unread = buffers::take_reading();
            }
            if self.unread.capacity() - self.unread.len() < enough {
                self.unread.reserve(self.read_bytes);
            }
        }
        let room = self.unread.capacity() - self.unread.len();
        let read = ready!(pin!(stream.read_buf(&mut self.unread)).poll(cx));
        match &read {
            Ok(0) => self.ended = true,
            // There is more where that came from.
            Ok(read) if *read == room => self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES),
            Ok(_) => {}
            Err(_) => self.failed = true,
        }
        Poll::Ready(read)
    }

    /// Between requests: nothing to read, so no buffer.
    pub(super) fn give_back(&mut self) {
        self.read_bytes = READ_BYTES;
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            let mut unread = std::mem::take(&mut self.unread);
            buffers::put_reading(&mut unread);
        }
    }

    /// Writes the first of `slices` that have bytes, several at once if there are.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>; 3]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let stream = Pin::new(stream);
        // A plain write costs the kernel less.
        match slices {
            [buffer, piece, after] if piece.is_empty() && after.is_empty() => stream.poll_write(cx, buffer),
            _ => stream.poll_write_vectored(cx, slices),
        }
    }

    /// Sends what lies between: through TLS what was written is out only then.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.stream.as_ref().is_some_and(Transport::is_secure)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether the connection ends with a reset, however it comes to its end: where an orderly one would pass a part of an
    /// answer for the whole.
    pub(super) fn reset_at_close(&self, reset: bool) {
        let linger = reset.then_some(Duration::ZERO);
        // Within this machine nobody can be told so: what has its end in that of the connection has it in a cut, too.
        let tcp = self.stream.as_ref().and_then(Transport::tcp);
        if let Some(Err(error)) = tcp.map(|stream| SockRef::from(stream).set_linger(linger)) {
            tracing::debug!(%error, "whether an answer is whole cannot be told by how its connection ends");
        }
    }

    /// What is there of the body.
    fn next(&mut self) -> Result<Next, Broken> {
        match &mut self.coding {
            Coding::Ended => Ok(Next::End),
            Coding::Lost => Err(Broken::Lost),
            Coding::Length(_) | Coding::Chunked(_) if self.unread.is_empty() => Ok(Next::More),
            Coding::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.unread.len());
                *left -= length as u64;
                if *left == 0 {
                    self.coding = Coding::Ended;
                }
                Ok(Next::Data(self.unread.split_to(length).freeze()))
            }
            Coding::Chunked(decoder) => Ok(match decoder.decode(&self.unread)? {
                Decoded::Data { skip, data } => {
                    self.unread.advance(skip);
                    Next::Data(self.unread.split_to(data).freeze())
                }
                Decoded::More => {
                    self.unread.clear();
                    Next::More
                }
                Decoded::End { used, trailers } => {
                    self.unread.advance(used);
                    self.coding = Coding::Ended;
                    trailers.map_or(Next::End, Next::Trailers)
                }
            }),
        }
    }

    /// The body's next frame.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        loop {
            let frame = match self.next() {
                Ok(Next::Data(data)) => {
                    // It has begun to send, so it waits for nothing (RFC 9110 section 10.1.1).
                    self.promise = Promise::None;
                    Some(Frame::data(data))
                }
                Ok(Next::Trailers(trailers)) => Some(Frame::trailers(trailers)),
                Ok(Next::End) => None,
                Err(broken) => return Poll::Ready(Err(self.lose(broken))),
                Ok(Next::More) => {
                    if self.ended {
                        return Poll::Ready(Err(self.lose(Broken::Ended)));
                    }
                    if self.promise == Promise::Owed {
                        self.promise = Promise::Due;
                        self.wake_owner();
                    }
                    match self.poll_fill(cx) {
                        Poll::Ready(Ok(_)) => continue,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(self.lose(error))),
                        Poll::Pending => {
                            self.reader = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                    }
                }
            };
            if self.body_ended() {
                self.reader = None;
                self.wake_owner();
            }
            return Poll::Ready(Ok(frame));
        }
    }

    fn lose(&mut self, error: impl Into<BoxError>) -> BoxError {
        self.coding = Coding::Lost;
        self.wake_owner();
        error.into()
    }

    /// Passes over what is left of a body that nobody wants, as far as it has come. Whether that was all of it.
    pub(super) fn skip_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut skipped = 0;
        while skipped <= MAX_READ_BYTES {
            match self.next() {
                Ok(Next::Data(data)) => skipped += data.len(),
                Ok(Next::End) => return true,
                Ok(Next::More) if self.ended || !matches!(self.poll_fill(cx), Poll::Ready(Ok(_))) => return false,
                Ok(Next::More | Next::Trailers(_)) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// A request's body, read off its connection as it is polled.
pub(crate) struct Http1Body(Arc<Shared>);

impl Http1Body {
    /// What `ask` makes of the state; `None` where the connection has gone on, which it does only past the body's end.
    fn ask<T>(&self, ask: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.0.0.lock().as_deref_mut().map(ask)
    }
}

impl Body for Http1Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.ask(|state| state.poll_frame(cx)).map_or(Poll::Ready(None), |polled| polled.map(Result::transpose))
    }

    fn is_end_stream(&self) -> bool {
        self.ask(|state| state.body_ended()).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.ask(|state| match state.coding {
            Coding::Ended => Some(0),
            Coding::Length(left) => Some(left),
            Coding::Chunked(_) | Coding::Lost => None,
        });
        left.unwrap_or(Some(0)).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        self.ask(|state| {
            state.body_held = false;
            state.reader = None;
            if !state.body_ended() {
                state.wake_owner();
            }
        });
    }
}

#[cfg(test)]
mod tests;
