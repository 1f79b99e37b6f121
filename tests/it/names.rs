//! Names of endpoints: every address of one is used, one that is gone is not, and name servers that fail take nothing with them.

use std::{collections::BTreeMap, net::SocketAddr};

use mainstay_tests::{
    authority::Authority,
    names::{Counts, Offer, UNWELL, Zone, services, services_over_http2},
    prelude::*,
    tls::Server,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

async fn proxy_before(zone: &Zone, port: u16, more: &str) -> Proxy {
    proxy_with(zone, port, more, "timeout: 9s").await
}

async fn proxy_with(zone: &Zone, port: u16, more: &str, policy: &str) -> Proxy {
    let server = zone.serve().await;
    let config = Config::new()
        .upstream_at(
            "app",
            &format!("http://orders.test:{port}"),
            &format!("resolve: {{ servers: ['{server}'] }}{more}"),
        )
        .policy("p", policy)
        .route("path: /**", "app", "p")
        .top("limits: { workers: 1 }")
        .admin();
    Proxy::start(config).await
}

/// Waits until these addresses, and no others, are answered from.
async fn follows(proxy: &Proxy, numbers: &[&str]) {
    eventually("each address is used, and no other", || async {
        let answered = call(proxy, 8, 10).await;
        answered.keys().eq(numbers.iter().copied()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_address_has_its_share_as_they_come_and_go() {
    have_their_shares(services(&[2, 3, 4, 5, 6]).await, "").await;
}

#[tokio::test]
async fn each_address_has_its_share_over_http2() {
    have_their_shares(services_over_http2(&[2, 3, 4, 5, 6]).await, ", protocol: http2").await;
}

async fn have_their_shares((port, counts): (u16, Counts), more: &str) {
    let zone = Zone::default();
    let proxy = {
        zone.say(&[2, 3, 4]);
        proxy_before(&zone, port, more).await
    };
    for (said, numbers) in
        [(&[2, 3, 4][..], &["2", "3", "4"][..]), (&[2, 3, 4, 5, 6], &["2", "3", "4", "5", "6"]), (&[3, 6], &["3", "6"])]
    {
        zone.say(said);
        // None of these fails, whatever comes and goes meanwhile.
        follows(&proxy, numbers).await;
        let before = counts.lock().clone();
        let answered = call(&proxy, 12, 200).await;
        assert!(answered.keys().eq(numbers.iter().copied()), "{answered:?}");
        let fair = 2400 / numbers.len();
        for (number, had) in &answered {
            assert!((fair * 8 / 10..=fair * 12 / 10).contains(had), "{number} of {answered:?}");
        }
        for (number, had) in &*counts.lock() {
            assert!(said.contains(number) || before[number] == *had, "{number} had {had:?}, before {before:?}");
        }
        let upstreams = proxy.operate(Request::get("/upstreams")).await.json();
        let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().unwrap();
        let listed: Vec<_> = endpoints.iter().map(|it| it["address"].as_str().unwrap().to_owned()).collect();
        let expected: Vec<_> = said.iter().map(|number| format!("127.0.0.{number}:{port}")).collect();
        assert!(listed.len() == expected.len() && expected.iter().all(|it| listed.contains(it)), "{listed:?}");
    }
}

#[tokio::test]
async fn a_dead_address_is_told_from_the_others_and_fails_no_request() {
    let (port, _) = services(&[3]).await;
    let zone = Zone::default();
    // Nobody listens at the first.
    zone.say(&[2, 3]);
    let policy = "timeout: 9s, circuit_breaker: { consecutive_errors: 1, open_duration: 1h, scope: endpoint }";
    let proxy = proxy_with(&zone, port, "", policy).await;
    // Its breaker is its own: numbers go on behind the one endpoint that the configuration names.
    let breaker = async |number| proxy.metric("mainstay_breaker_state", &[("breaker", number)]).await;
    eventually("the breaker of the dead one opens", || async {
        assert_eq!(call(&proxy, 4, 3).await.into_keys().collect::<Vec<_>>(), ["3"]);
        (breaker("p@app~1").await == Some(2.0)).then_some(())
    })
    .await;
    assert_eq!(breaker("p@app~2").await, Some(0.0));
    assert_eq!(breaker("p@app~0").await, None, "the name itself is none any more");
    for state in ["reachable", "unreachable"] {
        assert_eq!(
            proxy.metric("mainstay_upstream_endpoints", &[("upstream", "app"), ("state", state)]).await,
            Some(1.0)
        );
    }
}

#[tokio::test]
async fn a_silent_address_is_not_waited_for() {
    wait_for_no_silent_one(services(&[3]).await.0, "").await;
}

#[tokio::test]
async fn a_silent_address_is_not_waited_for_over_http2() {
    wait_for_no_silent_one(services_over_http2(&[3]).await.0, ", protocol: http2").await;
}

async fn wait_for_no_silent_one(port: u16, more: &str) {
    // Its backlog is full, so the system answers no more connection attempts.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind(SocketAddr::from(([127, 0, 0, 2], port))).unwrap();
    let silent = silent.listen(0).unwrap();
    let _in_the_backlog = TcpStream::connect(silent.local_addr().unwrap()).await.unwrap();
    let zone = Zone::default();
    zone.say(&[2, 3]);
    let proxy = proxy_with(&zone, port, &format!(", connect_timeout: 10m{more}"), "timeout: 20m").await;
    let unreachable = || proxy.metric("mainstay_upstream_endpoints", &[("upstream", "app"), ("state", "unreachable")]);
    eventually("somebody has tried it, and none has waited", || async {
        assert_eq!(call(&proxy, 4, 1).await.into_keys().collect::<Vec<_>>(), ["3"]);
        (unreachable().await == Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_address_that_was_tried_in_vain_is_told_of_by_its_own_breaker() {
    for protocol in ["http1", "http2"] {
        // Nobody listens at any of them, and one attempt tries three.
        let port = free_addr().port();
        let zone = Zone::default();
        zone.say(&[2, 3, 4]);
        let policy = "timeout: 9s, circuit_breaker: { consecutive_errors: 1, open_duration: 1h, scope: endpoint, \
                      max_ejection_percent: 100 }";
        let proxy = proxy_with(&zone, port, &format!(", protocol: {protocol}"), policy).await;
        eventually("each address is an endpoint", || async {
            let upstreams = proxy.operate(Request::get("/upstreams")).await.json();
            (upstreams["upstreams"][0]["endpoints"].as_array().unwrap().len() == 3).then_some(())
        })
        .await;
        assert_eq!(proxy.get("/").await.expect_problem(502, "upstream-unreachable")["effect"], "none");
        for number in ["p@app~1", "p@app~2", "p@app~3"] {
            let state = proxy.metric("mainstay_breaker_state", &[("breaker", number)]).await;
            assert_eq!(state, Some(2.0), "{protocol}: {number}");
        }
        let labels = [("upstream", "app"), ("cause", "refused")];
        assert_eq!(proxy.metric("mainstay_upstream_connect_errors_total", &labels).await, Some(3.0), "{protocol}");
        proxy.get("/").await.expect_problem(503, "circuit-open");
    }
}

#[tokio::test]
async fn a_retry_avoids_the_address_that_it_comes_from() {
    let (port, counts) = services(&[2, UNWELL]).await;
    let zone = Zone::default();
    zone.say(&[2, UNWELL]);
    let policy = "timeout: 9s, retry: { max_retries: 1, budget: none, backoff: { base: 1ms } }";
    let proxy = proxy_with(&zone, port, "", policy).await;
    // Until the name is known, nobody can tell one from the other.
    eventually("each address is an endpoint", || async {
        let upstreams = proxy.operate(Request::get("/upstreams")).await.json();
        (upstreams["upstreams"][0]["endpoints"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    let answered = call(&proxy, 4, 20).await;
    assert_eq!(answered.into_keys().collect::<Vec<_>>(), ["2"]);
    assert!(counts.lock()[&UNWELL].0 > 0);
}

/// So many callers at once, one request after the other; who answered.
async fn call(proxy: &Proxy, callers: usize, each: usize) -> BTreeMap<String, usize> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let mut client = proxy.connect().await;
        tasks.spawn(async move {
            let mut answered = Vec::new();
            for _ in 0..each {
                answered.push(client.call(&Request::get("/")).await.expect_upstream(200).text());
            }
            answered
        });
    }
    let mut all = BTreeMap::new();
    while let Some(answered) = tasks.join_next().await {
        answered.unwrap().into_iter().for_each(|number| *all.entry(number).or_default() += 1);
    }
    all
}

#[tokio::test]
async fn a_name_is_followed_wherever_it_leads_and_kept_when_nobody_says() {
    let (port, counts) = services(&[2, 3, 4, 5, 6]).await;
    let zone = Zone::default();
    zone.say(&[2, 3, 4]);
    let proxy = proxy_before(&zone, port, "").await;
    let answered = call(&proxy, 12, 20).await;
    assert_eq!(answered.keys().collect::<Vec<_>>(), ["2", "3", "4"], "{answered:?}");
    // Busy connections notice it, too.
    zone.say(&[5, 6]);
    eventually("the old addresses are left", || async {
        let answered = call(&proxy, 4, 10).await;
        answered.keys().all(|number| ["5", "6"].contains(&&**number)).then_some(())
    })
    .await;
    let gone = |counts: &Counts| [2, 3, 4].map(|number| counts.lock()[&number]);
    let before = gone(&counts);
    assert_eq!(call(&proxy, 12, 20).await.len(), 2);
    assert_eq!(gone(&counts), before);
    // There is no such name any more, as far as the server knows.
    zone.deny();
    zone.is_asked_again(3).await;
    assert_eq!(call(&proxy, 4, 10).await.values().sum::<usize>(), 40);
    assert_eq!(proxy.log().matches("a name cannot be resolved").count(), 1);
    for result in ["success", "failure"] {
        let labels = [("upstream", "app"), ("result", result)];
        assert!(proxy.metric("mainstay_upstream_resolutions_total", &labels).await.unwrap() >= 1.0, "{result}");
    }
}

#[tokio::test]
async fn one_dead_address_is_no_dead_name() {
    let (port, _) = services(&[3]).await;
    let zone = Zone::default();
    // Nobody listens at the first.
    zone.say(&[2, 3]);
    let proxy = proxy_before(&zone, port, "").await;
    for _ in 0..6 {
        assert_eq!(call(&proxy, 4, 1).await.values().sum::<usize>(), 4);
    }
}

#[tokio::test]
async fn over_tls_it_is_the_name_that_is_proven_wherever_it_leads() {
    let authority = Authority::new("right");
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for (host, certified, is_right) in [
        ("orders.test", "DNS:orders.test", true),
        ("orders.test", "DNS:localhost, IP:127.0.0.1", false),
        // A dot at the end is for name servers alone.
        ("orders.test.", "DNS:orders.test", true),
    ] {
        let own = authority.issue("own", certified);
        let front = Server::of(&own).before(upstream.addr).await;
        let zone = Zone::default();
        // Nobody listens at the second.
        zone.say(&[1, 2]);
        let server = zone.serve().await;
        let ca = authority.cert().display().to_string();
        let more = format!("resolve: {{ servers: ['{server}'] }}, tls: {{ ca_file: {ca} }}");
        let config = Config::new()
            .upstream_at("app", &format!("https://{host}:{}", front.addr.port()), &more)
            .policy("p", "timeout: 9s")
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        for _ in 0..4 {
            let reply = proxy.get("/").await;
            if is_right {
                assert_eq!(reply.expect_upstream(200).text(), "ok");
                let seen = upstream.requests().pop().expect("it was asked");
                assert_eq!(seen.header("host"), Some(&*format!("orders.test:{}", front.addr.port())));
            } else {
                assert_eq!(reply.expect_problem(502, "upstream-unreachable")["effect"], "none");
            }
        }
        let asked_for = front.handshakes();
        assert!(!is_right || !asked_for.is_empty());
        for (name, _) in asked_for.into_iter().flatten() {
            assert_eq!(name.as_deref(), Some("orders.test"));
        }
    }
    assert_eq!(upstream.count(), 8);
}

#[tokio::test]
async fn a_name_that_never_was_is_told_and_nothing_is_sent() {
    let zone = Zone::default();
    let proxy = proxy_before(&zone, 80, "").await;
    assert_eq!(proxy.get("/").await.expect_problem(502, "upstream-unreachable")["effect"], "none");
    eventually("an access line", || async { proxy.log().contains("\"error\":\"dns\"").then_some(()) }).await;
}

#[tokio::test]
async fn a_connection_grows_no_older_than_it_may() {
    let (port, counts) = services(&[2]).await;
    let zone = Zone::default();
    zone.say(&[2]);
    let proxy = proxy_before(&zone, port, ", max_age: 300ms").await;
    let mut client = proxy.connect().await;
    within("busy connections are followed by others", async {
        while counts.lock().get(&2).is_none_or(|(_, connections)| *connections < 4) {
            client.call(&Request::get("/")).await.expect_upstream(200);
        }
    })
    .await;
}

#[tokio::test]
async fn the_records_of_a_service_say_where_it_is_and_who_has_how_much() {
    let (one, two, back) = (services(&[2]).await.0, services(&[3]).await.0, services(&[4, 5]).await.0);
    let offer = |priority, weight, port, target| Offer { priority, weight, port, target };
    let offers = [offer(10, 1, one, "one.test"), offer(10, 3, two, "two.test"), offer(20, 9, back, "back.test")];
    let all: [(&str, &[u8]); 3] = [("one.test", &[2]), ("two.test", &[3]), ("back.test", &[4, 5])];
    let zone = Zone::default();
    zone.offer(&offers, &all);
    let server = zone.serve().await;
    let config = Config::new()
        .upstream_at("app", "srv+http://_http._tcp.orders.test", &format!("resolve: {{ servers: ['{server}'] }}"))
        .policy("p", "timeout: 9s")
        .route("path: /**", "app", "p")
        .top("limits: { workers: 1 }")
        .admin();
    let proxy = Proxy::start(config).await;
    follows(&proxy, &["2", "3"]).await;
    let answered = call(&proxy, 1, 1000).await;
    assert!((180..330).contains(&answered["2"]), "a quarter: {answered:?}");
    assert_eq!(answered.len(), 2, "the second priority is not used: {answered:?}");
    // A host that is nowhere offers nothing; where none of the first priority is anywhere, the second one's turn comes.
    zone.offer(&offers, &all[1..]);
    follows(&proxy, &["3"]).await;
    zone.offer(&offers, &all[2..]);
    follows(&proxy, &["4", "5"]).await;
    // It is offered nowhere: the old set stays.
    zone.deny();
    zone.is_asked_again(3).await;
    follows(&proxy, &["4", "5"]).await;
}

#[tokio::test]
async fn a_service_over_tls_proves_the_domain_that_was_asked_for_and_not_where_its_records_lead() {
    let authority = Authority::new("right");
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    for (certified, more, is_right) in [
        ("DNS:orders.test", "", true),
        ("DNS:elsewhere.test", "", false),
        ("DNS:elsewhere.test", ", server_name: elsewhere.test", true),
        ("URI:spiffe://prod/orders", ", identity: [\"spiffe://prod/orders\"]", true),
    ] {
        let own = authority.issue("own", certified);
        let front = Server::of(&own).before(upstream.addr).await;
        let zone = Zone::default();
        let offer = Offer { priority: 0, weight: 0, port: front.addr.port(), target: "elsewhere.test" };
        zone.offer(&[offer], &[("elsewhere.test", &[1])]);
        let server = zone.serve().await;
        let ca = authority.cert().display().to_string();
        let more = format!("resolve: {{ servers: ['{server}'] }}, tls: {{ ca_file: {ca}{more} }}");
        let config = Config::new()
            .upstream_at("app", "srv+https://_https._tcp.orders.test", &more)
            .policy("p", "timeout: 9s")
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        let reply = proxy.get("/").await;
        if is_right {
            assert_eq!(reply.expect_upstream(200).text(), "ok", "{more}");
            assert_eq!(
                upstream.requests().last().and_then(|seen| seen.header("host").map(str::to_owned)).as_deref(),
                Some("orders.test")
            );
        } else {
            assert_eq!(reply.expect_problem(502, "upstream-unreachable")["effect"], "none", "{more}");
        }
    }
}
