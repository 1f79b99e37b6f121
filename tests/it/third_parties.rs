//! Services of others: what they are told of us (nothing), which host they are asked for, with whose credentials, and by which path.

use std::{collections::BTreeSet, net::SocketAddr, path::Path};

use mainstay_tests::{
    authority::Authority,
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
    proxy::{Launch, TempDir, run},
    tls::Server,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const REDISPATCH: &str = "timeout: 5s, retry: { max_retries: 1, on: [503], backoff: { base: 1ms } }, idempotency: { required: true, \
     late_response: 200ms, redispatch: { attempts: 5, backoff: { base: 50ms, max: 50ms, jitter: none } }, \
     status: { request: \"GET /by-ref/{key}\", schedule: { first: 20ms, max: 20ms }, \
     rules: [{ status: 200, then: succeeded }, { status: 404, then: not_found }] } }";

/// The service's own calls lead to `provider`, whose settings are `more`, over the listener `out`.
fn calls_out(provider: SocketAddr, more: &str, policy: &str) -> Config {
    let more = format!("honours_key: true{more}");
    Config::new()
        .upstream("provider", provider, &more)
        .policy("pay", policy)
        .also_listener("out", "direction: outbound")
        .route("listener: out, path: /**", "provider", "pay")
}

/// With every field that could tell a stranger of us.
fn telling(request: Request) -> Request {
    [
        ("traceparent", TRACE),
        ("tracestate", "vendor=1"),
        ("baggage", "user=7"),
        ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"),
        ("X-B3-TraceId", "0af7651916cd43dd8448eb211c80319c"),
        ("X-B3-SpanId", "b7ad6b7169203331"),
        ("uber-trace-id", "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1"),
        ("uberctx-user", "7"),
        ("X-Amzn-Trace-Id", "Root=1-2-3"),
        ("x-datadog-trace-id", "1"),
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Client-Cert", "URI=spiffe://prod/x"),
        ("Forwarded", "for=10.1.2.3"),
        ("X-Real-IP", "10.1.2.3"),
        ("Via", "1.1 inner-gateway"),
        ("Mainstay-Deadline-Ms", "4000"),
        ("Mainstay-Debug", "1"),
    ]
    .into_iter()
    .fold(request.header("X-Own", "kept"), |request, (name, value)| request.header(name, value))
}

/// What it is named, in lower case.
fn names(seen: &Seen) -> BTreeSet<String> {
    seen.head.headers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
}

/// Nothing but what the request is about; `Via` has a pseudonym.
#[track_caller]
fn expect_discreet(seen: &Seen, also: &[&str]) {
    let about = ["host", "via", "x-own", "accept", "content-length", "idempotency-key"];
    let leaks: Vec<_> = names(seen).into_iter().filter(|name| !about.iter().chain(also).any(|it| it == name)).collect();
    assert!(leaks.is_empty(), "{} {} tells {leaks:?}: {seen:#?}", seen.method, seen.target);
    for via in seen.headers("via") {
        let digits = via.strip_prefix("1.1 mainstay-").unwrap_or_else(|| panic!("{via} is no pseudonym"));
        assert!(digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{via}");
    }
    assert!(seen.headers("via").len() <= 1, "{seen:#?}");
}

/// One read that is retried, and one write whose answer is lost, that is asked about and then sent again.
async fn every_kind_of_request(proxy: &Proxy, provider: &Upstream) {
    let out = proxy.config.address_of("out");
    telling(Request::get("/flaky")).send(out).await.expect_upstream(200);
    let lost = telling(Request::keyed("/pay", "k", "x")).send(out).await;
    lost.expect_problem(502, "outcome-unknown");
    provider.wait("the write is sent again", |log| log.effects.get("k") == Some(&2)).await;
    eventually("it is settled", || async {
        let document = Request::get(lost.header("operation-location").expect("an address")).send(out).await.json();
        (document["state"] == "succeeded").then_some(())
    })
    .await;
}

/// The first read is 503, the first write is done and its answer lost; nobody knows of it when asked.
async fn provider() -> Upstream {
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let writes = std::sync::atomic::AtomicUsize::new(0);
    let next = |count: &std::sync::atomic::AtomicUsize| count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    Upstream::start(move |seen| match (seen.method.as_str(), &*seen.target) {
        ("POST", _) if next(&writes) == 0 => vec![Step::Body, Step::Reset],
        ("POST", _) => Answer::status(201).body("paid").steps(),
        (_, "/by-ref/k") => Answer::json(404, "{}").steps(),
        _ if next(&reads) == 0 => Answer::status(503).steps(),
        _ => Answer::ok("read").steps(),
    })
    .await
}

/// Spans are exported, or would be if anybody listened there.
fn traced(config: Config) -> Config {
    config.top("telemetry: { otlp: \"http://127.0.0.1:9\", propagation: [w3c, b3, b3multi, jaeger] }")
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_us_by_whichever_request() {
    for (more, also) in [
        (", forward: external", &[][..]),
        (", forward: external, trace: none", &[]),
        (", forward: external, trace: w3c", &["traceparent"]),
    ] {
        for tells in [false, true] {
            let provider = provider().await;
            let config = calls_out(provider.addr, more, REDISPATCH);
            let proxy = Proxy::start(if tells { traced(config) } else { config }).await;
            every_kind_of_request(&proxy, &provider).await;
            let seen = provider.requests();
            assert!(seen.iter().filter(|seen| seen.target == "/flaky").count() == 2, "one retry: {seen:#?}");
            assert!(seen.iter().any(|seen| seen.target == "/by-ref/k"), "one question: {seen:#?}");
            for seen in &seen {
                expect_discreet(seen, also);
            }
            let of_client = seen.iter().filter(|seen| seen.target != "/by-ref/k");
            for seen in of_client {
                assert_eq!((seen.header("x-own"), seen.headers("via").len()), (Some("kept"), 1));
                let parent = seen.header("traceparent");
                assert_eq!(parent.is_some(), !also.is_empty());
                // Where spans are told, the stranger is told of ours.
                assert_eq!(parent == Some(TRACE), !also.is_empty() && !tells, "{parent:?}");
            }
        }
    }
}

#[tokio::test]
async fn one_of_our_own_is_told_as_before() {
    let provider = provider().await;
    let proxy = Proxy::start(traced(calls_out(provider.addr, "", REDISPATCH))).await;
    every_kind_of_request(&proxy, &provider).await;
    let first = &provider.requests()[0];
    for name in
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "traceparent", "b3", "uber-trace-id", "baggage"]
    {
        assert!(names(first).contains(name), "{name}: {first:#?}");
    }
    assert!(names(first).contains("mainstay-deadline-ms"));
}

#[tokio::test]
async fn a_stranger_that_speaks_http2_learns_nothing_either() {
    let provider = H2Upstream::start(|_| H2Step::Answer(200, vec![], "two".into(), vec![])).await;
    let config = calls_out(provider.addr, ", protocol: http2, forward: external, host: api.test", REDISPATCH);
    let proxy = Proxy::start(traced(config)).await;
    let out = proxy.config.address_of("out");
    telling(Request::get("/read")).send(out).await.expect_upstream(200);
    telling(Request::keyed("/pay", "k", "x")).send(out).await.expect_upstream(200);
    for seen in provider.requests() {
        let about = ["via", "x-own", "accept", "content-length", "idempotency-key"];
        let leaks: Vec<_> = seen.head.headers.keys().filter(|name| !about.contains(&name.as_str())).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
        assert_eq!(seen.head.uri.authority().map(http::uri::Authority::as_str), Some("api.test"));
    }
}

/// What `Host` a request for `api.test` arrives with.
async fn host_at(upstream: &Upstream, config: Config) -> (String, Option<String>) {
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    proxy.send(Request::get("/").header("Host", "api.test")).await.expect_upstream(200);
    let seen = upstream.requests().pop().expect("it arrived");
    (seen.header("host").expect("a host").to_owned(), seen.header("x-forwarded-host").map(str::to_owned))
}

#[tokio::test]
async fn the_host_is_the_callers_in_clear_and_the_certificates_over_tls_unless_said() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let front = Server::of(&own).before(upstream.addr).await;
    let (clear, secure) = (upstream.addr.to_string(), format!("localhost:{}", front.addr.port()));
    let tls = format!("tls: {{ ca_file: {} }}", authority.cert().display());
    for (over_tls, host, expected) in [
        (false, "", "api.test"),
        (false, "host: endpoint", &*clear),
        (false, "host: other.test", "other.test"),
        (true, "", &*secure),
        (true, "host: keep", "api.test"),
        (true, "host: endpoint", &*secure),
        (true, "host: \"other.test:8443\"", "other.test:8443"),
    ] {
        let config = Config::new().policy("p", "timeout: 5s");
        let config = if over_tls {
            let more = if host.is_empty() { tls.clone() } else { format!("{tls}, {host}") };
            config.upstream_at("app", &format!("https://{secure}"), &more)
        } else {
            config.upstream("app", upstream.addr, host)
        };
        let (seen, forwarded) = host_at(&upstream, config).await;
        assert_eq!(seen, expected, "{over_tls} {host}");
        assert_eq!(forwarded.as_deref(), Some("api.test"), "one of our own learns what was asked for");
    }
}

/// Every file under a folder, as bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found
}

