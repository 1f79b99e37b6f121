use http::{HeaderValue, Method, header};

use super::*;
use crate::{
    idempotency::{
        AnswerKind, KeySource, KeyTemplate, Mint, Outcomes,
        test_kit::{Endpoint, Kit, asking, post},
    },
    operation::{Source, memory::MemoryLedger},
};

fn keyed(method: &Method, key: Option<&'static str>) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/p");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(()).unwrap().into_parts().0
}

fn recognise(params: Idempotency, method: &Method, key: Option<&'static str>, who: Option<&[u8]>) -> String {
    let parts = keyed(method, key);
    match Kit::new(params).protection.recognise(&Incoming { parts: &parts, principal: who, path_params: &[] }) {
        Ok(Recognised::Unprotected) => "unprotected".into(),
        Ok(Recognised::Unnamed) => "unnamed".into(),
        Ok(Recognised::Keyed(key)) => format!("keyed {}", key.as_str()),
        Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.problem.slug()),
    }
}

fn from_template(text: &str) -> Idempotency {
    let from = Some(KeyFrom::Template(KeyTemplate::parse(text).unwrap()));
    Idempotency { key: KeySource { from, ..KeySource::default() }, ..Idempotency::default() }
}

fn from_content(window: Duration) -> Idempotency {
    let key = KeySource { from: Some(KeyFrom::Content { window }), ..KeySource::default() };
    Idempotency { key, retention: Duration::from_mins(1), ..Idempotency::default() }
}

#[test]
fn a_key_is_made_where_the_client_sends_none() {
    let by_who = from_template("{principal}:7");
    let required = Idempotency { required: true, ..by_who.clone() };
    let known = Idempotency { principal_required: true, ..required.clone() };
    let minting = Idempotency { key: KeySource { mint: Mint::Snowflake, ..by_who.key.clone() }, ..by_who.clone() };
    let by_body = from_template("{json:/id}");
    let by_content = from_content(Duration::from_secs(10));
    for (params, key, who, expected) in [
        (&by_who, None, Some(&b"me"[..]), "keyed me:7"),
        (&by_who, Some("k"), Some(b"me"), "keyed k"),
        (&by_who, Some(""), Some(b"me"), "400 key-invalid"),
        (&by_who, None, None, "unprotected"),
        (&by_who, None, Some(b""), "unprotected"),
        (&required, None, None, "400 key-missing"),
        (&known, None, None, "401 principal-missing"),
        (&minting, None, None, "unnamed"),
        (&minting, None, Some(b"me"), "keyed me:7"),
        (&by_body, None, None, "unnamed"),
        (&by_content, None, None, "unnamed"),
        (&by_content, Some("k"), None, "keyed k"),
    ] {
        assert_eq!(recognise(params.clone(), &Method::POST, key, who), expected, "{key:?} {who:?}");
    }
}

async fn made(params: &Idempotency, body: &'static str) -> String {
    let parts = keyed(&Method::POST, None);
    let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
    match Kit::new(params.clone()).protection.key(&incoming, &Bytes::from_static(body.as_bytes())).await {
        Ok(None) => "unprotected".into(),
        Ok(Some(key)) if key.is_minted() => "minted".into(),
        Ok(Some(key)) => format!("keyed {}", key.as_str()),
        Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.problem.slug()),
    }
}

