//! Asking the upstream what became of a write.

mod resolving;
pub mod target;

use std::{
    collections::{HashMap, HashSet},
    fmt::{Display, Write},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{StatusQuery, rules};
use crate::{
    evidence::{AttemptError, Evidence, Verdict},
    operation::{OperationId, StoredResponse, UnixMillis},
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What the matching rule says; `None` is no evidence.
    pub verdict: Option<Verdict>,
    /// The status by which the endpoint answered, if it did.
    pub status: Option<StatusCode>,
    /// When the endpoint wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The endpoint is up: it answered, with whatever but a 5xx.
    pub is_up: bool,
    /// The answer itself, if it is a 2xx by which the write was done: it may stand for the answer that was lost.
    pub answer: Option<Arc<StoredResponse>>,
}

impl Heard {
    /// The name of the result in metrics and documents.
    pub const fn label(&self) -> &'static str {
        match self.verdict {
            None => "no_evidence",
            Some(Verdict::NotFound) => "not_found",
            Some(Verdict::Evidence(evidence)) => evidence.label(),
        }
    }
}

/// The operation's name is known only once it is recorded; it is put in when the query is made.
const OPERATION: &str = "{operation}";

/// Asks once. Whatever goes wrong is no evidence.
pub async fn ask(
    asker: &dyn Asker,
    upstream: &str,
    query: &StatusQuery,
    target: &str,
    operation: Option<OperationId>,
    now: UnixMillis,
) -> Heard {
    let target = operation.map_or_else(|| target.to_owned(), |id| with_operation(target, id));
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

/// The target with the operation's name in its place.
fn with_operation(target: &str, operation: impl Display) -> String {
    let mut name = String::with_capacity(32);
    // Writing to a String does not fail.
    let _ = write!(name, "{operation}");
    target.replace(OPERATION, &name)
}

/// What an answer of the status endpoint says.
pub fn judge(query: &StatusQuery, response: &Response<Bytes>, now: UnixMillis) -> Heard {
    let heard = Heard {
        verdict: None,
        status: Some(response.status()),
        retry_after: retry_after(response.headers(), now),
        is_up: !response.status().is_server_error(),
        answer: None,
    };
    let json = match body_of(response) {
        _ if !speaks_of_the_write(response.status()) => return heard,
        Body::Empty => None,
        Body::Json(json) => Some(json),
        Body::Other => return heard,
    };
    let verdict = rules::first_match(&query.rules, response.status(), json.as_ref());
    let tells = verdict == Some(Verdict::Evidence(Evidence::Succeeded)) && response.status().is_success();
    let answer = tells.then(|| {
        let (headers, body) = (response.headers().clone(), response.body().clone());
        Arc::new(StoredResponse { status: response.status(), headers, body })
    });
    Heard { verdict, answer, ..heard }
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
    let json = if is_json { rules::read_json(response.body()) } else { None };
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

/// How long somebody who waits for an answer waits for their turn to ask.
pub const TURN_WITHIN: Duration = Duration::from_secs(1);

/// How long others may take until they have followed a clock that was put forward: several heartbeats, and the writes of all that
/// they own.
const OTHERS_FOLLOW_WITHIN: Duration = Duration::from_mins(1);
/// What a wall clock may gain on the monotonic one between two looks without having been put forward.
const DRIFT: Duration = Duration::from_secs(1);

/// Keeps queries apart: one in flight per operation, and so many per second to one upstream, evenly spaced. And attempts:
/// no operation has two in flight. One for the whole process, shared by every route.
#[derive(Clone, Debug, Default)]
pub struct QueryGate(Arc<Mutex<Gate>>);

#[derive(Debug, Default)]
struct Gate {
    in_flight: HashSet<OperationId>,
    /// Attempts, or what waits for a late answer of one.
    attempts: HashSet<OperationId>,
    /// Attempts that were given up for another one and may still be answered, and how many of each operation.
    given_up: HashMap<OperationId, usize>,
    /// When each upstream's next query is due by its rate (GCRA's theoretical arrival time, with no burst).
    due: HashMap<Arc<str>, Instant>,
    /// Both clocks, as they were when all times on record agreed with them.
    agreed: Option<(UnixMillis, Instant)>,
    /// When the wall clock was last put forward.
    jumped: Option<Instant>,
}

/// Why a query is not made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Another one about the same operation is in flight.
    InFlight,
    /// The upstream is asked often enough: the next turn is too far away.
    Rate,
}

impl QueryGate {
    /// A turn to ask about `operation` that comes within `patience`. No other query about it is made until the permit is
    /// dropped.
    ///
    /// # Errors
    /// Why there is none.
    pub fn enter(
        &self,
        operation: OperationId,
        upstream: &Arc<str>,
        per_sec: f64,
        patience: Duration,
    ) -> Result<QueryPermit, Held> {
        let mut gate = self.0.lock();
        if gate.in_flight.contains(&operation) {
            return Err(Held::InFlight);
        }
        let turn = gate.book(upstream, per_sec, Instant::now(), patience)?;
        gate.in_flight.insert(operation);
        Ok(QueryPermit { gate: Arc::clone(&self.0), operation, turn })
    }

    /// Waits for a turn to ask about a key that the ledger does not know.
    ///
    /// # Errors
    /// It would not come within [`TURN_WITHIN`].
    pub async fn enter_unnamed(&self, upstream: &Arc<str>, per_sec: f64) -> Result<(), Held> {
        let turn = self.0.lock().book(upstream, per_sec, Instant::now(), TURN_WITHIN)?;
        sleep_until(turn).await;
        Ok(())
    }

    /// Says that an attempt of `operation` is in flight until the guard is dropped; `None` if one is already.
    pub fn attempt(&self, operation: OperationId) -> Option<AttemptGuard> {
        let is_first = self.0.lock().attempts.insert(operation);
        is_first.then(|| AttemptGuard { gate: Arc::clone(&self.0), operation })
    }

    /// Says that an attempt of `operation` that was given up for another one may still be answered, until the guard is dropped.
    pub fn give_up(&self, operation: OperationId) -> GivenUpGuard {
        *self.0.lock().given_up.entry(operation).or_default() += 1;
        GivenUpGuard { gate: Arc::clone(&self.0), operation }
    }

    /// Whether any attempt of `operation` is open here: the service may be at work on it, whatever it says it does not know.
    pub fn is_open(&self, operation: OperationId) -> bool {
        let gate = self.0.lock();
        gate.attempts.contains(&operation) || gate.given_up.contains_key(&operation)
    }

    /// Whether an attempt of `operation` is in flight.
    pub fn is_attempted(&self, operation: OperationId) -> bool {
        self.0.lock().attempts.contains(&operation)
    }

    /// Says once, at the start, that all times on record agree with the wall clock, which reads `now`.
    pub fn clock_starts(&self, now: UnixMillis) {
        self.0.lock().agreed.get_or_insert((now, Instant::now()));
    }

    /// Says that all times on record agree with the wall clock, which reads `now`.
    pub fn clock_agrees(&self, now: UnixMillis) {
        self.0.lock().agreed = Some((now, Instant::now()));
    }

    /// The wall clock was put forward, and what this process owns follows.
    pub fn clock_jumped(&self) {
        self.0.lock().jumped = Some(Instant::now());
    }

    /// Whether the wall clock was put forward so lately that other processes, which keep the times of what they own, may not have
    /// followed it yet.
    pub fn others_may_lag(&self) -> bool {
        self.0.lock().jumped.is_some_and(|jumped| jumped.elapsed() < OTHERS_FOLLOW_WITHIN)
    }

    /// How far the wall clock, which reads `now`, was put forward since times on record last agreed with it. Until they do
    /// again, the time that has passed since a write was sent proves nothing.
    pub fn put_forward(&self, now: UnixMillis) -> Option<Duration> {
        let (wall, instant) = self.0.lock().agreed?;
        let gained = Duration::from_millis(now.saturating_sub(wall)).checked_sub(instant.elapsed())?;
        Some(gained).filter(|gained| *gained > DRIFT)
    }

    /// How long ago times on record last agreed with the wall clock: no jump is longer ago that was not followed.
    pub fn agreed_for(&self) -> Duration {
        self.0.lock().agreed.map_or(Duration::ZERO, |(_, instant)| instant.elapsed())
    }

    /// Whether the wall clock, which reads `now`, was put back since times on record last agreed with it.
    pub fn was_put_back(&self, now: UnixMillis) -> bool {
        let Some((wall, instant)) = self.0.lock().agreed else { return false };
        Duration::from_millis(now) + DRIFT < Duration::from_millis(wall).saturating_add(instant.elapsed())
    }
}

impl Gate {
    /// The next turn, if it comes within `patience`.
    fn book(&mut self, upstream: &Arc<str>, per_sec: f64, now: Instant, patience: Duration) -> Result<Instant, Held> {
        let Ok(interval) = Duration::try_from_secs_f64(1.0 / per_sec) else { return Err(Held::Rate) };
        let turn = self.due.get(upstream).copied().unwrap_or(now).max(now);
        if turn.duration_since(now) > patience {
            return Err(Held::Rate);
        }
        self.due.insert(Arc::clone(upstream), turn + interval);
        Ok(turn)
    }
}

/// A turn to ask about one operation.
#[derive(Debug)]
pub struct QueryPermit {
    gate: Arc<Mutex<Gate>>,
    operation: OperationId,
    turn: Instant,
}

impl QueryPermit {
    /// Waits until the turn has come.
    pub async fn turn(&self) {
        sleep_until(self.turn).await;
    }
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        self.gate.lock().in_flight.remove(&self.operation);
    }
}

/// An attempt in flight.
#[derive(Debug)]
pub struct AttemptGuard {
    gate: Arc<Mutex<Gate>>,
    operation: OperationId,
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        self.gate.lock().attempts.remove(&self.operation);
    }
}

/// An attempt that was given up for another one and may still be answered.
#[derive(Debug)]
pub struct GivenUpGuard {
    gate: Arc<Mutex<Gate>>,
    operation: OperationId,
}

impl Drop for GivenUpGuard {
    fn drop(&mut self) {
        let mut gate = self.gate.lock();
        if let Some(count) = gate.given_up.get_mut(&self.operation) {
            *count -= 1;
            if *count == 0 {
                gate.given_up.remove(&self.operation);
            }
        }
    }
}

#[cfg(test)]
mod tests;