#[tokio::test]
async fn credentials_are_ours_on_every_request_and_nobody_finds_them() {
    let home = TempDir::new();
    let token = home.join("token");
    std::fs::write(&token, "hush-first-5f2c\n").unwrap();
    let provider = provider().await;
    let more = format!(
        ", headers: {{ set: {{ Authorization: {{ file: {}, prefix: \"Bearer \" }}, X-Version: \"7\" }}, remove: [X-Debug] }}",
        token.display()
    );
    let ledger = home.join("ledger");
    let config = calls_out(provider.addr, &more, REDISPATCH)
        .ledger(&format!("store: disk, path: {}", ledger.display()))
        .top("telemetry: { logs: { level: trace } }")
        .admin();
    let proxy = Proxy::start(config).await;
    let out = proxy.config.address_of("out");
    every_kind_of_request(&proxy, &provider).await;
    Request::get("/own").header("Authorization", "Bearer mine").header("X-Debug", "1").send(out).await;
    for seen in provider.requests() {
        assert_eq!(seen.headers("authorization"), ["Bearer hush-first-5f2c"], "{seen:#?}");
        assert_eq!((seen.header("x-version"), seen.header("x-debug")), (Some("7"), None));
    }
    std::fs::write(&token, "hush-second-77aa\n").unwrap();
    eventually("the new one is sent", || async {
        Request::get("/own").send(out).await.expect_upstream(200);
        let last = provider.requests().pop().expect("it arrived");
        (last.headers("authorization") == ["Bearer hush-second-77aa"]).then_some(())
    })
    .await;
    let shown = run(&["config", "show", &proxy.file().display().to_string()]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&token.display().to_string()), "where they are from is no secret: {shown}");
    let live = proxy.operate(Request::get("/config")).await.text();
    let metrics = proxy.probe("/metrics").await.text();
    let mut places = vec![("config show".to_owned(), shown.into_bytes()), ("/config".to_owned(), live.into_bytes())];
    places.extend([("metrics".to_owned(), metrics.into_bytes()), ("the log".to_owned(), proxy.log().into_bytes())]);
    places.extend(files(&ledger));
    for (place, bytes) in places {
        assert!(!bytes.windows(5).any(|part| part == b"hush-"), "{place}");
    }
}

