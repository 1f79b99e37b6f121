//! Whether the peer of a quiet connection is still there (RFC 9113 section 6.7).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Whether anything has been read from a connection since somebody last asked.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<AtomicBool>);

impl Heard {
    /// Something has been read.
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// How often, and how patiently, a peer is asked.
#[derive(Clone, Copy)]
pub(crate) struct Pulse {
    /// After so long a silence it is asked.
    pub(crate) interval: Duration,
    /// So long it has to answer.
    pub(crate) timeout: Duration,
}

/// Pings a silent peer.
pub(crate) struct KeepAlive {
    pulse: Pulse,
    pings: PingPong,
    heard: Heard,
    asked: bool,
    next: Pin<Box<Sleep>>,
}

impl KeepAlive {
    pub(crate) fn new(pings: PingPong, heard: Heard, pulse: Pulse) -> Self {
        Self { pulse, pings, heard, asked: false, next: Box::pin(sleep(pulse.interval)) }
    }

    /// Ready when the peer has not answered in time. It is not asked while the connection is not `wanted`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wanted: bool) -> Poll<()> {
        while self.next.as_mut().poll(cx).is_ready() {
            // Any byte is as good as the pong.
            let silent = !self.heard.take();
            // Takes the pong off its slot, without which no further ping goes out.
            let _ = self.pings.poll_pong(cx);
            if silent && self.asked {
                self.next.as_mut().reset(Instant::now() + self.pulse.interval);
                return Poll::Ready(());
            }
            self.asked = silent && wanted && self.pings.send_ping(Ping::opaque()).is_ok();
            let pause = if self.asked { self.pulse.timeout } else { self.pulse.interval };
            self.next.as_mut().reset(Instant::now() + pause);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const PULSE: Pulse = Pulse { interval: Duration::from_secs(30), timeout: Duration::from_secs(20) };

    /// A connection whose peer answers nothing.
    fn silent() -> (KeepAlive, Heard, h2::client::Connection<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let shakes = h2::client::handshake(ours);
        let (_, mut connection) = futures_util::FutureExt::now_or_never(shakes).unwrap().unwrap();
        let heard = Heard::default();
        (KeepAlive::new(connection.ping_pong().unwrap(), heard.clone(), PULSE), heard, connection, theirs)
    }

    /// How long until the peer is taken for gone; at most ten minutes.
    async fn lasts(keep_alive: &mut KeepAlive, wanted: bool) -> Option<Duration> {
        let began = Instant::now();
        let gone = timeout(Duration::from_mins(10), poll_fn(|cx| keep_alive.poll(cx, wanted))).await;
        gone.ok().map(|()| began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_no_ping_is_gone() {
        let (mut keep_alive, _heard, _connection, _peer) = silent();
        assert_eq!(lasts(&mut keep_alive, true).await, Some(PULSE.interval + PULSE.timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_in_time_is_an_answer() {
        let (mut keep_alive, heard, _connection, _peer) = silent();
        let answers = async {
            for _ in 0..10 {
                tokio::time::sleep(PULSE.timeout).await;
                heard.note();
            }
        };
        let (lasted, ()) = futures_util::future::join(lasts(&mut keep_alive, true), answers).await;
        assert!(lasted.unwrap() > PULSE.timeout * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_on_a_connection_that_is_not_wanted() {
        let (mut keep_alive, _heard, _connection, _peer) = silent();
        assert_eq!(lasts(&mut keep_alive, false).await, None);
    }
}
