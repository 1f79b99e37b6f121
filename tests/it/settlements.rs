//! A write is settled once, whoever settles it, and so it is counted.

use std::collections::BTreeMap;

use mainstay_tests::prelude::*;
use serde_json::json;

use super::admin::{act, word};

/// What is counted when the answer to a write is lost.
const DOUBT: &str = "unknown/none";
/// The first attempt is given up for a second one.
pub(super) const TWICE: &str = "timeout: { total: 9s, attempt: 1s }, \
    retry: { max_retries: 1, on: [timeout], backoff: { base: 1ms } }, idempotency: { required: true }";

/// The status endpoint is asked by this schedule.
pub(super) fn asking(schedule: &str) -> String {
    format!(
        "timeout: 8s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", rate: 1000/s, \
         schedule: {{ {schedule} }}, rules: [{{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}] }} }}"
    )
}

fn redispatching(attempts: u32) -> String {
    format!(
        "timeout: 8s, idempotency: {{ required: true, \
         redispatch: {{ attempts: {attempts}, backoff: {{ base: 50ms, max: 50ms }} }} }}"
    )
}

pub(super) async fn proxy_before(upstream: &Upstream, policy: &str) -> Proxy {
    let config = Config::new().upstream("app", upstream.addr, "honours_key: true").policy("p", policy);
    Proxy::start(config.route("path: /**", "app", "p").admin().top("drain: { delay: 0s }")).await
}

pub(super) fn write() -> Request {
    Request::keyed("/pay", "k", "x")
}

/// Sends a write whose answer is lost or does not come in time; gives its operation's id.
pub(super) async fn lose(proxy: &Proxy) -> String {
    let first = proxy.send(write()).await;
    first.expect_problem(first.status, "outcome-unknown");
    first.operation()
}