#[tokio::test]
async fn a_credential_that_is_not_there_ends_the_start_with_its_place() {
    let provider = Upstream::answering(Answer::ok("x")).await;
    let more = ", headers: { set: { Authorization: { file: /nowhere/token } } }";
    let started = Proxy::launch(calls_out(provider.addr, more, "timeout: 5s"), &Launch::default()).await;
    let error = started.err().expect("it does not start");
    assert!(error.contains("upstream `provider`, headers.set: /nowhere/token: it cannot be read"), "{error}");
}

#[tokio::test]
async fn credentials_serve_known_callers_only() {
    let provider = Upstream::answering(Answer::ok("x")).await;
    let more = "headers: { set: { Authorization: Bearer x } }";
    let policy = "timeout: 5s, idempotency: { principal: required }";
    let config = |policy: &str| {
        Config::new().upstream("app", provider.addr, more).policy("p", policy).route("path: /**", "app", "p")
    };
    let refused = Proxy::launch(config("timeout: 5s, idempotency: true"), &Launch::default()).await;
    let error = refused.err().expect("anybody would act with our credentials");
    assert!(error.contains("whoever reaches it would act with those credentials"), "{error}");
    let proxy = Proxy::start(config(policy).listener("principal: { header: X-User }")).await;
    for request in [Request::get("/"), Request::post("/", "x"), Request::keyed("/", "k", "x")] {
        let problem = proxy.send(request.clone()).await.expect_problem(401, "principal-missing");
        assert_eq!(problem["effect"], "none");
        proxy.send(request.header("X-User", "ana")).await.expect_upstream(200);
    }
    assert_eq!(provider.count(), 3);
}

