//! Which endpoint a request goes to: each in turn, or the same one for requests that belong together.

use std::{collections::BTreeMap, net::SocketAddr};

use mainstay_tests::{
    names::{UNWELL, Zone, services},
    prelude::*,
};
use tokio::task::JoinSet;

/// One service on several addresses, and a proxy before it that balances so.
fn before(numbers: &[u8], port: u16, balance: &str, policy: &str) -> Config {
    let endpoints: Vec<_> = numbers.iter().map(|number| SocketAddr::from(([127, 0, 0, *number], port))).collect();
    Config::new()
        .endpoints("app", &endpoints, &format!("balance: {balance}"))
        .policy("p", policy)
        .route("path: /**", "app", "p")
        .listener("principal: { header: X-Caller }")
        .admin()
}

fn as_tenant(number: usize) -> Request {
    Request::get("/").header("X-Tenant", &format!("tenant-{number}"))
}

/// Who answers each of the requests, one after the other.
async fn answered(proxy: &Proxy, requests: impl IntoIterator<Item = Request>) -> Vec<String> {
    let mut client = proxy.connect().await;
    let mut all = Vec::new();
    for request in requests {
        all.push(client.call(&request).await.expect_upstream(200).text());
    }
    all
}

fn counted(answered: &[String]) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for number in answered {
        *all.entry(&**number).or_default() += 1;
    }
    all
}

#[tokio::test]
async fn each_endpoint_has_its_turn() {
    let (port, _) = services(&[2, 3, 4]).await;
    let proxy = Proxy::start(before(&[2, 3, 4], port, "round_robin", "timeout: 9s")).await;
    let all = answered(&proxy, (0..30).map(|_| Request::get("/"))).await;
    assert_eq!(counted(&all), BTreeMap::from([("2", 10), ("3", 10), ("4", 10)]));
    for three in all.windows(3) {
        assert_eq!(counted(three).len(), 3, "{all:?}");
    }
}

#[tokio::test]
async fn what_belongs_together_goes_to_one_endpoint_whichever_process_is_asked() {
    let numbers = [2, 3, 4, 5];
    let (port, _) = services(&numbers).await;
    for (balance, request) in [
        ("{ hash: { header: X-Tenant } }", as_tenant as fn(usize) -> Request),
        ("{ hash: principal }", |number| Request::get("/").header("X-Caller", &format!("caller-{number}"))),
        ("{ hash: key }", |number| Request::keyed("/", &format!("secret-{number}"), "")),
    ] {
        // Each has a ledger of its own, so nobody's answer is another's.
        let config = || before(&numbers, port, balance, "timeout: 9s, idempotency: { required: false, status: none }");
        let one = answered(&Proxy::start(config()).await, (0..40).map(request)).await;
        // The endpoints in another order are the same endpoints.
        let config = || before(&[5, 3, 2, 4], port, balance, "timeout: 9s, idempotency: { status: none }");
        let other = Proxy::start(config()).await;
        assert_eq!(answered(&other, (0..40).map(request)).await, one, "{balance}");
        assert_eq!(counted(&one).len(), 4, "{balance}: {one:?}");
        assert!(!other.log().contains("secret-"), "a key is in no log");
        // Without what would hold them together, each is used.
        let without = answered(&other, (0..60).map(|_| Request::get("/"))).await;
        assert_eq!(counted(&without).len(), 4, "{balance}: {without:?}");
    }
}

#[tokio::test]
async fn only_what_belonged_to_an_address_that_left_moves() {
    let (port, _) = services(&[2, 3, 4, 5]).await;
    let zone = Zone::default();
    zone.say(&[2, 3, 4, 5]);
    let server = zone.serve().await;
    let more = format!("resolve: {{ servers: ['{server}'] }}, balance: {{ hash: {{ header: X-Tenant }} }}");
    let config = Config::new()
        .upstream_at("app", &format!("http://orders.test:{port}"), &more)
        .policy("p", "timeout: 9s")
        .route("path: /**", "app", "p");
    let proxy = Proxy::start(config).await;
    let tenants = || (0..40).map(as_tenant);
    // While a name becomes known, or changes, nobody can tell one from the other: what counts is what stays.
    let spread_over = async |addresses: usize| {
        eventually("each has its address", || async {
            let all = answered(&proxy, tenants()).await;
            (counted(&all).len() == addresses && answered(&proxy, tenants()).await == all).then_some(all)
        })
        .await
    };
    let with_all = spread_over(4).await;
    zone.say(&[2, 4, 5]);
    let with_three = spread_over(3).await;
    for (before, after) in with_all.iter().zip(&with_three) {
        assert!(before == after || before == "3", "{before} became {after}");
    }
}

#[tokio::test]
async fn an_endpoint_with_an_open_breaker_is_passed_over_and_a_retry_goes_elsewhere() {
    let numbers = [2, 3, UNWELL];
    let (port, counts) = services(&numbers).await;
    let hash = "{ hash: { header: X-Tenant } }";
    let retry = "timeout: 9s, retry: { max_retries: 1, budget: none, backoff: { base: 1ms } }";
    let retrying = Proxy::start(before(&numbers, port, hash, retry)).await;
    let first = answered(&retrying, (0..30).map(as_tenant)).await;
    assert_eq!(counted(&first).len(), 2, "{first:?}");
    assert!(counts.lock()[&UNWELL].0 > 3, "some belong to it");
    // Those go where they would if it were not there, again and again.
    assert_eq!(answered(&retrying, (0..30).map(as_tenant)).await, first);
    let breaker = "timeout: 9s, circuit_breaker: { consecutive_errors: 1, open_duration: 1h, scope: endpoint }";
    let proxy = Proxy::start(before(&numbers, port, hash, breaker)).await;
    let mut client = proxy.connect().await;
    for number in 0..30 {
        // The first of those that belong to it finds out.
        client.call(&as_tenant(number)).await;
    }
    let before = counts.lock()[&UNWELL];
    assert_eq!(answered(&proxy, (0..30).map(as_tenant)).await, first);
    assert_eq!(counts.lock()[&UNWELL], before);
}