pub(super) async fn resolve(proxy: &Proxy, id: &str, state: &str) {
    let reply = act(proxy, &format!("/operations/{id}:resolve"), Some("*"), word(state)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// What may speak of a write in doubt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Evidence {
    LateAnswer,
    ResolverQuery,
    /// An operator orders to ask.
    OrderedQuery,
    /// A caller's repeat asks.
    RepeatQuery,
    Redispatch,
}

impl Evidence {
    pub(super) const ALL: [Self; 5] =
        [Self::LateAnswer, Self::ResolverQuery, Self::OrderedQuery, Self::RepeatQuery, Self::Redispatch];

    fn policy(self) -> String {
        match self {
            Self::LateAnswer => "timeout: 1s, idempotency: { required: true }".to_owned(),
            Self::ResolverQuery => asking("first: 50ms, max: 50ms"),
            Self::OrderedQuery | Self::RepeatQuery => asking("first: 1h, max: 1h"),
            Self::Redispatch => redispatching(1),
        }
    }

    /// Sees to it that it comes, if it does not by itself; the client waits for an answer.
    async fn provoke(self, proxy: &Proxy, id: &str) -> Option<Client> {
        let admin = proxy.config.admin.unwrap();
        let (addr, request) = match self {
            Self::RepeatQuery => (proxy.addr, write()),
            Self::OrderedQuery => {
                let why = json!({ "actor": "ana", "reason": "the customer is on the telephone" });
                let order = Request::post(&format!("/operations/{id}:query"), why.to_string());
                let order = order.header("Host", &admin.to_string()).header("If-Match", "*");
                (admin, order.header("Content-Type", "application/json"))
            }
            Self::LateAnswer | Self::ResolverQuery | Self::Redispatch => return None,
        };
        let mut client = Client::connect(addr).await;
        client.write(&request.bytes()).await;
        Some(client)
    }
}

/// A write in doubt, and evidence on its way that it was done. It comes when the gate opens.
pub(super) struct Doubt {
    pub(super) proxy: Proxy,
    pub(super) id: String,
    gate: Gate,
    _upstream: Upstream,
    _client: Option<Client>,
}

impl Doubt {
    async fn with(evidence: Evidence) -> Self {
        let (gate, is_late) = (Gate::new(), matches!(evidence, Evidence::LateAnswer));
        let held = gate.clone();
        let upstream = Upstream::start(move |seen| match (seen.method.as_str(), seen.index) {
            ("POST", 0) if !is_late => vec![Step::Body, Step::Reset],
            ("POST", _) => Answer::status(201).behind(&held),
            _ => Answer::json(200, "{\"state\":\"SUCCESS\"}").behind(&held),
        })
        .await;
        let proxy = proxy_before(&upstream, &evidence.policy()).await;
        let id = lose(&proxy).await;
        let client = evidence.provoke(&proxy, &id).await;
        upstream.wait_requests(if is_late { 1 } else { 2 }).await;
        Self { proxy, id, gate, _upstream: upstream, _client: client }
    }

    /// The evidence comes when a person has said the contrary.
    pub(super) async fn contradicted(evidence: Evidence) -> Self {
        let doubt = Self::with(evidence).await;
        resolve(&doubt.proxy, &doubt.id, "failed").await;
        doubt.gate.open();
        flagged(&doubt.proxy, &doubt.id, "conflict").await;
        doubt
    }
}

pub(super) async fn flagged(proxy: &Proxy, id: &str, reason: &str) {
    eventually(&format!("operation {id} is flagged: {reason}"), || async {
        (proxy.operation(id).await["attention"]["reason"] == reason).then_some(())
    })
    .await;
}

/// How many operations were settled, by `state/source`.
async fn settled(proxy: &Proxy) -> BTreeMap<String, u64> {
    let page = proxy.probe("/metrics").await.text();
    let series =
        page.lines().filter_map(|line| line.strip_prefix("mainstay_operations_settled_total{")?.rsplit_once(' '));
    series
        .map(|(labels, count)| {
            let label = |name: &str| {
                let (_, value) = labels.split_once(&format!("{name}=\"")).expect("the label is there");
                value.split('"').next().unwrap_or_default().to_owned()
            };
            (format!("{}/{}", label("state"), label("source")), count.parse().expect("a count"))
        })
        .collect()
}

/// Each of these was counted once, and nothing else.
pub(super) async fn counted_once(proxy: &Proxy, expected: &[&str]) {
    let counted = eventually(&format!("{expected:?} are counted"), || async {
        Some(settled(proxy).await).filter(|counted| counted.values().sum::<u64>() >= expected.len() as u64)
    })
    .await;
    let once: BTreeMap<_, _> = expected.iter().map(|series| ((*series).to_owned(), 1)).collect();
    assert_eq!(counted, once);
}

async fn settles_once(evidence: Evidence, source: &str) {
    let doubt = Doubt::with(evidence).await;
    doubt.gate.open();
    assert_eq!(doubt.proxy.operation_in(&doubt.id, "succeeded").await["source"], source);
    counted_once(&doubt.proxy, &[DOUBT, &format!("succeeded/{source}")]).await;
}

#[tokio::test]
async fn what_the_answer_itself_settles_is_counted_once() {
    for (status, series) in
        [(201, "succeeded/response"), (422, "failed/response"), (429, "not_executed/response"), (500, DOUBT)]
    {
        let upstream = Upstream::answering(Answer::status(status)).await;
        let proxy = proxy_before(&upstream, "timeout: 8s, idempotency: { required: true }").await;
        proxy.send(write()).await.expect_upstream(status);
        counted_once(&proxy, &[series]).await;
    }
}

#[tokio::test]
async fn what_a_late_answer_settles_is_counted_once() {
    settles_once(Evidence::LateAnswer, "late_response").await;
}

#[tokio::test]
async fn what_the_resolvers_question_settles_is_counted_once() {
    settles_once(Evidence::ResolverQuery, "status_query").await;
}

#[tokio::test]
async fn what_a_question_by_order_settles_is_counted_once() {
    settles_once(Evidence::OrderedQuery, "status_query").await;
}

#[tokio::test]
async fn what_a_repeats_own_question_settles_is_counted_once() {
    settles_once(Evidence::RepeatQuery, "status_query").await;
}

#[tokio::test]
async fn what_another_dispatch_settles_is_counted_once() {
    settles_once(Evidence::Redispatch, "redispatch").await;
}

#[tokio::test]
async fn what_a_person_settles_is_counted_once() {
    for state in ["succeeded", "failed", "not_executed"] {
        let doubt = Doubt::with(Evidence::LateAnswer).await;
        resolve(&doubt.proxy, &doubt.id, state).await;
        counted_once(&doubt.proxy, &[DOUBT, &format!("{state}/operator")]).await;
    }
}

#[tokio::test]
async fn what_is_heard_against_a_persons_word_is_not_counted_as_a_settlement() {
    for evidence in Evidence::ALL {
        println!("{evidence:?}");
        let doubt = Doubt::contradicted(evidence).await;
        counted_once(&doubt.proxy, &[DOUBT, "failed/operator"]).await;
    }
}

#[tokio::test]
async fn a_dispatch_that_proves_nothing_is_not_counted_as_a_settlement() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 | 1 => vec![Step::Body, Step::Reset],
        _ => Answer::status(201).steps(),
    })
    .await;
    let proxy = proxy_before(&upstream, &redispatching(2)).await;
    proxy.operation_in(&lose(&proxy).await, "succeeded").await;
    counted_once(&proxy, &[DOUBT, "succeeded/redispatch"]).await;
}

#[tokio::test]
async fn a_write_that_two_attempts_answer_is_counted_once() {
    let (first, second) = (Gate::new(), Gate::new());
    let held = [first.clone(), second.clone()];
    let upstream = Upstream::start(move |seen| Answer::status(201).behind(&held[seen.index])).await;
    let proxy = proxy_before(&upstream, TWICE).await;
    let mut client = proxy.connect().await;
    client.write(&write().bytes()).await;
    upstream.wait_requests(2).await;
    first.open();
    let id = proxy.get("/_mainstay/operations?key=k").await.json()["id"].as_str().unwrap().to_owned();
    proxy.operation_in(&id, "succeeded").await;
    second.open();
    client.reply().await;
    counted_once(&proxy, &["succeeded/late_response"]).await;
}