/// A caller of the service must not have others asked with the service's credentials.
#[tokio::test]
async fn only_the_service_asks_others_about_a_key() {
    let (app, provider) = (Upstream::answering(Answer::ok("app")).await, provider().await);
    let config = calls_out(provider.addr, "", REDISPATCH).upstream("app", app.addr, "").policy("p", "timeout: 5s");
    let proxy = Proxy::start(config.route("path: /**", "app", "p")).await;
    let question = Request::get("/_mainstay/operations?key=k&path=/pay");
    proxy.send(question.clone()).await.expect_problem(404, "operation-not-found");
    assert_eq!((app.count(), provider.count()), (0, 0));
    let told = question.send(proxy.config.address_of("out")).await;
    assert_eq!((told.status, &told.json()["source"]), (200, &"upstream".into()), "{}", told.text());
}

#[tokio::test]
async fn another_path_is_sent_and_everything_else_keeps_the_one_that_came() {
    let provider = provider().await;
    let config = Config::new()
        .upstream("provider", provider.addr, "honours_key: true")
        .policy("pay", REDISPATCH)
        .also_listener("out", "direction: outbound")
        .top(
            "routes:\n  - { match: { listener: out, path: \"/stripe/**\" }, upstream: provider, policy: pay, \
             rewrite: { strip_prefix: /stripe, prefix: /v1 } }",
        );
    let proxy = Proxy::start(config).await;
    let out = proxy.config.address_of("out");
    for (came, sent) in [
        ("/stripe/flaky?a=%20b", "/v1/flaky?a=%20b"),
        ("/stripe", "/v1"),
        ("/str%69pe/a/../../stripe/%2e%2e/stripe/x", "/v1/x"),
    ] {
        Request::get(came).send(out).await.expect_upstream(200);
        assert_eq!(provider.requests().pop().expect("it arrived").target, sent, "{came}");
    }
    let lost = Request::keyed("/stripe/pay?n=1", "k", "x").send(out).await;
    lost.expect_problem(502, "outcome-unknown");
    provider.wait("it is sent again", |log| log.effects.get("k") == Some(&2)).await;
    let writes: Vec<_> = provider.requests().into_iter().filter(|seen| seen.method == "POST").collect();
    assert!(writes.iter().all(|seen| seen.target == "/v1/pay?n=1"), "{writes:#?}");
    assert!(provider.requests().iter().any(|seen| seen.target == "/by-ref/k"), "a question is sent as it is written");
    eventually("it is settled", || async {
        let repeat = Request::keyed("/stripe/pay?n=1", "k", "x").send(out).await;
        (repeat.header("idempotent-replayed") == Some("true")).then_some(())
    })
    .await;
    // The same write by the path that is sent would be another one: its fingerprint is of what came.
    assert_eq!(provider.effects("k"), 2);
}

#[tokio::test]
async fn what_is_no_strangers_business_stands_in_no_trailer_either() {
    let over_http1 = Upstream::answering(Answer::ok("ok")).await;
    let over_http2 = H2Upstream::start(|_| H2Step::Answer(200, vec![], "ok".into(), vec![])).await;
    for (provider, more, is_strange) in [
        (over_http1.addr, ", forward: external", true),
        (over_http1.addr, ", forward: external, trace: w3c", true),
        (over_http2.addr, ", forward: external, protocol: http2", true),
        (over_http1.addr, ", headers: { remove: [X-Debug] }", false),
    ] {
        let proxy = Proxy::start(calls_out(provider, more, "timeout: 5s")).await;
        let mut client = Client::connect(proxy.config.address_of("out")).await;
        let head = "POST /pay HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n";
        let trailers =
            format!("X-Sum: 7\r\nX-Debug: 1\r\ntraceparent: {TRACE}\r\nbaggage: user=7\r\nX-B3-TraceId: 1\r\n\r\n");
        client.write(format!("{head}{trailers}").as_bytes()).await;
        client.reply().await.expect_upstream(200);
        let names: BTreeSet<String> = if provider == over_http1.addr {
            let seen = over_http1.requests().pop().expect("a request");
            seen.body.trailers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
        } else {
            let seen = over_http2.requests().pop().expect("a request");
            seen.trailers.iter().flat_map(|trailers| trailers.keys()).map(ToString::to_string).collect()
        };
        let expected: &[&str] =
            if is_strange { &["x-sum", "x-debug"] } else { &["x-sum", "traceparent", "baggage", "x-b3-traceid"] };
        assert_eq!(names, expected.iter().map(ToString::to_string).collect(), "{more}");
    }
}
