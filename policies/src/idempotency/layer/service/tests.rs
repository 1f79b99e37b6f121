use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http::StatusCode;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::Notify;
use tower::{Layer, ServiceExt};

use super::*;
use crate::{
    evidence::Cause,
    idempotency::{Idempotency, IdempotencyLayer, KeySource, Mint, test_kit::Kit},
    operation::{Operation, ledger::Ledger},
};

/// What the inner service does.
#[derive(Clone, Copy)]
enum Act {
    Answer(u16, &'static str),
    Fail(Sent),
    BreakOff,
    Trailers,
    Panic,
}

/// An inner service that counts its effects.
#[derive(Clone)]
struct Inner {
    act: Act,
    effects: Arc<AtomicU32>,
    gate: Option<Arc<Notify>>,
}

type InnerBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

impl Service<Request<Either<Full<Bytes>, Full<Bytes>>>> for Inner {
    type Response = Response<InnerBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<InnerBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Either<Full<Bytes>, Full<Bytes>>>) -> Self::Future {
        let inner = self.clone();
        Box::pin(async move {
            inner.effects.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &inner.gate {
                gate.notified().await;
            }
            let frames: Vec<Result<Frame<Bytes>, BoxError>> = match inner.act {
                Act::Fail(sent) => return Err(AttemptError::new(Cause::Reset, sent).into()),
                Act::Answer(_, body) => body.split_inclusive(' ').map(|part| Ok(Frame::data(part.into()))).collect(),
                Act::BreakOff => vec![Ok(Frame::data("half".into())), Err("broken".into())],
                Act::Panic => panic!("on purpose"),
                Act::Trailers => vec![Ok(Frame::data("all".into())), Ok(Frame::trailers(http::HeaderMap::new()))],
            };
            let status = if let Act::Answer(status, _) = inner.act { status } else { 200 };
            let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
            Ok(Response::builder().status(status).body(body).unwrap())
        })
    }
}

struct Story {
    kit: Kit,
    service: IdempotencyService<Inner>,
    effects: Arc<AtomicU32>,
}

fn story(act: Act, params: Idempotency, gate: Option<Arc<Notify>>) -> Story {
    let kit = Kit::new(params);
    let effects = Arc::new(AtomicU32::new(0));
    let inner = Inner { act, effects: Arc::clone(&effects), gate };
    let service = IdempotencyLayer::new(Arc::clone(&kit.protection)).layer(inner);
    Story { kit, service, effects }
}

fn plain(act: Act) -> Story {
    story(act, Idempotency::default(), None)
}

