//! Who is calling, as the proxies of meshes and ingresses say it: the recipes of docs/howto/kubernetes.md, as they stand there.

use std::net::{IpAddr, Ipv4Addr};

use mainstay_tests::{client::Client, prelude::*};

const PAGE: &str = include_str!("../../docs/howto/kubernetes.md");
const KEYED: &str = "timeout: 5s, idempotency: { required: true, principal: required }";
/// Where Istio's sidecar calls its own service from.
const ISTIO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The setting of the page that reads that header.
fn recipe(header: &str) -> String {
    let lines = PAGE.lines().map(str::trim).filter(|line| line.starts_with("principal: {") && line.contains(header));
    let found: Vec<_> = lines.collect();
    assert_eq!(found.len(), 1, "{header}: {found:?}");
    found[0].split(" #").next().expect("a line has a beginning").trim().to_owned()
}

async fn started(upstream: &Upstream, principal: &str) -> Proxy {
    Proxy::start(Config::single(upstream.addr, KEYED).listener(principal)).await
}

async fn made() -> Upstream {
    Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await
}

/// A write under one key from that address, with such lines of the header.
async fn write(proxy: &Proxy, from: IpAddr, header: &str, lines: &[&str]) -> Reply {
    let request = lines.iter().fold(Request::keyed("/pay", "k", "x"), |request, line| request.header(header, line));
    Client::connect_from(from, proxy.addr).await.call(&request).await
}

/// Whoever is not to be believed is nobody, and what it said of itself reaches nobody.
async fn expect_stripped(proxy: &Proxy, upstream: &Upstream, from: IpAddr, header: &str, line: &str) {
    write(proxy, from, header, &[line]).await.expect_problem(401, "principal-missing");
    let before = upstream.count();
    let read = Request::get("/").header(header, line).header(header, line);
    Client::connect_from(from, proxy.addr).await.call(&read).await.expect_upstream(201);
    assert_eq!(upstream.count(), before + 1);
    assert_eq!(upstream.requests()[before].header(header), None, "{line}");
}

/// Two callers, each with a key of its own that has the same text.
async fn expect_told_apart(proxy: &Proxy, upstream: &Upstream, from: IpAddr, header: &str, (ann, bob): (&str, &str)) {
    let before = upstream.count();
    let first = write(proxy, from, header, &[ann]).await;
    first.expect_upstream(201);
    write(proxy, from, header, &[bob]).await.expect_upstream(201);
    let again = write(proxy, from, header, &[ann]).await;
    assert_eq!((again.header("idempotent-replayed"), again.text()), (Some("true"), first.text()));
    assert_eq!(upstream.count(), before + 2, "one effect for each");
    assert_eq!(upstream.requests()[before].headers(header), [ann], "the service is told, too");
}

#[tokio::test]
async fn behind_linkerd_the_caller_is_who_its_proxy_in_the_pod_says() {
    let (upstream, header) = (made().await, "l5d-client-id");
    let recipe = recipe(header);
    let proxy = started(&upstream, &recipe).await;
    let name = |account: &str| format!("{account}.shop.serviceaccount.identity.linkerd.cluster.local");
    expect_told_apart(&proxy, &upstream, LOCAL, header, (&name("ann"), &name("bob"))).await;
    write(&proxy, LOCAL, header, &[]).await.expect_problem(401, "principal-missing");
    write(&proxy, LOCAL, header, &[""]).await.expect_problem(401, "principal-missing");
    // The same from elsewhere: the pod's own network stands for another machine.
    let elsewhere = started(&upstream, &recipe.replace("[local]", "[192.0.2.0/24]")).await;
    expect_stripped(&elsewhere, &upstream, LOCAL, header, &name("ann")).await;
}

#[tokio::test]
async fn behind_istio_the_caller_is_who_its_sidecar_says_and_no_process_beside_it() {
    let (upstream, header) = (made().await, "x-forwarded-client-cert");
    let proxy = started(&upstream, &recipe(header)).await;
    let shown = |account: &str| {
        format!(
            "By=spiffe://cluster.local/ns/pay/sa/pay;Hash=468ed3;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/{account}"
        )
    };
    expect_told_apart(&proxy, &upstream, ISTIO, header, (&shown("ann"), &shown("bob"))).await;
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
    for from in [LOCAL, other] {
        expect_stripped(&proxy, &upstream, from, header, &shown("ann")).await;
    }
    // The nearest proxy's word counts, behind those of others.
    let again = write(&proxy, ISTIO, header, &[&format!("{},{}", shown("bob"), shown("ann"))]).await;
    assert_eq!((again.header("idempotent-replayed"), again.text()), (Some("true"), "made 0".into()));
}

