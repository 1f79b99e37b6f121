//! What the tests of this room share.

use std::{
    future::Future,
    num::{NonZeroU32, NonZeroUsize},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use mainstay_policies::{
    evidence::{AttemptError, Evidence},
    idempotency::{
        Begin, Claim, IdMint, Idempotency, JsonCondition, JsonExpect, Key, Protection, QuerySchedule, Rule, Settlement,
        StatusQuery, Verdict,
    },
    operation::{Source, ledger::Ledger, memory::MemoryLedger},
    rate_limit::{self, Behavior, RateLimit},
    timeout::Timeout,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use mainstay_policies::path::{PathPattern, Segment};

use crate::config::model::{
    Control, Drain, Forward, HostRule, Limits, List, LogFormat, Logs, Match, Policy, Probes, Protocol, Ready, Route,
    Store, Telemetry, Upstream,
};
use crate::control::{routes::handle, *};

pub(super) const NOW: u64 = 1_700_000_000_000;

pub(super) struct Kit {
    pub(super) cx: ControlContext,
    pub(super) clock: WallClock,
    pub(super) endpoint: Arc<Endpoint>,
}

/// The service's own status endpoint, with one answer.
#[derive(Default)]
pub(super) struct Endpoint {
    pub(super) answer: Mutex<(u16, &'static str)>,
    pub(super) asked: Mutex<Vec<String>>,
}

impl Asker for Endpoint {
    fn ask(
        &self,
        upstream: &str,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, AttemptError>> + Send + '_>> {
        self.asked.lock().push(format!("{upstream} {} {}", request.method(), request.uri()));
        let (status, body) = *self.answer.lock();
        let response = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
        Box::pin(async move { Ok(response) })
    }
}

fn upstream(name: &str) -> Arc<Upstream> {
    Arc::new(Upstream {
        name: name.into(),
        endpoints: Vec::new(),
        protocol: Protocol::Auto,
        connect_timeout: Duration::from_secs(1),
        honours_key: false,
        max_connections: NonZeroUsize::MIN,
        idle_timeout: Duration::from_secs(1),
        max_age: Duration::from_mins(5),
        host: HostRule::Keep,
        forward: Forward::Internal,
        set: Vec::new(),
        remove: Vec::new(),
        resolve: crate::config::model::Resolve::default(),
        balance: mainstay_policies::balance::Balance::P2c,
        slow_start: Duration::ZERO,
        health: None,
        tls: None,
    })
}

fn idempotency() -> Idempotency {
    let rule = |state: &str, then| Rule {
        status: Some(StatusCode::OK.into()),
        json: vec![JsonCondition { pointer: "/state".into(), expect: JsonExpect::OneOf(vec![json!(state)]) }],
        then: Verdict::Evidence(then),
    };
    let not_found = Rule { status: Some(StatusCode::NOT_FOUND.into()), json: Vec::new(), then: Verdict::NotFound };
    let status = StatusQuery {
        method: Method::GET,
        path: "/{path.shop}/by-ref/{key}".into(),
        rules: vec![rule("SUCCESS", Evidence::Succeeded), not_found],
        settle_after: Duration::from_mins(1),
        fenced: false,
        shared: false,
        schedule: QuerySchedule::default(),
        rate_per_sec: 0.5,
    };
    Idempotency { required: true, status: Some(status), ..Idempotency::default() }
}

fn config() -> Config {
    let policy = Policy {
        name: "write".into(),
        timeout: Timeout::default(),
        retry: None,
        rate_limit: None,
        concurrency_limit: None,
        circuit_breaker: None,
        idempotency: Some(idempotency()),
        access: None,
        fallback: None,
        cache: None,
    };
    let segments = vec![Segment::Param("shop".into()), Segment::Literal("payments".into())];
    let path = PathPattern { text: "/{shop}/payments".into(), segments, rest: false };
    let matches = Match { methods: vec![Method::POST], ..Match::of_path(path) };
    let upstreams = vec![upstream("app"), upstream("bank")];
    let route = Route {
        name: "payments".into(),
        matches,
        upstream: Arc::clone(&upstreams[0]),
        policy: Arc::new(policy.clone()),
        rewrite: None,
    };
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        listeners: Vec::new(),
        upstreams,
        routes: vec![Arc::new(route)],
        policies: vec![Arc::new(policy)],
        ledger: crate::config::model::Ledger { store: Store::Memory, max_open: 100, max_bytes: 1 << 20, node: None },
        telemetry: Telemetry {
            service_name: "t".into(),
            resource: Vec::new(),
            otlp: None,
            propagation: Vec::new(),
            sample_ratio: 0.0,
            logs: Logs { format: LogFormat::Text, level: "info".into(), access: false },
            trace_url: None,
        },
        probes: Probes { address: any, ready: Ready::default() },
        admin: None,
        control: Control {
            path: "/_mainstay".into(),
            public_url: None,
            links: "/_mainstay".into(),
            rate_limit: rate_limit(),
            list: List::Own,
        },
        limits: Limits {
            header_bytes: NonZeroUsize::MIN,
            header_count: NonZeroUsize::MIN,
            response_header_bytes: NonZeroUsize::MIN,
            response_header_count: NonZeroUsize::MIN,
            header_timeout: Duration::ZERO,
            handshake_timeout: Duration::ZERO,
            keep_alive: Duration::ZERO,
            max_connection_age: None,
            connections: NonZeroUsize::MIN,
            streams: NonZeroU32::MIN,
            workers: NonZeroUsize::MIN,
            buffered_bytes: NonZeroUsize::MIN,
        },
        drain: Drain { delay: Duration::ZERO, is_delay_default: false, timeout: Duration::ZERO },
        environment: crate::config::FromEnvironment::default(),
    }
}

fn rate_limit() -> RateLimit {
    RateLimit {
        requests: NonZeroU32::MIN,
        unit: Duration::from_secs(1),
        burst: NonZeroU32::MIN,
        key: rate_limit::Key::Route,
        max_keys: 1,
        behavior: Behavior::Reject,
        headers: false,
        scope: rate_limit::Scope::Replica,
    }
}

/// An answer, taken apart.
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Kit {
    pub(super) fn new() -> Self {
        let clock = WallClock::manual(NOW);
        let endpoint = Arc::new(Endpoint::default());
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone(), 1_000, 1 << 20));
        let cx = ControlContext {
            ledger: Arc::clone(&ledger),
            config: Arc::new(config()),
            clock: clock.clone(),
            asker: Some(Arc::clone(&endpoint) as _),
            gate: QueryGate::default(),
            mint: Arc::new(IdMint::new(ledger, clock.clone())),
        };
        Self { cx, clock, endpoint }
    }

    pub(super) async fn claim(&self, key: &str, who: Option<&[u8]>, upstream: &str) -> Claim {
        let ledger = Arc::clone(&self.cx.ledger);
        let protection =
            Protection::new(idempotency(), "payments".into(), upstream.into(), ledger, self.clock.clone(), false);
        let parts = Request::post("/s/payments").body(()).unwrap().into_parts().0;
        let key = Key::from_text(key).unwrap();
        match protection.begin(&key, who, &parts, &Bytes::new(), &[("shop", "s")]).await {
            Begin::Execute(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn succeed(&self, claim: &mut Claim) {
        let retained = mainstay_policies::operation::Retained::StatusOnly;
        let response = Settlement::Response {
            evidence: Evidence::Succeeded,
            status: StatusCode::CREATED,
            code: None,
            retained,
            of_state: false,
        };
        claim.settle(response, Source::Response).await.unwrap();
    }

    pub(super) async fn call(&self, line: &str, headers: &[(&str, &str)], body: &str, who: Option<&[u8]>) -> Got {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(format!("/_mainstay/{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let reader = if who.is_some() { Reader::Principal(who) } else { Reader::Anonymous };
        let response =
            handle(&self.cx, &parts, Bytes::copy_from_slice(body.as_bytes()), Caller { reader, former: &[] }).await;
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) async fn get(&self, target: &str) -> Got {
        self.call(&format!("GET {target}"), &[], "", None).await
    }
}

pub(super) fn is_problem(got: &Got, status: u16, slug: &str) {
    assert_eq!((got.status, got.header("mainstay-error")), (status, Some(slug)), "{}", got.body);
    assert_eq!(got.header("content-type"), Some("application/problem+json"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.json()["type"], format!("/_mainstay/problems/{slug}"));
}
