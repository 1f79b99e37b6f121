//! Endpoints that are asked whether they can serve, and get no requests while they say that they cannot.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use mainstay_tests::{
    authority::Authority,
    h2_upstream::{H2Step, H2Upstream},
    in_the_end,
    names::{UNWELL, Zone, services},
    prelude::*,
    tls::Server,
};

const OFTEN: &str = "health: { path: \"/healthz?deep=1\", interval: 250ms, timeout: 5s, unhealthy: 2, healthy: 1 }";

/// A service that says of its health what it is told to, and serves whatever it says.
struct Patient {
    service: Upstream,
    status: Arc<AtomicU16>,
}

impl Patient {
    async fn start() -> Self {
        let status = Arc::new(AtomicU16::new(204));
        let said = status.clone();
        let service = Upstream::start(move |seen| {
            let is_asked = seen.target.starts_with("/healthz");
            if is_asked { Answer::status(said.load(SeqCst)).steps() } else { Answer::ok("served").steps() }
        })
        .await;
        Self { service, status }
    }

    fn say(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    /// How often `who` has asked how it is.
    fn asked_by(&self, who: &str) -> usize {
        self.service.requests().iter().filter(|seen| seen.target == format!("/healthz?{who}")).count()
    }

    fn served(&self) -> usize {
        self.service.requests().iter().filter(|seen| seen.target == "/").count()
    }
}

/// What is said of the health of each endpoint, in the order of the configuration.
async fn healthy(proxy: &Proxy) -> Vec<Option<bool>> {
    let upstreams = proxy.operate(Request::get("/upstreams")).await.json();
    let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().expect("endpoints").iter();
    endpoints.map(|endpoint| endpoint["healthy"].as_bool()).collect()
}

async fn becomes(proxy: &Proxy, expected: &[Option<bool>]) {
    eventually("it is known how they are", || async { (healthy(proxy).await == expected).then_some(()) }).await;
}

async fn call(proxy: &Proxy, times: usize) {
    let mut client = proxy.connect().await;
    for _ in 0..times {
        client.call(&Request::get("/")).await.expect_upstream(200);
    }
}

#[tokio::test]
async fn an_endpoint_that_says_it_cannot_serve_gets_no_requests_until_it_can_and_all_do_where_none_can() {
    let (well, sick) = (Patient::start().await, Patient::start().await);
    let breaker = "timeout: 9s, circuit_breaker: { consecutive_errors: 1, open_duration: 1h, scope: endpoint }";
    let config = Config::new()
        .endpoints("app", &[well.service.addr, sick.service.addr], OFTEN)
        .policy("p", breaker)
        .route("path: /**", "app", "p")
        .admin();
    let proxy = Proxy::start(config).await;
    assert_eq!(healthy(&proxy).await, [Some(true); 2], "before anybody was asked, and after");
    call(&proxy, 40).await;
    assert!(well.served() > 0 && sick.served() > 0);
    sick.say(503);
    becomes(&proxy, &[Some(true), Some(false)]).await;
    let before = sick.served();
    call(&proxy, 40).await;
    assert_eq!(sick.served(), before);
    let state =
        async |state| proxy.metric("mainstay_upstream_endpoints", &[("upstream", "app"), ("state", state)]).await;
    assert_eq!((state("reachable").await, state("unhealthy").await), (Some(1.0), Some(1.0)));
    // No question is an attempt of a request.
    assert_eq!(proxy.metric("mainstay_breaker_state", &[("breaker", "p@app~1")]).await, Some(0.0));
    let addr = sick.service.addr.to_string();
    eventually("it is said once", || async {
        let log = proxy.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("an endpoint is unhealthy")).collect();
        assert!(lines.len() <= 1, "{lines:?}");
        let line = lines.first()?;
        assert!(line.contains(&addr) && line.contains("status 503"), "{line}");
        Some(())
    })
    .await;
    // None can: both are used.
    well.say(500);
    becomes(&proxy, &[Some(false); 2]).await;
    let before = (well.served(), sick.served());
    call(&proxy, 40).await;
    assert!(well.served() > before.0 && sick.served() > before.1);
    eventually("that is said, too", || async {
        proxy.log().contains("no endpoint of an upstream is healthy").then_some(())
    })
    .await;
    sick.say(200);
    becomes(&proxy, &[Some(false), Some(true)]).await;
    let before = well.served();
    call(&proxy, 40).await;
    assert_eq!(well.served(), before);
    for seen in sick.service.requests().iter().filter(|seen| seen.target != "/") {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/healthz?deep=1"));
        assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("mainstay-health/")));
        let mut names: Vec<_> = seen.head.headers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        assert_eq!(names, ["host", "user-agent"]);
        assert_eq!(seen.nth, 0, "each has a connection of its own");
    }
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_well() {
    let well = Patient::start().await;
    let (refusing, silent) = (Refusing::new(), Blackhole::new());
    let health = OFTEN.replace("timeout: 5s", "timeout: 1s");
    for (addr, cause) in [(refusing.addr, "refused"), (silent.addr, "no answer in time")] {
        let config = Config::new()
            .endpoints("app", &[well.service.addr, addr], &health)
            .policy("p", "timeout: 20m")
            .route("path: /**", "app", "p")
            .admin();
        let proxy = Proxy::start(config).await;
        becomes(&proxy, &[Some(true), Some(false)]).await;
        call(&proxy, 20).await;
        eventually("why", || async {
            let log = proxy.log();
            let line = log.lines().find(|line| line.contains("an endpoint is unhealthy"))?;
            assert!(line.contains(cause), "{line}");
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn it_is_asked_as_it_is_reached_over_tls_and_over_http2() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost,IP:127.0.0.1");
    let patient = Patient::start().await;
    let front = Server::of(&own).before(patient.service.addr).await;
    let tls = format!("{OFTEN}, tls: {{ ca_file: {} }}", authority.cert().display());
    let over_http2 = H2Upstream::start(|seen| {
        let status = if seen.head.uri.path() == "/healthz" { 500 } else { 200 };
        H2Step::Answer(status, vec![], "ok".into(), vec![])
    })
    .await;
    for (endpoint, more) in [
        (format!("https://localhost:{}", front.addr.port()), tls),
        (format!("http://{}", over_http2.addr), format!("{OFTEN}, protocol: http2")),
    ] {
        patient.say(500);
        let config = Config::new()
            .upstream_at("app", &endpoint, &more)
            .policy("p", "timeout: 9s")
            .route("path: /**", "app", "p")
            .admin();
        let proxy = Proxy::start(config).await;
        becomes(&proxy, &[Some(false)]).await;
        // The only one there is serves all the same.
        call(&proxy, 4).await;
        if endpoint.starts_with("https") {
            patient.say(200);
            becomes(&proxy, &[Some(true)]).await;
        }
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_asked() {
    let (port, counts) = services(&[2, 3, UNWELL]).await;
    let zone = Zone::default();
    zone.say(&[2, 3, UNWELL]);
    let server = zone.serve().await;
    let config = Config::new()
        .upstream_at(
            "app",
            &format!("http://orders.test:{port}"),
            &format!("resolve: {{ servers: ['{server}'] }}, {OFTEN}"),
        )
        .policy("p", "timeout: 9s")
        .route("path: /**", "app", "p")
        .admin();
    let proxy = Proxy::start(config).await;
    eventually("two are well and one is not", || async {
        let mut all = healthy(&proxy).await;
        all.sort();
        (all == [Some(false), Some(true), Some(true)]).then_some(())
    })
    .await;
    let mut client = proxy.connect().await;
    for _ in 0..40 {
        let answered = client.call(&Request::get("/")).await.expect_upstream(200).text();
        assert_ne!(answered, UNWELL.to_string());
    }
    assert!(counts.lock()[&2].0 > 0 && counts.lock()[&3].0 > 0);
}

fn asks_as(who: &str, service: &Patient) -> Config {
    let health = format!("health: {{ path: \"/healthz?{who}\", interval: 250ms, timeout: 5s }}");
    Config::new().upstream("app", service.service.addr, &health).policy("p", "timeout: 9s").route(
        "path: /**",
        "app",
        "p",
    )
}

/// `one` has stopped asking: while `other` asks six times more it asks once at most, which was under way.
async fn only_the_other_asks(patient: &Patient, one: &str, other: &str) {
    let (own, others) = (patient.asked_by(one), patient.asked_by(other));
    in_the_end("the other goes on asking", || async { (patient.asked_by(other) >= others + 6).then_some(()) }).await;
    let asked = patient.asked_by(one) - own;
    assert!(asked <= 1, "{one} asked {asked} times more");
}

async fn asks_again(patient: &Patient, who: &str) {
    let before = patient.asked_by(who);
    eventually("it is asked", || async { (patient.asked_by(who) >= before + 2).then_some(()) }).await;
}

#[tokio::test]
async fn nobody_is_asked_any_more_while_the_proxy_drains_and_again_when_that_is_undone() {
    let patient = Patient::start().await;
    let (one, _other) =
        (Proxy::start(asks_as("one", &patient).admin()).await, Proxy::start(asks_as("other", &patient)).await);
    asks_again(&patient, "one").await;
    assert_eq!(one.operate(Request::post("/drain", "")).await.json()["draining"], true);
    only_the_other_asks(&patient, "one", "other").await;
    let undone = Request::new("DELETE", "/drain").body(r#"{"actor":"ana","reason":"a mistake"}"#);
    assert_eq!(one.operate(undone).await.status, 200);
    asks_again(&patient, "one").await;
}

#[tokio::test]
async fn a_reload_ends_the_questions_that_it_takes_out_with_or_without_their_upstream() {
    let patient = Patient::start().await;
    let _other = Proxy::start(asks_as("other", &patient)).await;
    let elsewhere = Upstream::answering(Answer::ok("x")).await;
    let policy = "timeout: 9s";
    for next in [Config::single(patient.service.addr, policy), Config::single(elsewhere.addr, policy)] {
        let mut one = Proxy::start(asks_as("one", &patient)).await;
        asks_again(&patient, "one").await;
        let loaded = one.metric("mainstay_config_reloads_total", &[("result", "success")]).await;
        let mut next = next;
        (next.data, next.probes) = (one.config.data, one.config.probes);
        one.reload(next);
        eventually("it is loaded", || async {
            let now = one.metric("mainstay_config_reloads_total", &[("result", "success")]).await;
            (now > loaded).then_some(())
        })
        .await;
        only_the_other_asks(&patient, "one", "other").await;
        one.get("/").await.expect_upstream(200);
    }
}
