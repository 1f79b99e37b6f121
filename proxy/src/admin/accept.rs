//! Accepting connections for those who run the proxy: few, short-lived, and never on the threads that serve traffic.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
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
    /// The life of a connection, so that a peer that reads nothing cannot keep its place.
    pub(super) lifetime: Duration,
}

/// Serves until `shutdown` is true, or its sender is gone; connections that are open then are closed. `secure`: over TLS.
pub(super) async fn accept<S, F, A>(
    listener: TcpListener,
    bounds: Bounds,
    state: Arc<S>,
    answer: F,
    secure: Option<Arc<Secure>>,
    mut shutdown: watch::Receiver<bool>,
) where
    S: Send + Sync + 'static,
    F: Fn(Arc<S>, Request<Incoming>) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
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
                    let served = async {
                        let (transport, arrival) = match &secure {
                            None => (Transport::Clear(stream), Arrival::default()),
                            Some(secure) => secure.shake(stream, peer).await?,
                        };
                        // A peer that hangs up, or speaks garbage, is nobody's concern.
                        serve(transport, arrival, state, answer).await.ok()
                    };
                    let _ = timeout(bounds.lifetime, served).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the {} listener cannot accept", bounds.name);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<S, F, A>(stream: Transport, arrival: Arrival, state: Arc<S>, answer: F) -> hyper::Result<()>
where
    S: Send + Sync + 'static,
    F: Fn(Arc<S>, Request<Incoming>) -> A + Copy + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(arrival.clone());
        let answer = answer(Arc::clone(&state), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
