//! Accepting connections for those who run the proxy: few, short-lived, and never on the threads that serve traffic.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::secure::{Arrival, Secure};
use crate::wire::transport::Transport;

/// The time for a request's head, and for idling between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after `accept` fails for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The listener's name in the log.
    pub(super) name: &'static str,
    /// Connections at once.
    pub(super) connections: usize,
    /// The life of a connection, so that a peer that reads nothing cannot keep its place. What is sent as it happens goes on for as
    /// long as it is taken.
    pub(super) lifetime: Duration,
}

/// How long a connection may live yet.
#[derive(Clone, Debug)]
pub(super) struct Life {
    began: Instant,
    lifetime: Duration,
    /// Milliseconds after it began, from which its lifetime counts.
    since_ms: Arc<AtomicU64>,
}

impl Life {
    fn new(lifetime: Duration) -> Self {
        Self { began: Instant::now(), lifetime, since_ms: Arc::default() }
    }

    /// Its peer takes what it is given: its lifetime counts from now.
    pub(super) fn goes_on(&self) {
        self.since_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    fn ends(&self) -> Instant {
        self.began + Duration::from_millis(self.since_ms.load(Relaxed)) + self.lifetime
    }

    /// Resolves when its lifetime is over.
    async fn is_over(&self) {
        while Instant::now() < self.ends() {
            sleep_until(self.ends()).await;
        }
    }
}

/// Serves until `shutdown` is true, or its sender is gone; connections that are open then are closed. `secure`: over TLS.
pub(super) async fn accept<S, F, A, B>(
    listener: TcpListener,
    bounds: Bounds,
    state: Arc<S>,
    answer: F,
    secure: Option<Arc<Secure>>,
    mut shutdown: watch::Receiver<bool>,
) where
    S: Send + Sync + 'static,
    F: Fn(Arc<S>, Request<Incoming>) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without a place, the connection is closed at once: whoever holds the places must not hold the queue too.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (state, secure) = (Arc::clone(&state), secure.clone());
                connections.spawn(async move {
                    let _place = place;
                    let _open = secure.as_ref().map(|secure| secure.connection());
                    let life = Life::new(bounds.lifetime);
                    let served = async {
                        let (transport, arrival) = match &secure {
                            None => (Transport::Clear(stream), Arrival::default()),
                            Some(secure) => secure.shake(stream, peer).await?,
                        };
                        // A peer that hangs up, or speaks garbage, is nobody's concern.
                        serve(transport, (arrival, life.clone()), state, answer).await.ok()
                    };
                    tokio::select! {
                        _ = served => {}
                        () = life.is_over() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the {} listener cannot accept", bounds.name);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<S, F, A, B>(
    stream: Transport,
    (arrival, life): (Arrival, Life),
    state: Arc<S>,
    answer: F,
) -> hyper::Result<()>
where
    S: Send + Sync + 'static,
    F: Fn(Arc<S>, Request<Incoming>) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(arrival.clone());
        request.extensions_mut().insert(life.clone());
        let answer = answer(Arc::clone(&state), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_lives_as_long_as_what_it_is_given_is_taken() {
        let (life, began) = (Life::new(Duration::from_mins(1)), Instant::now());
        let over = tokio::spawn({
            let life = life.clone();
            async move { life.is_over().await }
        });
        for _ in 0..10 {
            sleep(Duration::from_secs(15)).await;
            assert!(!over.is_finished());
            life.goes_on();
        }
        over.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 210);
    }
}