fn post(key: Option<&str>, body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::post("/p");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

impl Story {
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(response::Parts, String), BoxError> {
        let (parts, body) = self.service.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((parts, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn post(&self, key: &str) -> (response::Parts, String) {
        self.send(post(Some(key), "")).await.unwrap()
    }

    async fn operation(&self, parts: &response::Parts) -> Operation {
        self.kit.read(*parts.extensions.get::<crate::operation::OperationId>().unwrap()).await
    }
}

use http::response;

fn error(parts: &response::Parts) -> (u16, Option<&str>) {
    (parts.status.as_u16(), parts.headers.get("mainstay-error").map(|slug| slug.to_str().unwrap()))
}

#[tokio::test]
async fn a_keyed_write_runs_once_and_is_replayed() {
    let story = plain(Act::Answer(201, "first answer"));
    let (first, body) = story.post("k").await;
    assert_eq!((first.status.as_u16(), body.as_str()), (201, "first answer"));
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let (second, body) = story.post("k").await;
    assert_eq!((second.status.as_u16(), body.as_str()), (201, "first answer"));
    assert_eq!(second.headers["idempotent-replayed"], "true");
    assert_eq!(second.headers["operation-location"], first.headers["operation-location"]);
    assert_eq!(story.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_without_a_key_passes() {
    let story = plain(Act::Answer(200, ""));
    for _ in 0..2 {
        let (parts, _) = story.send(post(None, "")).await.unwrap();
        assert!(!parts.headers.contains_key("operation-location"));
    }
    assert_eq!(story.effects.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_failure_that_proves_nothing_is_an_unknown_outcome() {
    for act in [Act::Fail(Sent::Maybe), Act::BreakOff, Act::Panic] {
        let story = plain(act);
        let (first, body) = story.post("k").await;
        assert_eq!(error(&first), (502, Some("outcome-unknown")));
        assert!(body.contains("\"safe_to_use_new_key\":false"), "{body}");
        assert_eq!(story.operation(&first).await.state, State::Unknown);
        assert_eq!(error(&story.post("k").await.0), (409, Some("outcome-unknown")));
        assert_eq!(story.effects.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_failure_before_sending_frees_the_key() {
    let story = plain(Act::Fail(Sent::No));
    for _ in 0..2 {
        let error = story.send(post(Some("k"), "")).await.unwrap_err();
        assert_eq!(error.downcast_ref::<AttemptError>().unwrap().sent, Sent::No);
    }
    assert_eq!(story.effects.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_upstreams_own_5xx_is_passed_on_and_replayed() {
    let story = plain(Act::Answer(503, "busy"));
    for _ in 0..2 {
        let (parts, body) = story.post("k").await;
        assert_eq!((error(&parts), body.as_str()), ((503, None), "busy"));
    }
    assert_eq!(story.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_answer_and_one_with_trailers_reach_the_first_caller_whole() {
    let params = Idempotency { max_response: 4, ..Idempotency::default() };
    for (act, expected) in [(Act::Answer(200, "much too large"), "much too large"), (Act::Trailers, "all")] {
        let story = story(act, params.clone(), None);
        assert_eq!(story.post("k").await.1, expected);
        assert_eq!(error(&story.post("k").await.0), (409, Some("response-not-retained")));
        assert_eq!(story.effects.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cancel_the_write() {
    let gate = Arc::new(Notify::new());
    let story = story(Act::Answer(200, "done"), Idempotency::default(), Some(Arc::clone(&gate)));
    let call = story.service.clone().oneshot(post(Some("k"), ""));
    assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err(), "the caller leaves");
    gate.notify_one();
    let waiting = Request::post("/p").header("idempotency-key", "k").header("prefer", "wait=5");
    let (parts, body) = story.send(waiting.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!((parts.status.as_u16(), body.as_str()), (200, "done"));
    assert_eq!(parts.headers["preference-applied"], "wait=5");
    assert_eq!(story.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_come_before_any_record() {
    let story =
        story(Act::Answer(200, ""), Idempotency { max_body: 4, required: true, ..Idempotency::default() }, None);
    let refused = async |request| {
        let (parts, _) = story.send(request).await.unwrap();
        (parts.status.as_u16(), parts.headers["mainstay-error"].to_str().unwrap().to_owned())
    };
    assert_eq!(refused(post(None, "")).await, (400, "key-missing".into()));
    assert_eq!(refused(post(Some("a, b"), "")).await, (400, "key-invalid".into()));
    assert_eq!(refused(post(Some("k"), "12345")).await, (413, "body-too-large".into()));
    assert_eq!(story.kit.ledger.owned(), [0; 2]);
    story.send(post(Some("k"), "1")).await.unwrap();
    assert_eq!(refused(post(Some("k"), "2")).await, (422, "key-reused".into()));
    assert_eq!(story.effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_minted_key_is_named_in_the_answer() {
    let key = KeySource { mint: Mint::UuidV7, ..KeySource::default() };
    let story = story(Act::Answer(200, "done"), Idempotency { key, ..Idempotency::default() }, None);
    let (first, _) = story.send(post(None, "")).await.unwrap();
    let minted = first.headers["idempotency-key"].to_str().unwrap().to_owned();
    let (again, _) = story.post(&minted).await;
    assert_eq!(
        (again.status, &again.headers["idempotent-replayed"]),
        (StatusCode::OK, &HeaderValue::from_static("true"))
    );
}

#[tokio::test]
async fn callers_do_not_share_keys() {
    let story = plain(Act::Answer(200, ""));
    for who in ["alice", "bob", "alice"] {
        let mut request = post(Some("k"), "");
        request.extensions_mut().insert(Principal(who.into()));
        story.send(request).await.unwrap();
    }
    assert_eq!(story.effects.load(Ordering::SeqCst), 2);
}
