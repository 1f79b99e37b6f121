//! The cache, as clients and the service see it (RFC 9111, 9211).

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use futures_util::future::join_all;
use mainstay_tests::prelude::*;

/// Answers with a number that grows, and these headers.
async fn counting(headers: &'static [(&'static str, &'static str)]) -> Upstream {
    Upstream::start(move |seen| {
        let answer =
            headers.iter().fold(Answer::ok(format!("{}", seen.index)), |it, (name, value)| it.header(name, value));
        answer.steps()
    })
    .await
}

const FRESH: &[(&str, &str)] = &[("Cache-Control", "max-age=60"), ("ETag", "\"v1\"")];

async fn cached(upstream: &Upstream) -> Proxy {
    Proxy::single(upstream.addr, "timeout: 5s, cache: {}").await
}

fn status(reply: &Reply) -> &str {
    reply.header("cache-status").unwrap_or_default()
}

#[tokio::test]
async fn a_fresh_answer_is_given_again_with_its_age() {
    let upstream = counting(FRESH).await;
    let proxy = cached(&upstream).await;
    let first = proxy.get("/a?b").await;
    assert_eq!((first.text(), status(&first)), ("0".into(), "mainstay; fwd=uri-miss; stored"));
    let second = proxy.get("/a?b").await;
    assert_eq!((second.text(), second.header("age"), second.status), ("0".into(), Some("0"), 200));
    assert!(status(&second).starts_with("mainstay; hit; ttl="), "{second:#?}");
    assert_eq!(second.header("etag"), Some("\"v1\""));
    let head = proxy.send(Request::new("HEAD", "/a?b")).await;
    assert_eq!((head.status, head.header("content-length"), head.text()), (200, Some("1"), String::new()));
    assert_eq!(proxy.get("/a?c").await.text(), "1", "another query is another answer");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn what_must_not_be_kept_is_not() {
    for (request, headers) in [
        (Request::get("/"), &[("Cache-Control", "no-store")][..]),
        (Request::get("/"), &[("Cache-Control", "private, max-age=60")]),
        (Request::get("/"), &[("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")]),
        (Request::get("/").header("Authorization", "Bearer x"), FRESH),
        (Request::get("/").header("Cache-Control", "no-store"), FRESH),
        (Request::get("/").header("Range", "bytes=0-0"), FRESH),
        (Request::get("/"), &[]),
    ] {
        let upstream = counting(headers).await;
        let proxy = cached(&upstream).await;
        for n in 0..3 {
            assert_eq!(proxy.send(request.clone()).await.text(), n.to_string(), "{request:?} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_has_it_gets_304() {
    let upstream = counting(FRESH).await;
    let proxy = cached(&upstream).await;
    proxy.get("/").await;
    let reply = proxy.send(Request::get("/").header("If-None-Match", "\"v1\"")).await;
    assert_eq!((reply.status, reply.text(), reply.header("etag")), (304, String::new(), Some("\"v1\"")));
    let reply = proxy.send(Request::get("/").header("If-None-Match", "\"v0\"")).await;
    assert_eq!((reply.status, reply.text(), upstream.count()), (200, "0".into(), 1));
}

#[tokio::test]
async fn a_stale_answer_is_validated_and_lives_on() {
    let upstream = Upstream::start(|seen| match seen.header("if-none-match") {
        Some("\"v1\"") => Answer::status(304).header("Cache-Control", "max-age=60").header("X-New", "1").steps(),
        _ => Answer::ok("body").header("Cache-Control", "max-age=0").header("ETag", "\"v1\"").steps(),
    })
    .await;
    let proxy = cached(&upstream).await;
    proxy.get("/").await;
    let validated = proxy.get("/").await;
    assert_eq!((validated.status, validated.text(), validated.header("x-new")), (200, "body".into(), Some("1")));
    assert_eq!(status(&validated), "mainstay; fwd=stale; fwd-status=304");
    assert_eq!((proxy.get("/").await.text(), upstream.count()), ("body".into(), 2), "fresh again");
}

#[tokio::test]
async fn reads_that_cannot_be_stored_do_not_queue_behind_each_other() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| {
        let answer = Answer::ok("mine").header("Cache-Control", "no-store");
        if seen.index == 0 { answer.steps() } else { answer.behind(&held) }
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 9s, cache: {}").await;
    proxy.get("/account").await.expect_upstream(200);
    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut reader = proxy.connect().await;
        reader.write(&Request::get("/account").bytes()).await;
        readers.push(reader);
    }
    // All of them are asked for before any is answered.
    upstream.wait_requests(6).await;
    gate.open();
    for reader in &mut readers {
        reader.reply().await.expect_upstream(200);
    }
}

#[tokio::test]
async fn concurrent_misses_make_one_call() {
    let upstream = Upstream::start(|seen| {
        Answer::ok(format!("{}", seen.index)).header("Cache-Control", "max-age=60").after(Duration::from_millis(200))
    })
    .await;
    let proxy = cached(&upstream).await;
    for reply in join_all((0..20).map(|_| proxy.get("/"))).await {
        assert_eq!(reply.expect_upstream(200).text(), "0");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn what_may_not_be_stored_is_not_waited_for_one_by_one() {
    let upstream =
        Upstream::start(|_| Answer::ok("x").header("Cache-Control", "no-store").after(Duration::from_millis(150)))
            .await;
    let proxy = cached(&upstream).await;
    let began = tokio::time::Instant::now();
    join_all((0..20).map(|_| proxy.get("/"))).await;
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(upstream.count(), 20);
}

#[tokio::test]
async fn a_truncated_answer_is_never_stored() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::ok("0123456789").header("Cache-Control", "max-age=60");
        if seen.index == 0 {
            let mut steps = answer.cut(answer.bytes().len() - 3);
            steps.push(Step::Close);
            steps
        } else {
            answer.steps()
        }
    })
    .await;
    let proxy = cached(&upstream).await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    client.try_reply().await.ok();
    assert_eq!(proxy.get("/").await.text(), "0123456789");
    assert_eq!(proxy.get("/").await.text(), "0123456789");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test]
async fn answers_vary_by_what_they_say() {
    let upstream = Upstream::start(|seen| {
        let language = seen.header("accept-language").unwrap_or("none").to_owned();
        Answer::ok(language).header("Cache-Control", "max-age=60").header("Vary", "Accept-Language").steps()
    })
    .await;
    let proxy = cached(&upstream).await;
    for _ in 0..2 {
        for language in ["de", "en"] {
            let reply = proxy.send(Request::get("/").header("Accept-Language", language)).await;
            assert_eq!(reply.text(), language);
        }
    }
    assert_eq!(upstream.count(), 2);
}

/// Answers with the status that the test chooses.
async fn steered(cache_control: &'static str) -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let chosen = status.clone();
    let upstream = Upstream::start(move |seen| match chosen.load(Ordering::SeqCst) {
        0 => vec![Step::Body, Step::Reset],
        status => Answer::status(status).header("Cache-Control", cache_control).body(format!("{}", seen.index)).steps(),
    })
    .await;
    (upstream, status)
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_failure_where_it_may() {
    for (control, policy, failure, stands_in) in [
        ("max-age=1, stale-if-error=60", "cache: {}", 503, true),
        ("max-age=1, stale-if-error=60", "cache: {}", 0, true),
        ("max-age=1", "cache: { stale_if_error: 1m }", 503, true),
        ("max-age=1", "cache: {}", 503, false),
        ("max-age=1, must-revalidate", "cache: { stale_if_error: 1m }", 503, false),
        ("max-age=1", "cache: {}, fallback: { stale: 1m }", 503, true),
    ] {
        let (upstream, status) = steered(control).await;
        let proxy = Proxy::single(upstream.addr, &format!("timeout: 5s, {policy}")).await;
        proxy.get("/").await.expect_upstream(200);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        status.store(failure, Ordering::SeqCst);
        let reply = proxy.get("/").await;
        assert_eq!(reply.status == 200 && reply.text() == "0", stands_in, "{control} {policy} {failure}: {reply:#?}");
        let marked = reply.header("mainstay-fallback");
        assert_eq!(marked.is_some(), stands_in && policy.contains("fallback"), "{reply:#?}");
    }
}

#[tokio::test]
async fn a_stale_answer_is_given_while_it_is_refreshed() {
    let upstream = counting(&[("Cache-Control", "max-age=1, stale-while-revalidate=60")]).await;
    let proxy = cached(&upstream).await;
    proxy.get("/").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(proxy.get("/").await.text(), "0");
    upstream.wait_requests(2).await;
    eventually("the refreshed answer", || async { (proxy.get("/").await.text() == "1").then_some(()) }).await;
}

#[tokio::test]
async fn a_refused_write_gets_no_stored_answer_to_a_read() {
    let upstream = counting(FRESH).await;
    let policy = "cache: {}, fallback: { on: [rate-limited], stale: 1h }, rate_limit: { requests: 1, unit: 10m }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/").await.expect_upstream(200);
    let refused = proxy.send(Request::post("/", "1")).await;
    assert_eq!((refused.status, refused.header("mainstay-error")), (429, Some("rate-limited")), "{refused:#?}");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn an_answer_to_a_condition_is_no_answer_to_others() {
    let upstream = Upstream::start(|seen| {
        let met = seen.header("if-match").is_none();
        Answer::status(if met { 200 } else { 412 }).header("Cache-Control", "max-age=60").steps()
    })
    .await;
    let proxy = cached(&upstream).await;
    assert_eq!(proxy.send(Request::get("/").header("If-Match", "\"no\"")).await.status, 412);
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_refused_request_gets_the_last_good_answer() {
    let upstream = counting(FRESH).await;
    let policy = "cache: {}, fallback: { on: [rate-limited], stale: 1h }, rate_limit: { requests: 1, unit: 10m }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/").await.expect_upstream(200);
    let reply = proxy.get("/").await;
    assert_eq!(
        (reply.status, reply.text(), reply.header("mainstay-fallback")),
        (200, "0".into(), Some("rate-limited"))
    );
    proxy.get("/other").await.expect_problem(429, "rate-limited");
}

#[tokio::test]
async fn a_write_forgets_its_path_and_what_its_policy_names() {
    let upstream = Upstream::start(|seen| {
        if seen.method == "GET" {
            Answer::ok(format!("{}", seen.index)).header("Cache-Control", "max-age=600").steps()
        } else if seen.target.contains("lost") {
            vec![Step::Body, Step::Reset]
        } else if seen.target.contains("bad") {
            Answer::status(422).steps()
        } else {
            Answer::status(201).steps()
        }
    })
    .await;
    let config = Config::new()
        .upstream("app", upstream.addr, "")
        .policy("read", "cache: {}")
        .policy("write", "idempotency: { required: false }, cache: { invalidate: [\"/posts/{id}\", /lists/**] }")
        .route("path: /**, methods: [GET]", "app", "read")
        .route("path: \"/posts/{id}/likes\"", "app", "write")
        .route("path: /**", "app", "write");
    let proxy = Proxy::start(config).await;
    let paths = ["/posts/1", "/posts/2", "/posts/1/likes?x", "/lists/top", "/other"];
    let fill = || async {
        let mut texts = Vec::new();
        for path in paths {
            texts.push(proxy.get(path).await.expect_upstream(200).text());
        }
        texts
    };
    let changed = |before: &[String], after: &[String]| -> Vec<&str> {
        let pairs = paths.into_iter().zip(before.iter().zip(after));
        pairs.filter(|(_, (before, after))| before != after).map(|(path, _)| path).collect()
    };
    let first = fill().await;
    assert_eq!(fill().await, first);
    proxy.send(Request::keyed("/posts/1/likes", "k1", "x")).await.expect_upstream(201);
    let second = fill().await;
    assert_eq!(changed(&first, &second), ["/posts/1", "/posts/1/likes?x", "/lists/top"]);
    proxy.send(Request::keyed("/other?lost", "k2", "x")).await.expect_problem(502, "outcome-unknown");
    let third = fill().await;
    assert_eq!(changed(&second, &third), ["/posts/1", "/posts/2", "/lists/top", "/other"], "it may have happened");
    proxy.send(Request::keyed("/other?bad", "k3", "x")).await.expect_upstream(422);
    assert_eq!(fill().await, third, "a refused write changed nothing");
    proxy.send(Request::new("DELETE", "/other").body("")).await.expect_upstream(201);
    assert!(changed(&third, &fill().await).contains(&"/other"), "a write without a key as well");
}

#[tokio::test]
async fn only_if_cached_asks_nobody() {
    let upstream = counting(FRESH).await;
    let proxy = cached(&upstream).await;
    let only = || Request::get("/").header("Cache-Control", "only-if-cached");
    assert_eq!(proxy.send(only()).await.status, 504);
    proxy.get("/").await;
    assert_eq!((proxy.send(only()).await.text(), upstream.count()), ("0".into(), 1));
}

#[tokio::test]
async fn what_is_too_large_passes_and_is_not_kept() {
    let upstream =
        Upstream::start(|_| Answer::ok(vec![b'x'; 50_000]).header("Cache-Control", "max-age=60").chunked().steps())
            .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s, cache: { max_body: 40KiB }").await;
    for n in 1..=2 {
        assert_eq!(proxy.get("/").await.text().len(), 50_000);
        assert_eq!(upstream.count(), n);
    }
}

#[tokio::test]
async fn nobody_gets_an_answer_that_somebody_else_shaped() {
    let upstream = Upstream::start(|seen| {
        let said = ["x-forwarded-host", "x-forwarded-proto", "forwarded", "x-original-url", "x-forwarded-prefix"]
            .map(|name| seen.header(name).unwrap_or_default().to_owned());
        Answer::ok(said.join("|")).header("Cache-Control", "max-age=60").steps()
    })
    .await;
    // Whoever is trusted to say so shapes answers; others are not heard.
    let config = Config::single(upstream.addr, "timeout: 5s, cache: {}").listener("client: { trusted: [local] }");
    let proxy = Proxy::start(config).await;
    for (name, value) in [
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "evil"),
        ("Forwarded", "host=evil"),
        ("X-Original-URL", "/evil"),
        ("X-Forwarded-Prefix", "/evil"),
    ] {
        let evil = Request::get("/").header(name, value);
        for _ in 0..2 {
            assert!(proxy.send(evil.clone()).await.text().contains("evil"), "{name}");
        }
        assert!(!proxy.get("/").await.text().contains("evil"), "{name}");
    }
    assert_eq!(upstream.count(), 6, "each is cached by itself");
    let deletes = Request::get("/").header("X-HTTP-Method-Override", "DELETE");
    assert_eq!(status(&proxy.send(deletes).await), "mainstay; fwd=bypass");
}

#[tokio::test]
async fn what_varies_by_something_unreadable_is_not_kept() {
    for vary in ["Accept Language", "Accept, (x)", "*", "Accept, *"] {
        let upstream = Upstream::start(move |seen| {
            Answer::ok(format!("{}", seen.index)).header("Cache-Control", "max-age=60").header("Vary", vary).steps()
        })
        .await;
        let proxy = cached(&upstream).await;
        proxy.get("/").await;
        assert_eq!((proxy.get("/").await.text(), upstream.count()), ("1".into(), 2), "{vary}");
    }
}

#[tokio::test]
async fn a_part_of_a_fresh_answer_is_cut_from_it() {
    let upstream = Upstream::start(|seen| match seen.header("range") {
        Some(_) => Answer::status(206).header("Content-Range", "bytes 0-0/10").body("r").steps(),
        None => Answer::ok("0123456789").header("Cache-Control", "max-age=60").header("ETag", "\"v1\"").steps(),
    })
    .await;
    let proxy = cached(&upstream).await;
    let part = |range: &str| Request::get("/").header("Range", range);
    assert_eq!(proxy.send(part("bytes=2-4")).await.text(), "r", "nothing is stored: the service's own");
    proxy.get("/").await;
    let reply = proxy.send(part("bytes=2-4")).await;
    assert_eq!((reply.status, reply.text(), reply.header("content-range")), (206, "234".into(), Some("bytes 2-4/10")));
    assert_eq!((reply.header("content-length"), reply.header("etag")), (Some("3"), Some("\"v1\"")));
    assert!(status(&reply).starts_with("mainstay; hit"), "{reply:#?}");
    let other = proxy.send(part("bytes=2-4").header("If-Range", "\"v0\"")).await;
    assert_eq!((other.status, other.text()), (200, "0123456789".into()), "its part is of another version");
    let known = proxy.send(part("bytes=2-4").header("If-None-Match", "\"v1\"")).await;
    assert_eq!((known.status, known.text()), (304, String::new()));
    assert_eq!(upstream.count(), 2);
    for (request, why) in [
        (part("bytes=0-1,3-4"), "two parts"),
        (part("bytes=99-"), "outside of it"),
        (part("bytes=2-4").header("Cache-Control", "no-cache"), "must be validated"),
    ] {
        assert_eq!(proxy.send(request).await.text(), "r", "{why}");
    }
}

#[tokio::test]
async fn what_the_service_takes_back_is_forgotten() {
    // Each answers one request: stale at once, but good enough for a failure.
    let stale = || Answer::ok("old").header("Cache-Control", "max-age=0, stale-if-error=60").header("ETag", "\"v1\"");
    for (answer, what) in [
        (Answer::status(304).header("Cache-Control", "no-store"), "a 304 with no-store"),
        (Answer::ok("new").header("Cache-Control", "no-store"), "a new answer with no-store"),
        (Answer::ok("new").header("Cache-Control", "private"), "a new answer that is private"),
        (Answer::status(404).header("Cache-Control", "no-store"), "it is gone"),
    ] {
        let upstream = Upstream::start(move |seen| match seen.index {
            0 => stale().steps(),
            1 => answer.steps(),
            _ => Answer::status(503).steps(),
        })
        .await;
        let proxy = cached(&upstream).await;
        proxy.get("/").await;
        proxy.get("/").await;
        proxy.get("/").await.expect_upstream(503);
        assert_eq!(upstream.count(), 3, "{what}");
    }
}

#[tokio::test]
async fn a_stored_failure_does_not_stand_before_the_fallback() {
    for fallback in ["{ on: [5xx], status: 203 }", "{ on: [5xx], upstream: other }"] {
        let main = Upstream::answering(Answer::status(503).header("Cache-Control", "max-age=60")).await;
        let other = Upstream::answering(Answer::status(203)).await;
        let config = Config::new()
            .upstream("app", main.addr, "")
            .upstream("other", other.addr, "")
            .policy("p", &format!("timeout: 5s, cache: {{}}, fallback: {fallback}"))
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        for _ in 0..3 {
            let reply = proxy.get("/").await;
            assert_eq!((reply.status, reply.header("mainstay-fallback")), (203, Some("5xx")), "{fallback}");
        }
        assert_eq!(main.count(), 3, "{fallback}");
    }
}

#[tokio::test]
async fn the_other_upstream_is_asked_without_the_caches_own_conditions() {
    let main = Upstream::start(|seen| match seen.index {
        0 => Answer::ok("main").header("Cache-Control", "max-age=0").header("ETag", "\"v1\"").steps(),
        _ => Answer::status(503).steps(),
    })
    .await;
    let other = Upstream::answering(Answer::ok("other")).await;
    let config = Config::new()
        .upstream("app", main.addr, "")
        .upstream("other", other.addr, "")
        .policy("p", "timeout: 5s, cache: {}, fallback: { on: [5xx], upstream: other }")
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    proxy.get("/").await;
    assert_eq!(proxy.get("/").await.text(), "other");
    assert_eq!(main.requests()[1].header("if-none-match"), Some("\"v1\""));
    assert_eq!(other.only().header("if-none-match"), None);
}

#[tokio::test]
async fn who_waits_for_a_fill_that_fails_gets_the_stale_answer_without_asking_again() {
    let upstream = Upstream::start(|seen| match seen.index {
        0 => Answer::ok("old").header("Cache-Control", "max-age=0, stale-if-error=60").header("ETag", "\"v1\"").steps(),
        _ => Answer::status(503).after(Duration::from_millis(300)),
    })
    .await;
    let proxy = cached(&upstream).await;
    proxy.get("/").await;
    for reply in join_all((0..20).map(|_| proxy.get("/"))).await {
        assert_eq!((reply.status, reply.text()), (200, "old".into()), "{reply:#?}");
    }
    assert!(upstream.count() <= 4, "{} calls for twenty requests", upstream.count());
}

#[tokio::test]
async fn a_stored_failure_is_no_last_good_answer() {
    let upstream = Upstream::answering(Answer::status(503).header("Cache-Control", "max-age=60")).await;
    let policy = "cache: {}, fallback: { on: [rate-limited], stale: 1h }, rate_limit: { requests: 1, unit: 10m }";
    let proxy = Proxy::single(upstream.addr, policy).await;
    proxy.get("/").await.expect_upstream(503);
    proxy.get("/").await.expect_problem(429, "rate-limited");
}
