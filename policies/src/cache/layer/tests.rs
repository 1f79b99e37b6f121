//! The cache as a layer around a service that counts its calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use crate::{body::BoxError, cache::*, caller::Caller, clock::WallClock};

type Answer = Result<(u16, &'static str, Vec<(&'static str, &'static str)>), ()>;

/// A service behind a cache; `answers` gets the number of the call, from 1, and whether it was conditional.
struct Kit<F> {
    layer: CacheLayer,
    calls: Arc<AtomicUsize>,
    answers: F,
}

impl<F: Fn(usize, &HeaderMap) -> Answer + Clone + Send + 'static> Kit<F> {
    fn new(answers: F) -> Self {
        let layer = CacheLayer::new(Cache::default(), WallClock::manual(1_700_000_000_000));
        Self { layer, calls: Arc::default(), answers }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(u16, String, HeaderMap), BoxError> {
        let (calls, answers) = (Arc::clone(&self.calls), self.answers.clone());
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let answer = answers(calls.fetch_add(1, Ordering::SeqCst) + 1, request.headers());
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let (status, body, headers) = answer.map_err(|()| BoxError::from("no answer"))?;
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                Ok::<_, BoxError>(response.body(Full::new(Bytes::from(body))).unwrap())
            }
        });
        let response = self.layer.layer(inner).oneshot(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((head.status.as_u16(), String::from_utf8_lossy(&body).into_owned(), head.headers))
    }

    async fn get(&self, target: &str) -> (u16, String, HeaderMap) {
        self.send(Request::get(target).body(Full::default()).unwrap()).await.unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_while_it_is_fresh_and_carries_its_age() {
    let kit = Kit::new(|_, _| Ok((200, "kept", vec![MINUTE])));
    assert_eq!(kit.get("/a").await.1, "kept");
    advance(Duration::from_secs(30)).await;
    let (status, body, headers) = kit.get("/a").await;
    assert_eq!((status, &*body, &headers["age"], kit.calls()), (200, "kept", &"30".parse().unwrap(), 1));
    advance(Duration::from_secs(31)).await;
    kit.get("/a").await;
    kit.get("/b").await;
    assert_eq!(kit.calls(), 3, "another time, another target");
}

#[tokio::test(start_paused = true)]
async fn concurrent_misses_make_one_call_unless_the_answer_may_not_be_kept() {
    for (control, calls) in [("max-age=60", 1), ("no-store", 20)] {
        let kit = Kit::new(move |_, _| Ok((200, "x", vec![("cache-control", control)])));
        join_all((0..20).map(|_| kit.get("/"))).await;
        assert_eq!(kit.calls(), calls, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_validated_and_a_304_makes_it_fresh() {
    let kit = Kit::new(|_, headers| {
        let known = headers.get("if-none-match").is_some_and(|tag| tag == "\"v\"");
        if known {
            Ok((304, "", vec![MINUTE, ("etag", "\"v\"")]))
        } else {
            Ok((200, "v", vec![MINUTE, ("etag", "\"v\"")]))
        }
    });
    kit.get("/").await;
    advance(Duration::from_secs(61)).await;
    for _ in 0..3 {
        let (status, body, _) = kit.get("/").await;
        assert_eq!((status, &*body), (200, "v"));
    }
    assert_eq!(kit.calls(), 2);
    let conditional = Request::get("/").header("if-none-match", "\"v\"").body(Full::default()).unwrap();
    let (status, body, _) = kit.send(conditional).await.unwrap();
    assert_eq!((status, &*body, kit.calls()), (304, "", 2), "the client has it already");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_stands_in_for_a_failure_only_where_it_may() {
    for (control, stands_in) in [("max-age=1, stale-if-error=60", true), ("max-age=1", false)] {
        for failure in [Ok((503, "down", vec![])), Err(())] {
            let second = failure.clone();
            let kit =
                Kit::new(
                    move |n, _| {
                        if n == 1 { Ok((200, "old", vec![("cache-control", control)])) } else { second.clone() }
                    },
                );
            kit.get("/").await;
            advance(Duration::from_secs(10)).await;
            let answer = kit.send(Request::get("/").body(Full::default()).unwrap()).await;
            let old = answer.is_ok_and(|(status, body, _)| (status, &*body) == (200, "old"));
            assert_eq!(old, stands_in, "{control}, {failure:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_happened_or_may_have_forgets_its_path() {
    for (write, forgets) in
        [(Ok((200, "", vec![])), true), (Ok((500, "", vec![])), true), (Err(()), true), (Ok((409, "", vec![])), false)]
    {
        let answer = write.clone();
        let kit = Kit::new(move |n, _| if n == 2 { answer.clone() } else { Ok((200, "x", vec![MINUTE])) });
        kit.get("/a").await;
        drop(kit.send(Request::post("/a").body(Full::from("new")).unwrap()).await);
        kit.get("/a").await;
        assert_eq!(kit.calls(), 2 + usize::from(forgets), "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_left_forgets_its_path() {
    let kit = Kit::new(|_, _| Ok((200, "x", vec![MINUTE])));
    kit.get("/a").await;
    let write = kit.send(Request::post("/a").body(Full::from("new")).unwrap());
    // The service answers after 10 ms.
    assert!(tokio::time::timeout(Duration::from_millis(5), write).await.is_err());
    kit.get("/a").await;
    assert_eq!(kit.calls(), 3, "the first read, the write, and a read that was not answered from before it");
}

#[tokio::test(start_paused = true)]
async fn one_callers_answer_is_none_to_another() {
    let kit = Kit::new(|_, _| Ok((200, "mine", vec![MINUTE])));
    for (caller, calls) in [("ann", 1), ("bob", 2), ("ann", 2)] {
        let mut request = Request::get("/").body(Full::default()).unwrap();
        request.extensions_mut().insert(Caller(Arc::from(caller.as_bytes())));
        kit.send(request).await.unwrap();
        assert_eq!(kit.calls(), calls, "{caller}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks() {
    let kit = Kit::new(|_, _| Ok((200, "x", vec![MINUTE])));
    let only = || Request::get("/").header("cache-control", "only-if-cached").body(Full::default()).unwrap();
    assert_eq!((kit.send(only()).await.unwrap().0, kit.calls()), (504, 0));
    kit.get("/").await;
    assert_eq!((kit.send(only()).await.unwrap().0, kit.calls()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_or_of_unknown_length_passes_and_is_not_kept() {
    let layer = CacheLayer::new(Cache { max_body: 10, ..Cache::default() }, WallClock::manual(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let get = |body: fn() -> UnsyncBoxBody<Bytes, BoxError>| {
        let calls = Arc::clone(&calls);
        let inner = service_fn(move |_: Request<Full<Bytes>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, BoxError>(Response::builder().header(MINUTE.0, MINUTE.1).body(body()).unwrap()) }
        });
        let service = layer.layer(inner);
        async move { service.oneshot(Request::get("/").body(Full::default()).unwrap()).await?.into_body().collect().await }
    };
    let long = || Full::new(Bytes::from_static(b"eleven byte")).map_err(Into::into).boxed_unsync();
    let unknown = || {
        let frames = [Ok(Frame::data(Bytes::from_static(b"short")))];
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    };
    assert_eq!(get(long).await.unwrap().to_bytes(), "eleven byte");
    assert_eq!(get(unknown).await.unwrap().to_bytes(), "short");
    get(long).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3, "nothing of it was kept");
}