#[tokio::test]
async fn one_key_that_everybody_asks_for_is_no_burden_of_one_endpoint() {
    let gate = Gate::new();
    let mut services = Vec::new();
    for _ in 0..3 {
        let held = gate.clone();
        let steps = move |_: &Seen| [vec![Step::Body, Step::Gate(held.clone())], Answer::ok("ok").steps()].concat();
        services.push(Upstream::start(steps).await);
    }
    let endpoints: Vec<_> = services.iter().map(|service| service.addr).collect();
    let config = Config::new()
        .endpoints("app", &endpoints, "balance: { hash: { header: X-Tenant } }")
        .policy("p", "timeout: 1m")
        .route("path: /**", "app", "p")
        .top("limits: { workers: 1 }");
    let proxy = Proxy::start(config).await;
    let mut callers = JoinSet::new();
    for _ in 0..24 {
        let mut client = proxy.connect().await;
        callers.spawn(async move { client.call(&as_tenant(1)).await.expect_upstream(200).text() });
    }
    eventually("all are in flight", || async {
        (services.iter().map(Upstream::count).sum::<usize>() == 24).then_some(())
    })
    .await;
    let had: Vec<_> = services.iter().map(Upstream::count).collect();
    // Less than 1.25 times its third of what is in flight, and two.
    assert!(had.iter().all(|had| *had < 12), "{had:?}");
    gate.open();
    assert!(callers.join_all().await.iter().all(|text| text == "ok"));
}

#[tokio::test]
async fn an_address_that_came_gets_little_until_it_is_warm_and_those_of_the_start_all_of_theirs() {
    let (port, _) = services(&[2, 3, 4]).await;
    let zone = Zone::default();
    zone.say(&[2, 3]);
    let server = zone.serve().await;
    for (slow_start, least, most) in [("1h", 1, 60), ("0s", 250, 500)] {
        zone.say(&[2, 3]);
        let more = format!("resolve: {{ servers: ['{server}'] }}, slow_start: {slow_start}");
        let config = Config::new()
            .upstream_at("app", &format!("http://orders.test:{port}"), &more)
            .policy("p", "timeout: 9s")
            .route("path: /**", "app", "p");
        let proxy = Proxy::start(config).await;
        let plain = |count: usize| (0..count).map(|_| Request::get("/"));
        eventually("both are used", || async {
            let all = answered(&proxy, plain(20)).await;
            (counted(&all).len() == 2).then_some(())
        })
        .await;
        let all = answered(&proxy, plain(1000)).await;
        assert!(counted(&all).values().all(|had| (400..600).contains(had)), "{:?}", counted(&all));
        zone.say(&[2, 3, 4]);
        eventually("the third one is used", || async {
            let all = answered(&proxy, plain(50)).await;
            counted(&all).contains_key("4").then_some(())
        })
        .await;
        let all = answered(&proxy, plain(1000)).await;
        let had = counted(&all).get("4").copied().unwrap_or_default();
        assert!((least..most).contains(&had), "{slow_start}: {:?}", counted(&all));
    }
}

#[tokio::test]
async fn an_endpoint_that_a_reload_adds_gets_little_until_it_is_warm_and_stays_so_over_the_next_one() {
    let (port, _) = services(&[2, 3, 4]).await;
    for (slow_start, least, most) in [("1h", 1, 60), ("0s", 250, 500)] {
        let with = |numbers: &[u8], timeout: &str| {
            let all: Vec<_> = numbers.iter().map(|number| SocketAddr::from(([127, 0, 0, *number], port))).collect();
            let more = format!("slow_start: {slow_start}, connect_timeout: {timeout}");
            Config::new().endpoints("app", &all, &more).policy("p", "timeout: 9s").route("path: /**", "app", "p")
        };
        let plain = |count: usize| (0..count).map(|_| Request::get("/"));
        let mut proxy = Proxy::start(with(&[2, 3], "1s")).await;
        let all = answered(&proxy, plain(1000)).await;
        assert!(counted(&all).values().all(|had| (400..600).contains(had)), "{:?}", counted(&all));
        // The second reload changes the upstream, and brings no endpoint.
        for timeout in ["1s", "2s"] {
            let loaded = proxy.metric("mainstay_config_reloads_total", &[("result", "success")]).await;
            let mut next = with(&[2, 3, 4], timeout);
            (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
            proxy.reload(next);
            eventually("it is loaded", || async {
                let now = proxy.metric("mainstay_config_reloads_total", &[("result", "success")]).await;
                (now > loaded).then_some(())
            })
            .await;
            eventually("the third one is used", || async {
                let all = answered(&proxy, plain(50)).await;
                counted(&all).contains_key("4").then_some(())
            })
            .await;
            let all = answered(&proxy, plain(1000)).await;
            let had = counted(&all).get("4").copied().unwrap_or_default();
            assert!((least..most).contains(&had), "{slow_start}: {:?}", counted(&all));
        }
    }
}
