//! What shares one breaker, against a model that counts errors in a row: whether each request goes through, and where to.

use std::collections::HashMap;

use mainstay_tests::prelude::*;

const ERRORS: u32 = 3;

/// Two upstreams of two endpoints; which one answers is in `X-Endpoint`, and the request says with what.
struct Services(Vec<Upstream>);

impl Services {
    async fn start() -> Self {
        let mut all = Vec::new();
        for name in ["one~0", "one~1", "two~0", "two~1"] {
            all.push(
                Upstream::start(move |seen| {
                    let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(200);
                    Answer::status(status).header("X-Endpoint", name).steps()
                })
                .await,
            );
        }
        Self(all)
    }

    /// Three routes to the first upstream, of which two share a policy, and one to the second.
    async fn behind(&self, scope: &str) -> Proxy {
        let breaker = format!(
            "timeout: 5s, circuit_breaker: {{ consecutive_errors: {ERRORS}, open_duration: 10m, scope: {scope} }}"
        );
        let addrs: Vec<_> = self.0.iter().map(|upstream| upstream.addr).collect();
        let mut config = Config::new().endpoints("one", &addrs[..2], "").endpoints("two", &addrs[2..], "");
        config = config.policy("p", &breaker).policy("q", &breaker);
        for (path, upstream, policy) in ROUTES {
            config = config.route(&format!("path: {path}"), upstream, policy);
        }
        Proxy::start(config).await
    }
}

const ROUTES: [(&str, &str, &str); 4] =
    [("/a", "one", "p"), ("/b", "one", "p"), ("/c", "one", "q"), ("/d", "two", "p")];

/// The breaker that a request over a route to an endpoint is counted by.
fn breaker(scope: &str, (path, upstream, policy): (&str, &str, &str), endpoint: &str) -> String {
    match scope {
        "route" => path.to_owned(),
        "upstream" => format!("{policy}@{upstream}"),
        _ => format!("{policy}@{endpoint}"),
    }
}

async fn agrees_with_the_model(scope: &str, seed: u64) {
    let services = Services::start().await;
    let proxy = services.behind(scope).await;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut in_a_row: HashMap<String, u32> = HashMap::new();
    let mut refused = 0;
    for n in 0..120 {
        let route = ROUTES[rng.usize(..ROUTES.len())];
        let status = if rng.u8(..100) < 55 { "500" } else { "404" };
        let endpoints = [format!("{}~0", route.1), format!("{}~1", route.1)];
        let is_open = |endpoint: &str| in_a_row.get(&breaker(scope, route, endpoint)).is_some_and(|row| *row >= ERRORS);
        let reply = proxy.send(Request::get(route.0).header("X-Status", status)).await;
        if endpoints.iter().all(|endpoint| is_open(endpoint)) {
            refused += 1;
            reply.expect_problem(503, "circuit-open");
            continue;
        }
        let went_to = reply.header("x-endpoint").unwrap_or_else(|| panic!("{scope} {n}: {route:?} was refused"));
        assert!(!is_open(went_to), "{scope} {n}: {route:?} went to {went_to}, which is open");
        let row = in_a_row.entry(breaker(scope, route, went_to)).or_default();
        *row = if status == "500" { *row + 1 } else { 0 };
    }
    assert!(refused > 0, "{scope}: no breaker opened");
}

#[tokio::test]
async fn routes_of_one_policy_share_the_breaker_of_their_upstream() {
    agrees_with_the_model("upstream", 1).await;
}

#[tokio::test]
async fn each_endpoint_has_a_breaker_of_its_own() {
    agrees_with_the_model("endpoint", 2).await;
}

#[tokio::test]
async fn each_route_has_a_breaker_of_its_own() {
    agrees_with_the_model("route", 3).await;
}