#[tokio::test]
async fn a_key_of_the_body_is_there_or_is_missing() {
    let optional = from_template("{json:/id}");
    let required = Idempotency { required: true, ..optional.clone() };
    let minting = Idempotency { key: KeySource { mint: Mint::UuidV7, ..optional.key.clone() }, ..required.clone() };
    let known = Idempotency { principal_required: true, ..optional.clone() };
    for (params, body, expected) in [
        (&optional, r#"{"id":"a:b"}"#, "keyed a%3Ab"),
        (&optional, "{}", "unprotected"),
        (&optional, "no json", "unprotected"),
        (&required, "{}", "400 key-missing"),
        (&required, r#"{"id":null}"#, "400 key-missing"),
        (&required, r#"{"id":1,"id":2}"#, "400 key-missing"),
        (&optional, r#"{"id":{}}"#, "400 key-invalid"),
        (&minting, "{}", "minted"),
        (&known, "{}", "unprotected"),
        (&known, r#"{"id":1}"#, "401 principal-missing"),
    ] {
        assert_eq!(made(params, body).await, expected, "{body}");
    }
}

async fn begin_content(kit: &Kit, body: &'static str) -> (Key, Begin) {
    let parts = keyed(&Method::POST, None);
    let body = Bytes::from_static(body.as_bytes());
    let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
    let key = kit.protection.key(&incoming, &body).await.unwrap().expect("every content is a key");
    let begin = kit.protection.begin(&key, None, &parts, &body, &[]).await;
    (key, begin)
}

#[tokio::test]
async fn the_same_content_is_a_repeat_until_its_window_after_settling_is_over() {
    let kit = Kit::new(from_content(Duration::from_secs(10)));
    let (first, Begin::Execute(mut claim)) = begin_content(&kit, "x").await else { panic!("a new write") };
    assert!(matches!(begin_content(&kit, "y").await.1, Begin::Execute(_)), "other content is another write");
    kit.clock.advance(Duration::from_secs(12));
    assert!(matches!(begin_content(&kit, "x").await.1, Begin::Known(_)), "it is still under way");
    let done = kit.protection.settlement(StatusCode::OK, &HeaderMap::new(), Some(Bytes::new()));
    claim.settle(done, Source::Response).await.unwrap();
    kit.clock.advance(Duration::from_millis(9_999));
    let (_, Begin::Known(repeat)) = begin_content(&kit, "x").await else { panic!("a repeat") };
    assert_eq!(repeat.operation.id, claim.id());
    kit.clock.advance(Duration::from_millis(1));
    let (second, Begin::Execute(again)) = begin_content(&kit, "x").await else { panic!("a write of its own") };
    assert_ne!(again.id(), claim.id());
    assert_ne!(first.as_str(), second.as_str(), "to the upstream it is another write");
    assert_eq!(kit.read(claim.id()).await.state, State::Succeeded, "the first stays readable");
}

#[tokio::test]
async fn the_same_content_is_never_repeated_while_its_outcome_is_unknown() {
    let kit = Kit::new(from_content(Duration::from_secs(10)));
    let (_, Begin::Execute(mut claim)) = begin_content(&kit, "x").await else { panic!("a new write") };
    claim
        .settle(Settlement::Ambiguous { reason: "reset", status: None, stored: None }, Source::Response)
        .await
        .unwrap();
    kit.clock.advance(Duration::from_hours(100));
    assert!(matches!(begin_content(&kit, "x").await.1, Begin::Known(_)));
    // A key of its own says that it is a write of its own.
    assert!(matches!(kit.begin("mine", "x").await, Begin::Execute(_)));
}

#[test]
fn requests_are_recognised_as_the_policy_says() {
    let optional = Idempotency::default();
    let required = Idempotency { required: true, ..Idempotency::default() };
    let known = Idempotency { principal_required: true, ..Idempotency::default() };
    let minting =
        Idempotency { key: KeySource { mint: Mint::UuidV7, ..KeySource::default() }, ..Idempotency::default() };
    for (params, method, key, who, expected) in [
        (&optional, Method::GET, Some("k"), None, "unprotected"),
        (&required, Method::GET, None, None, "unprotected"),
        (&optional, Method::PUT, Some("k"), None, "unprotected"),
        (&optional, Method::POST, None, None, "unprotected"),
        (&optional, Method::POST, Some("k"), None, "keyed k"),
        (&optional, Method::PATCH, Some("\"k\""), None, "keyed k"),
        (&required, Method::POST, None, None, "400 key-missing"),
        (&optional, Method::POST, Some(""), None, "400 key-invalid"),
        (&optional, Method::POST, Some("a, b"), None, "400 key-invalid"),
        (&known, Method::POST, Some("k"), None, "401 principal-missing"),
        (&known, Method::POST, Some("k"), Some(&b""[..]), "401 principal-missing"),
        (&known, Method::POST, Some("k"), Some(b"me"), "keyed k"),
        (&known, Method::POST, None, None, "unprotected"),
        (&minting, Method::POST, None, None, "unnamed"),
        (&minting, Method::GET, None, None, "unprotected"),
    ] {
        assert_eq!(recognise(params.clone(), &method, key, who), expected, "{method} {key:?} {who:?}");
    }
}

#[tokio::test]
async fn a_hundred_concurrent_duplicates_execute_once() {
    let kit = Kit::new(Idempotency::default());
    let mut begins = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let protection = Arc::clone(&kit.protection);
        begins.spawn(async move {
            let key = Key::from_text("k").unwrap();
            protection.begin(&key, None, &post("/p"), &Bytes::new(), &[]).await
        });
    }
    let claims = begins.join_all().await.into_iter().filter(|begin| matches!(begin, Begin::Execute(_))).count();
    assert_eq!(claims, 1);
}

/// A common order of checks answers 409 here, and the client never learns of its mistake.
#[tokio::test]
async fn another_request_under_the_key_is_422_whatever_the_state() {
    let kit = Kit::new(Idempotency::default());
    let reused = async || match kit.begin("k", "another").await {
        Begin::Refused(refusal) => (refusal.status.as_u16(), refusal.problem, refusal.operation.is_some()),
        other => panic!("{other:?}"),
    };
    let mut claim = kit.claim("k").await;
    assert_eq!(reused().await, (422, Problem::KeyReused, true), "pending");
    claim
        .settle(Settlement::Ambiguous { reason: "reset", status: None, stored: None }, Source::Response)
        .await
        .unwrap();
    assert_eq!(reused().await, (422, Problem::KeyReused, true), "unknown");
    let response = kit.protection.settlement(StatusCode::OK, &HeaderMap::new(), Some(Bytes::new()));
    claim.settle(response, Source::LateResponse).await.unwrap();
    assert_eq!(reused().await, (422, Problem::KeyReused, true), "succeeded");
    kit.clock.advance(kit.protection.params().retention);
    assert_eq!(reused().await, (422, Problem::KeyReused, true), "expired");
}

/// Keys that are not bound to their caller show one caller's answer to another.
#[tokio::test]
async fn a_key_is_bound_to_its_principal_and_upstream() {
    let kit = Kit::new(Idempotency::default());
    let key = Key::from_text("k").unwrap();
    for who in [None, Some(&b"alice"[..]), Some(b"bob")] {
        let begin = kit.protection.begin(&key, who, &post("/p"), &Bytes::new(), &[]).await;
        assert!(matches!(begin, Begin::Execute(_)), "{who:?}");
    }
    let ledger: Arc<dyn Ledger> = Arc::clone(&kit.ledger) as _;
    let params = Idempotency::default();
    let other = Protection::new(params, "p".into(), "other".into(), ledger, kit.clock.clone(), false);
    assert!(matches!(other.begin(&key, None, &post("/p"), &Bytes::new(), &[]).await, Begin::Execute(_)));
}

/// Elsewhere, a store that is down lets requests through unprotected.
#[tokio::test]
async fn a_ledger_that_takes_no_write_refuses_the_request() {
    let clock = WallClock::manual(0);
    let full: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone(), 0, 0));
    let protection = Protection::new(Idempotency::default(), "r".into(), "u".into(), full, clock, false);
    let key = Key::from_text("k").unwrap();
    let Begin::Refused(refusal) = protection.begin(&key, None, &post("/p"), &Bytes::new(), &[]).await else {
        panic!("refused")
    };
    assert_eq!((refusal.problem, refusal.status.as_u16()), (Problem::LedgerUnavailable, 503));
    assert!(refusal.retry_after.is_some());
}

#[tokio::test]
async fn a_settled_write_is_replayed_as_it_was() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let headers: HeaderMap = [
        (header::LOCATION, HeaderValue::from_static("/payments/7")),
        (header::SET_COOKIE, HeaderValue::from_static("s=1")),
    ]
    .into_iter()
    .collect();
    let body = Bytes::from_static(b"{\"id\":7}");
    let settlement = kit.protection.settlement(StatusCode::CREATED, &headers, Some(body.clone()));
    claim.settle(settlement, Source::Response).await.unwrap();
    for _ in 0..3 {
        let answer = kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await;
        let AnswerKind::Replay(stored) = answer.kind else { panic!("replayed") };
        assert_eq!((stored.status, &stored.body), (StatusCode::CREATED, &body));
        assert_eq!(stored.headers.get(header::LOCATION), headers.get(header::LOCATION));
        assert_eq!(stored.headers.len(), 1);
    }
}

/// fiber#4018: an oversize response is not stored, so the retry runs again.
#[tokio::test]
async fn a_response_that_is_too_large_to_keep_is_remembered_all_the_same() {
    let kit = Kit::new(Idempotency { max_response: 4, ..Idempotency::default() });
    for (key, body) in [("large", Some(Bytes::from_static(b"12345"))), ("streamed", None)] {
        let mut claim = kit.claim(key).await;
        let settlement = kit.protection.settlement(StatusCode::OK, &HeaderMap::new(), body);
        assert_eq!(claim.settle(settlement, Source::Response).await.unwrap().state, State::Succeeded);
        let answer = kit.protection.resolve_repeat(kit.repeat(key).await, None, None).await;
        let AnswerKind::Refused(refusal) = answer.kind else { panic!("refused") };
        assert_eq!(refusal.problem, Problem::ResponseNotRetained);
    }
}

#[tokio::test]
async fn an_upstreams_own_5xx_is_replayed_while_the_outcome_is_unknown() {
    let kit = Kit::new(Idempotency::default());
    let mut claim = kit.claim("k").await;
    let settlement = kit.protection.settlement(StatusCode::BAD_GATEWAY, &HeaderMap::new(), Some(Bytes::from("oops")));
    assert_eq!(claim.settle(settlement, Source::Response).await.unwrap().state, State::Unknown);
    let answer = kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await;
    assert_eq!(answer.operation.http_status, Some(StatusCode::BAD_GATEWAY));
    assert!(matches!(answer.kind, AnswerKind::Replay(stored) if stored.status == StatusCode::BAD_GATEWAY));
}

#[tokio::test]
async fn an_ongoing_answer_is_kept_and_leaves_the_outcome_unknown() {
    let outcome = Outcomes { ongoing: vec![StatusCode::ACCEPTED], ..Outcomes::default() };
    let kit = Kit::new(Idempotency { outcome, ..Idempotency::default() });
    let mut claim = kit.claim("k").await;
    let settlement = kit.protection.settlement(StatusCode::ACCEPTED, &HeaderMap::new(), Some(Bytes::new()));
    let operation = claim.settle(settlement, Source::Response).await.unwrap();
    assert_eq!((operation.state, operation.last_evidence), (State::Unknown, Some(Evidence::Ongoing)));
    let answer = kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await;
    assert!(matches!(answer.kind, AnswerKind::Replay(stored) if stored.status == StatusCode::ACCEPTED));
}

async fn settle_after(kit: &Kit, mut claim: Claim, wait: Duration, status: StatusCode) {
    tokio::time::sleep(wait).await;
    let settlement = kit.protection.settlement(status, &HeaderMap::new(), Some(Bytes::new()));
    claim.settle(settlement, Source::Response).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_as_long_as_it_may() {
    let second = Duration::from_secs(1);
    let waiting = Idempotency { on_concurrent: OnConcurrent::Wait(2 * second), ..Idempotency::default() };
    for (params, prefer, settled_after, replayed) in [
        (Idempotency::default(), None, second, false),
        (waiting.clone(), None, second, true),
        (waiting.clone(), None, 3 * second, false),
        (waiting, Some(4 * second), 3 * second, true),
        (Idempotency::default(), Some(4 * second), 3 * second, true),
        (Idempotency::default(), Some(4 * second), 5 * second, false),
        (Idempotency::default(), Some(Duration::MAX), 31 * second, false),
    ] {
        let kit = Kit::new(params);
        let claim = kit.claim("k").await;
        let repeat = kit.repeat("k").await;
        let (answer, ()) = tokio::join!(
            kit.protection.resolve_repeat(repeat, prefer, None),
            settle_after(&kit, claim, settled_after, StatusCode::OK),
        );
        assert_eq!(matches!(answer.kind, AnswerKind::Replay(_)), replayed, "{prefer:?} {settled_after:?}");
        assert_eq!(answer.preference_applied, prefer.map(|wait| wait.min(MAX_PREFER_WAIT)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_repeat_executes_if_the_first_was_not_executed() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let repeat = kit.repeat("k").await;
    let (answer, ()) = tokio::join!(
        kit.protection.resolve_repeat(repeat, Some(Duration::from_secs(5)), None),
        settle_after(&kit, claim, Duration::from_secs(1), StatusCode::TOO_MANY_REQUESTS),
    );
    assert_eq!(answer.kind, AnswerKind::Freed);
    kit.claim("k").await;
}

/// The key `k`, with an outcome that is unknown.
async fn unknown(kit: &Kit) -> Repeat {
    let mut claim = kit.claim("k").await;
    claim.dispatched().await.unwrap();
    claim
        .settle(Settlement::Ambiguous { reason: "reset", status: None, stored: None }, Source::Response)
        .await
        .unwrap();
    drop(claim);
    kit.repeat("k").await
}

#[tokio::test]
async fn a_write_that_is_pending_for_too_long_is_unknown_to_its_repeats() {
    let kit = Kit::new(Idempotency::default());
    let claim = kit.claim("k").await;
    let answer = async || kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await.operation;
    kit.clock.advance(Duration::from_secs(15 + 30 + 60) - Duration::from_millis(1));
    assert_eq!(answer().await.state, State::Pending);
    kit.clock.advance(Duration::from_millis(1));
    assert_eq!((answer().await.state, answer().await.attention), (State::Unknown, None));
    kit.clock.advance(Duration::from_secs(30));
    assert!(answer().await.attention.is_some(), "no late answer can come, and there is nobody to ask");
    drop(claim);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_an_unknown_write_asks_the_upstream_once() {
    for (fenced, status, body, expected) in [
        (false, 200, r#"{"state":"SUCCESS"}"#, State::Succeeded),
        (false, 200, r#"{"state":"FAILED"}"#, State::Failed),
        (false, 200, r#"{"state":"PROCESSING"}"#, State::Unknown),
        (false, 404, "", State::Unknown),
        (true, 404, "", State::NotExecuted),
        (false, 500, r#"{"state":"FAILED"}"#, State::Unknown),
        (false, 401, "", State::Unknown),
        (false, 200, "garbage", State::Unknown),
    ] {
        let kit = Kit::new(asking(fenced));
        let repeat = unknown(&kit).await;
        let endpoint = Endpoint::json(status, body);
        let answer = kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
        assert_eq!(answer.operation.state, expected, "{status} {body}");
        assert_eq!((endpoint.asked(), answer.operation.checks), (1, 1));
        match expected {
            State::NotExecuted => assert_eq!(answer.kind, AnswerKind::Freed),
            State::Unknown => assert!(matches!(answer.kind, AnswerKind::Refused(refusal) if refusal.status == 409)),
            _ => {
                assert_eq!(answer.kind, AnswerKind::SeeOther);
                assert_eq!(answer.operation.source, Some(Source::StatusQuery));
            }
        }
        assert_eq!(*endpoint.targets.lock(), ["GET /by-ref/k"]);
    }
}

#[tokio::test(start_paused = true)]
async fn not_found_frees_the_key_once_the_write_cannot_arrive_any_more() {
    let kit = Kit::new(asking(false));
    let repeat = unknown(&kit).await;
    kit.clock.advance(Duration::from_mins(1));
    let endpoint = Endpoint::json(404, "");
    let answer = kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
    assert_eq!(answer.kind, AnswerKind::Freed);
    kit.claim("k").await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_repeats_share_one_query() {
    let kit = Kit::new(asking(false));
    let repeat = unknown(&kit).await;
    let endpoint = Endpoint { after: Duration::from_secs(1), ..Endpoint::json(200, r#"{"state":"SUCCESS"}"#) };
    let repeats = (0..20).map(|_| kit.protection.resolve_repeat(repeat.clone(), None, Some(&endpoint)));
    let answers = futures_util::future::join_all(repeats).await;
    assert_eq!(endpoint.asked(), 1);
    assert!(answers.iter().all(|answer| answer.operation.state == State::Succeeded));
}

#[tokio::test]
async fn without_a_status_endpoint_nothing_is_asked() {
    let kit = Kit::new(Idempotency::default());
    let repeat = unknown(&kit).await;
    let endpoint = Endpoint::json(200, r#"{"state":"SUCCESS"}"#);
    kit.protection.resolve_repeat(repeat, None, Some(&endpoint)).await;
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn a_key_that_would_climb_the_status_path_is_never_asked_about() {
    let kit = Kit::new(asking(false));
    let Begin::Execute(claim) = kit.begin("..", "").await else { panic!("executes") };
    assert_eq!(claim.operation().status_target, None);
}
