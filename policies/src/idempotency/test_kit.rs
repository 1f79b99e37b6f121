//! What the tests of this room share.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use parking_lot::Mutex;

use super::*;
use crate::{
    clock::WallClock,
    evidence::{AttemptError, Cause, Evidence, Sent},
    operation::{
        FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation, OperationId, Provenance, Retained, State,
        UnixMillis, history::History, ledger::Ledger, memory::MemoryLedger,
    },
};

pub(super) const NOW: UnixMillis = 1_700_000_000_000;

pub(super) fn operation() -> Operation {
    Operation {
        id: OperationId { seq: 1, tag: 1 },
        key_hash: KeyHash([0; 32]),
        principal: [0; 32],
        fingerprint: [0; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "r".into(),
        upstream: "app".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: NOW,
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(NOW),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: None,
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: 24 * 3_600_000,
        tombstone_ms: 30 * 24 * 3_600_000,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

/// A protection over a memory ledger, with a clock that can be moved.
pub(super) struct Kit {
    pub(super) protection: Arc<Protection>,
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) clock: WallClock,
}

impl Kit {
    pub(super) fn new(params: Idempotency) -> Self {
        let clock = WallClock::manual(NOW);
        let ledger = Arc::new(MemoryLedger::new(clock.clone(), 1_000, 1 << 20));
        let shared: Arc<dyn Ledger> = Arc::clone(&ledger) as _;
        let protection = Protection::new(params, "payments".into(), "app".into(), shared, clock.clone(), false);
        Self { protection: Arc::new(protection), ledger, clock }
    }

    pub(super) async fn begin(&self, key: &str, body: &'static str) -> Begin {
        let key = Key::from_text(key).unwrap();
        self.protection.begin(&key, None, &post("/payments"), &Bytes::from_static(body.as_bytes()), &[]).await
    }

    pub(super) async fn claim(&self, key: &str) -> Claim {
        match self.begin(key, "").await {
            Begin::Execute(claim) => claim,
            other => panic!("a claim was expected: {other:?}"),
        }
    }

    pub(super) async fn repeat(&self, key: &str) -> Repeat {
        match self.begin(key, "").await {
            Begin::Known(repeat) => repeat,
            other => panic!("a repeat was expected: {other:?}"),
        }
    }

    pub(super) async fn read(&self, id: OperationId) -> Operation {
        self.ledger.read(id).await.unwrap().expect("the operation is there")
    }
}

pub(super) fn post(path: &str) -> Parts {
    Request::post(path).body(()).unwrap().into_parts().0
}

pub(super) fn asking(fenced: bool) -> Idempotency {
    let rule = |status: u16, state: Option<&str>, then| Rule {
        status: Some(StatusCode::from_u16(status).unwrap().into()),
        json: state
            .map(|state| JsonCondition { pointer: "/state".into(), expect: JsonExpect::OneOf(vec![state.into()]) })
            .into_iter()
            .collect(),
        then,
    };
    let status = StatusQuery {
        method: Method::GET,
        path: "/by-ref/{key}".into(),
        rules: vec![
            rule(200, Some("SUCCESS"), Verdict::Evidence(Evidence::Succeeded)),
            rule(200, Some("FAILED"), Verdict::Evidence(Evidence::Failed)),
            rule(200, Some("PROCESSING"), Verdict::Evidence(Evidence::Ongoing)),
            rule(404, None, Verdict::NotFound),
        ],
        settle_after: Duration::from_mins(1),
        fenced,
        shared: false,
        schedule: QuerySchedule::default(),
        rate_per_sec: 20.0,
    };
    Idempotency { status: Some(status), ..Idempotency::default() }
}

pub(super) fn from_content(window: Duration) -> Idempotency {
    let key = KeySource { from: Some(KeyFrom::Content { window }), ..KeySource::default() };
    Idempotency { key, retention: Duration::from_mins(1), ..Idempotency::default() }
}

/// A status endpoint that gives the same answer each time, after a while, and counts the questions.
pub(super) struct Endpoint {
    pub(super) answer: Option<(u16, &'static str, &'static str)>,
    pub(super) after: Duration,
    pub(super) asked: AtomicUsize,
    pub(super) targets: Mutex<Vec<String>>,
}

impl Endpoint {
    pub(super) fn json(status: u16, body: &'static str) -> Self {
        Self {
            answer: Some((status, "application/json", body)),
            after: Duration::ZERO,
            asked: AtomicUsize::new(0),
            targets: Mutex::default(),
        }
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Asker for Endpoint {
    fn ask(
        &self,
        _upstream: &str,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, AttemptError>> + Send + '_>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.targets.lock().push(format!("{} {}", request.method(), request.uri()));
        Box::pin(async move {
            tokio::time::sleep(self.after).await;
            let (status, media_type, body) = self.answer.ok_or_else(|| AttemptError::new(Cause::Reset, Sent::Maybe))?;
            Ok(Response::builder()
                .status(status)
                .header("content-type", media_type)
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap())
        })
    }
}
