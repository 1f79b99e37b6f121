//! `/livez`, `/readyz` and `/metrics`, over HTTP/1.1.
//!
//! `/livez` says that the process runs and nothing else: a liveness probe that looks further restarts a process for the
//! faults of others. `/readyz` says why, if traffic should not come.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::readiness::Readiness;
use crate::telemetry::metrics::Metrics;

/// Connections at once; a kubelet and a few scrapers need a handful.
const MAX_CONNECTIONS: usize = 128;
/// The time for a request's head, and for idling between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The life of a connection, so that a peer that reads nothing cannot keep its place.
const MAX_LIFETIME: Duration = Duration::from_mins(1);
/// The wait after `accept` fails for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the probes show.
pub struct ProbeState {
    /// Whether traffic should come.
    pub readiness: Readiness,
    /// What `/metrics` prints.
    pub metrics: Arc<Metrics>,
}

/// Serves until `shutdown` is true, or its sender is gone; connections that are open then are closed.
pub async fn serve(listener: TcpListener, state: Arc<ProbeState>, mut shutdown: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Without a place, the connection is closed at once: whoever holds the places must not hold the queue too.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let _place = place;
                    connection(stream, state).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the probes listener cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<ProbeState>) {
    let service = service_fn(|request| {
        let response = answer(&request, &state);
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A prober that hangs up, or speaks garbage, is nobody's concern.
    let _ = timeout(MAX_LIFETIME, serving).await;
}

fn answer(request: &Request<Incoming>, state: &ProbeState) -> Response<Full<Bytes>> {
    let render: fn(&ProbeState) -> Response<Full<Bytes>> = match request.uri().path() {
        "/livez" => |_| plain(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => |state| ready(&state.readiness),
        "/metrics" => |state| metrics(&state.metrics),
        _ => return plain(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    // For HEAD, hyper sends the head of this and keeps the body to itself.
    render(state)
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let reasons: Vec<_> = readiness.reasons().collect();
    if reasons.is_empty() {
        return plain(StatusCode::OK, "ok\n".to_owned());
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

fn metrics(metrics: &Metrics) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::OK, metrics.encode());
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
