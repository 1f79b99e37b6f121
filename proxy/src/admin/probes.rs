//! `/livez`, `/readyz` and `/metrics`, over HTTP/1.1.
//!
//! `/livez` says that the process runs and nothing else: a liveness probe that looks further restarts a process for the
//! faults of others. `/readyz` says why, if traffic should not come; `/readyz?verbose` lists what is looked at, one a line.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::watch};

use super::accept::{Bounds, accept};
use crate::runtime::readiness::{Check, Readiness};
use crate::telemetry::metrics::Metrics;

/// A kubelet and a few scrapers need a handful of connections.
const BOUNDS: Bounds = Bounds { name: "probes", connections: 128, lifetime: Duration::from_mins(1) };

/// What the probes show.
pub struct ProbeState {
    /// Whether traffic should come.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` prints.
    pub metrics: Arc<Metrics>,
}

/// Serves until `shutdown` is true, or its sender is gone; connections that are open then are closed.
pub async fn serve(listener: TcpListener, state: Arc<ProbeState>, shutdown: watch::Receiver<bool>) {
    let answer = |state: Arc<ProbeState>, request: Request<Incoming>| async move { answer(&request, &state) };
    accept(listener, BOUNDS, state, answer, None, shutdown).await;
}

fn answer(request: &Request<Incoming>, state: &ProbeState) -> Response<Full<Bytes>> {
    let render: fn(&ProbeState, &HeaderMap) -> Response<Full<Bytes>> = match request.uri().path() {
        "/livez" => |_, _| plain(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if is_verbose(request.uri()) => |state, _| checks(&state.readiness),
        "/readyz" => |state, _| ready(&state.readiness),
        "/metrics" => |state, asked| metrics(&state.metrics, asked),
        _ => return plain(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    // For HEAD, hyper sends the head of this and keeps the body to itself.
    render(state, request.headers())
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let checks = readiness.checks();
    let faults: Vec<&str> = checks.iter().filter_map(|check| check.fault.as_deref()).collect();
    if faults.is_empty() {
        let remarks = checks.iter().filter_map(|check| check.remark.as_deref());
        let lines: Vec<&str> = std::iter::once("ok").chain(remarks).collect();
        return plain(StatusCode::OK, lines.join("\n") + "\n");
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n")
}

/// Whether the query has a `verbose`, with a value or without one.
fn is_verbose(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some("verbose"))
}

/// Each check and how it ended; the status is that of the short answer.
fn checks(readiness: &Readiness) -> Response<Full<Bytes>> {
    let checks = readiness.checks();
    let is_ready = checks.iter().all(|check| check.fault.is_none());
    let line = |check: &Check| match (&check.fault, &check.remark) {
        (None, None) => format!("{} ok", check.name),
        (None, Some(remark)) => format!("{} ok: {remark}", check.name),
        (Some(why), _) => format!("{} failed: {why}", check.name),
    };
    let lines: Vec<String> = checks.iter().map(line).collect();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(status, lines.join("\n") + "\n")
}

/// What every person with `curl` can read, unless somebody asks for `OpenMetrics`, which shows exemplars, too.
fn metrics(metrics: &Metrics, asked: &HeaderMap) -> Response<Full<Bytes>> {
    let accepted = asked.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let is_openmetrics = accepted.flat_map(|accept| accept.split(',')).any(|range| {
        let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
        let is_refused = parameters.split(';').any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0"));
        media.trim().eq_ignore_ascii_case("application/openmetrics-text") && !is_refused
    });
    let (body, media) = if is_openmetrics {
        (metrics.encode_openmetrics(), "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (metrics.encode(), "text/plain; version=0.0.4; charset=utf-8")
    };
    let mut response = plain(StatusCode::OK, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
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
