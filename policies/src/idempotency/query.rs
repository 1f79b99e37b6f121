//! Asking the upstream what became of a write.

use std::{collections::HashMap, collections::HashSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{StatusQuery, Verdict, rules, template};
use crate::{
    evidence::AttemptError,
    operation::{OperationId, UnixMillis},
};

/// Bounds one query: a caller waits for it.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one request to an upstream, outside of any client's request.
pub trait Asker: Send + Sync {
    /// The answer of `upstream` to `request`, whole. Redirects are not followed.
    fn ask(
        &self,
        upstream: &str,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, AttemptError>> + Send + '_>>;
}

/// What a query brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the matching rule says; `None` is no evidence.
    pub verdict: Option<Verdict>,
    /// When the endpoint wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// Asks once. Whatever goes wrong is no evidence.
pub async fn ask(
    asker: &dyn Asker,
    upstream: &str,
    query: &StatusQuery,
    target: &str,
    operation: Option<OperationId>,
    now: UnixMillis,
) -> Heard {
    let target = operation.map_or_else(|| target.to_owned(), |id| template::with_operation(target, id));
    let request = Request::builder()
        .method(query.method.clone())
        .uri(target)
        .header(header::ACCEPT, "application/json")
        .body(Bytes::new());
    let Ok(request) = request else { return Heard::default() };
    match tokio::time::timeout(QUERY_TIMEOUT, asker.ask(upstream, request)).await {
        Ok(Ok(response)) => judge(query, &response, now),
        Ok(Err(_)) | Err(_) => Heard::default(),
    }
}

/// What an answer of the status endpoint says.
pub fn judge(query: &StatusQuery, response: &Response<Bytes>, now: UnixMillis) -> Heard {
    let retry_after = retry_after(response.headers(), now);
    let json = match body_of(response) {
        _ if !speaks_of_the_write(response.status()) => return Heard { verdict: None, retry_after },
        Body::Empty => None,
        Body::Json(json) => Some(json),
        Body::Other => return Heard { verdict: None, retry_after },
    };
    Heard { verdict: rules::first_match(&query.rules, response.status(), json.as_ref()), retry_after }
}

/// These statuses speak of the query, not of the write.
fn speaks_of_the_write(status: StatusCode) -> bool {
    let of_the_query = matches!(status.as_u16(), 401 | 403 | 405 | 407 | 408 | 425 | 429);
    (status.is_success() || status.is_client_error()) && !of_the_query
}

enum Body {
    Empty,
    Json(Value),
    /// A page of text is not the status endpoint's: behind a wrong path, a framework's own "404 page not found" would free
    /// the key of a write that was done.
    Other,
}

fn body_of(response: &Response<Bytes>) -> Body {
    if response.body().is_empty() {
        return Body::Empty;
    }
    let is_json = response.headers().get(header::CONTENT_TYPE).is_none_or(|value| {
        let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/json") || media_type.to_ascii_lowercase().ends_with("+json")
    });
    let json = if is_json { serde_json::from_slice(response.body()).ok() } else { None };
    json.map_or(Body::Other, Body::Json)
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_millis(now)))
}

/// Keeps queries apart: one in flight per operation, and so many per second to one upstream. One for the whole process,
/// shared by every route.
#[derive(Clone, Debug, Default)]
pub struct QueryGate(Arc<Mutex<Gate>>);

#[derive(Debug, Default)]
struct Gate {
    in_flight: HashSet<OperationId>,
    /// When each upstream's next query is due by its rate (GCRA's theoretical arrival time).
    due: HashMap<Arc<str>, Instant>,
}

/// Why a query is not made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Another one about the same operation is in flight.
    InFlight,
    /// The upstream has been asked often enough.
    Rate,
}

impl QueryGate {
    /// Leave to ask about `operation`, until the permit is dropped.
    pub fn enter(&self, operation: OperationId, upstream: &Arc<str>, per_sec: f64) -> Result<QueryPermit, Held> {
        let mut gate = self.0.lock();
        if gate.in_flight.contains(&operation) {
            return Err(Held::InFlight);
        }
        gate.admit(upstream, per_sec, Instant::now())?;
        gate.in_flight.insert(operation);
        Ok(QueryPermit { gate: Arc::clone(&self.0), operation })
    }

    /// Leave to ask about a key that the ledger does not know.
    pub fn enter_unnamed(&self, upstream: &Arc<str>, per_sec: f64) -> Result<(), Held> {
        self.0.lock().admit(upstream, per_sec, Instant::now())
    }
}

impl Gate {
    /// GCRA with a burst of one second's worth, at least one.
    fn admit(&mut self, upstream: &Arc<str>, per_sec: f64, now: Instant) -> Result<(), Held> {
        let Ok(interval) = Duration::try_from_secs_f64(1.0 / per_sec) else { return Err(Held::Rate) };
        let allowance = interval.max(Duration::from_secs(1));
        let due = self.due.get(upstream).copied().unwrap_or(now).max(now) + interval;
        if due.duration_since(now) > allowance {
            return Err(Held::Rate);
        }
        self.due.insert(Arc::clone(upstream), due);
        Ok(())
    }
}

/// Leave to ask about one operation.
#[derive(Debug)]
pub struct QueryPermit {
    gate: Arc<Mutex<Gate>>,
    operation: OperationId,
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        self.gate.lock().in_flight.remove(&self.operation);
    }
}

#[cfg(test)]
mod tests;
