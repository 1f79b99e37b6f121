//! A request's body as it comes from the client.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use mainstay_policies::timeout::IdleBody;
use tokio::time::{Instant, Sleep, sleep};

use super::{ClientIncoming, Connection};
use crate::wire::{body::BoxError, gate::Gate};

/// How long a body that was announced with `Expect: 100-continue` waits for the upstream's word. Many servers never give
/// it; RFC 9110 section 10.1.1 says not to wait indefinitely.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A client's body: tells the connection when it has been read, and waits for the upstream's `100 Continue` where the
/// client does. The client's connection says `100 Continue` when its body is first polled.
pub(crate) struct ClientBody {
    incoming: IdleBody<ClientIncoming>,
    connection: Arc<Connection>,
    owed: Owed,
    gate: Option<(Gate, Pin<Box<Sleep>>)>,
    /// Fields that say who is calling and under which key: a head has them, a trailer section must not.
    identifying: [Option<HeaderName>; 2],
    /// Fields that identified callers before, and those that `Connection` names; none in most cases.
    others: Vec<HeaderName>,
}

/// What a client still owes of its body: time that runs out while it is waited for is no fault of the upstream, and that of the
/// request begins when nothing is owed any more.
#[derive(Clone, Debug)]
pub(crate) struct Owed(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    owed: AtomicU8,
    began: Instant,
    /// Nanoseconds from the beginning to the last piece.
    moved: AtomicU64,
    /// To the end of the body; 0 until it has come.
    ended: AtomicU64,
}

impl Owed {
    const NOTHING: u8 = 0;
    const WAITED_FOR: u8 = 1;
    const BROKEN: u8 = 2;

    fn new() -> Self {
        let (owed, moved, ended) = Default::default();
        Self(Arc::new(Progress { owed, began: Instant::now(), moved, ended }))
    }

    /// Whether the next of it is what everything waits for.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.owed.load(Ordering::Relaxed) == Self::WAITED_FOR
    }

    /// When the last of it was taken; `None` while it is coming.
    pub(crate) fn ended_at(&self) -> Option<Instant> {
        let nanos = self.0.ended.load(Ordering::Relaxed);
        (nanos > 0).then(|| self.0.began + Duration::from_nanos(nanos))
    }

    /// When the last piece was taken, or the request began.
    pub(crate) fn moved_at(&self) -> Instant {
        self.0.began + Duration::from_nanos(self.0.moved.load(Ordering::Relaxed))
    }

    /// Whether it broke off, or stalled for longer than a body may: an attempt that fails then does so by the client's doing.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.owed.load(Ordering::Relaxed) == Self::BROKEN
    }

    /// What is broken stays so, and there is one end.
    fn polled<T, E>(&self, polled: &Poll<Option<Result<T, E>>>, is_over: bool) {
        let owed = match polled {
            Poll::Ready(Some(Err(_))) => Self::BROKEN,
            Poll::Pending => Self::WAITED_FOR,
            Poll::Ready(Some(Ok(_)) | None) => Self::NOTHING,
        };
        // Only the body's one reader writes.
        if !self.is_broken() {
            self.0.owed.store(owed, Ordering::Relaxed);
        }
        if owed == Self::NOTHING && self.0.ended.load(Ordering::Relaxed) == 0 {
            let nanos = u64::try_from(self.0.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
            self.0.moved.store(nanos, Ordering::Relaxed);
            if is_over {
                self.0.ended.store(nanos, Ordering::Relaxed);
            }
        }
    }
}

impl ClientBody {
    /// A body that may be silent for `idle` at most.
    pub(crate) fn new(
        incoming: ClientIncoming,
        idle: Duration,
        connection: Arc<Connection>,
        gate: Option<Gate>,
    ) -> Self {
        Self {
            incoming: IdleBody::new(incoming, idle),
            connection,
            owed: Owed::new(),
            gate: gate.map(|gate| (gate, Box::pin(sleep(CONTINUE_PATIENCE)))),
            identifying: [None, None],
            others: Vec::new(),
        }
    }

    /// The same without these fields in its trailers.
    pub(crate) fn without(mut self, identifying: [Option<HeaderName>; 2], others: Vec<HeaderName>) -> Self {
        (self.identifying, self.others) = (identifying, others);
        self
    }

    /// Tells later whether it broke off, or is waited for.
    pub(crate) fn owed(&self) -> Owed {
        self.owed.clone()
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some((gate, patience)) = &mut this.gate {
            if gate.poll_open(cx).is_pending() && patience.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.gate = None;
        }
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            for name in this.identifying.iter().flatten().chain(&*this.others) {
                trailers.remove(name);
            }
        }
        let is_over = matches!(polled, Poll::Ready(None)) || this.incoming.is_end_stream();
        if is_over {
            this.connection.body_ended();
        }
        this.owed.polled(&polled, is_over);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
