use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::*;
use crate::{
    evidence::Evidence,
    idempotency::{
        AnswerKind, Begin, Incoming, Outcomes, Settlement,
        test_kit::{Kit, from_content, post},
    },
    operation::{Source, memory::MemoryLedger},
    problem::Problem,
};

async fn begin_content(kit: &Kit, body: &'static str) -> (Key, Begin) {
    let parts = post("/p");
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
    let outcome = Outcomes { ongoing: vec![StatusCode::ACCEPTED.into()], ..Outcomes::default() };
    let kit = Kit::new(Idempotency { outcome, ..Idempotency::default() });
    let mut claim = kit.claim("k").await;
    let settlement = kit.protection.settlement(StatusCode::ACCEPTED, &HeaderMap::new(), Some(Bytes::new()));
    let operation = claim.settle(settlement, Source::Response).await.unwrap();
    assert_eq!((operation.state, operation.last_evidence), (State::Unknown, Some(Evidence::Ongoing)));
    let answer = kit.protection.resolve_repeat(kit.repeat("k").await, None, None).await;
    assert!(matches!(answer.kind, AnswerKind::Replay(stored) if stored.status == StatusCode::ACCEPTED));
}

/// A write as it was recorded before the host counted.
async fn begun_before_the_host_counted(kit: &Kit, key: &Key, body: &Bytes) -> OperationId {
    let parts = post("/p");
    let fingerprint = kit.protection.fingerprinter().expect("it is reached").of_version(
        FingerprintVersion::WithoutHost,
        &parts,
        body,
    );
    let key = key.by_content(fingerprint).unwrap_or_else(|| key.clone());
    let draft = kit.protection.draft(&key, None, fingerprint, &[], kit.clock.now());
    let draft = Operation { fingerprint_version: FingerprintVersion::WithoutHost, ..draft };
    match kit.ledger.begin(draft, kit.clock.now()).await {
        Ok(Begun::New(operation)) => operation.id,
        other => panic!("{other:?}"),
    }
}

fn to_host(host: &str) -> Parts {
    http::Request::post("/p").header("host", host).body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn a_repeat_is_compared_by_what_counted_when_its_write_was_recorded() {
    let kit = Kit::new(Idempotency::default());
    let (key, body) = (Key::from_text("k").unwrap(), Bytes::from_static(b"x"));
    let id = begun_before_the_host_counted(&kit, &key, &body).await;
    let repeat = kit.protection.begin(&key, None, &to_host("shop.example"), &body, &[]).await;
    assert!(matches!(&repeat, Begin::Known(repeat) if repeat.operation.id == id), "{repeat:?}");
    let other = kit.protection.begin(&key, None, &to_host("shop.example"), &Bytes::new(), &[]).await;
    assert!(matches!(&other, Begin::Refused(refusal) if refusal.problem == Problem::KeyReused), "{other:?}");
}

#[tokio::test]
async fn a_content_that_was_recorded_before_more_of_it_counted_is_no_new_write() {
    let kit = Kit::new(from_content(Duration::from_secs(10)));
    let (parts, body) = (to_host("shop.example"), Bytes::from_static(b"x"));
    let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
    let key = kit.protection.key(&incoming, &body).await.unwrap().expect("every content is a key");
    let id = begun_before_the_host_counted(&kit, &key, &body).await;
    let repeat = kit.protection.begin(&key, None, &parts, &body, &[]).await;
    assert!(matches!(&repeat, Begin::Known(repeat) if repeat.operation.id == id), "{repeat:?}");
}