#[tokio::test]
async fn nobody_becomes_somebody_by_what_it_puts_before_the_sidecars_word() {
    let (upstream, header) = (made().await, "x-forwarded-client-cert");
    let proxy = started(&upstream, &recipe(header)).await;
    let (ann, eve) = ("spiffe://cluster.local/ns/shop/sa/ann", "spiffe://cluster.local/ns/shop/sa/eve");
    write(&proxy, ISTIO, header, &[&format!("Hash=1;URI={ann}")]).await.expect_upstream(201);
    let nearest = format!("By=spiffe://us;Hash=2;Subject=\"CN=eve,O=\\\"quoted\\\"\";URI={eve}");
    let as_eve = write(&proxy, ISTIO, header, &[&nearest]).await;
    as_eve.expect_upstream(201);
    assert_eq!(upstream.count(), 2);
    let puts_before = |before: &str| format!("{before},{nearest}");
    for line in [
        puts_before(&format!("URI={ann}")),
        puts_before(&format!("Subject=\"a,b;URI={ann}\";URI={ann}")),
        puts_before(&format!("Subject=\"\\\"\\\\\";URI={ann}")),
        puts_before(",;,=,"),
    ] {
        let again = write(&proxy, ISTIO, header, &[&line]).await;
        assert_eq!((again.status, again.text()), (201, as_eve.text()), "{line}");
    }
    // What cannot be read for sure is nobody's.
    for line in [
        puts_before(&format!("URI={ann};Subject=\"")),
        puts_before(&format!("URI={ann};Subject=\"\\\"")),
        puts_before(&format!("URI=\"{ann}")),
        puts_before(&format!("URI={ann};X=\"\\")),
        puts_before("\""),
        format!("{nearest};URI={ann}"),
        format!("{nearest},URI="),
        format!("{nearest},URI=\"\""),
        format!("{nearest},Hash=3"),
        format!("{nearest},"),
        format!("Subject=\"URI={ann}\""),
        format!("URI={ann}\""),
    ] {
        write(&proxy, ISTIO, header, &[&line]).await.expect_problem(401, "principal-missing");
    }
    assert_eq!(upstream.count(), 2, "nobody had an effect");
}

#[tokio::test]
async fn behind_an_ingress_the_caller_is_whom_its_network_names() {
    let (upstream, header) = (made().await, "X-Auth-Request-User");
    let recipe = recipe(header);
    assert!(recipe.contains("10.244.8.0/24"), "{recipe}");
    let proxy = started(&upstream, &recipe.replace("10.244.8.0/24", "127.8.0.0/16")).await;
    let ingress = IpAddr::V4(Ipv4Addr::new(127, 8, 3, 1));
    expect_told_apart(&proxy, &upstream, ingress, header, ("ann", "bob")).await;
    for from in [LOCAL, IpAddr::V4(Ipv4Addr::new(127, 9, 0, 1))] {
        expect_stripped(&proxy, &upstream, from, header, "ann").await;
    }
}

#[tokio::test]
async fn what_names_a_caller_twice_is_refused_from_whom_it_counts() {
    for (header, from) in [("l5d-client-id", LOCAL), ("x-forwarded-client-cert", ISTIO)] {
        let upstream = made().await;
        let proxy = started(&upstream, &recipe(header)).await;
        let twice = write(&proxy, from, header, &["URI=spiffe://x/ann", "URI=spiffe://x/eve"]).await;
        twice.expect_problem(400, "bad-request");
        assert_eq!(upstream.count(), 0, "{header}");
    }
}

#[tokio::test]
async fn what_looks_like_a_fronts_word_names_the_caller_where_it_is_to() {
    let upstream = made().await;
    let principal = "principal: { header: X-Forwarded-User, from: [127.8.0.0/16] }";
    let proxy = started(&upstream, principal).await;
    let front = IpAddr::V4(Ipv4Addr::new(127, 8, 0, 1));
    expect_told_apart(&proxy, &upstream, front, "x-forwarded-user", ("ann", "bob")).await;
    expect_stripped(&proxy, &upstream, LOCAL, "x-forwarded-user", "ann").await;
    // Its other words of whom it forwards for are not believed by that.
    let before = upstream.count();
    let read = Request::get("/").header("X-Forwarded-User", "ann").header("X-Forwarded-Host", "elsewhere");
    Client::connect_from(front, proxy.addr).await.call(&read).await.expect_upstream(201);
    let seen = &upstream.requests()[before];
    assert_eq!((seen.header("x-forwarded-user"), seen.headers("x-forwarded-host")), (Some("ann"), vec!["app.test"]));
}
