//! A listener that begins to know its callers in another way: no key that lives is lost by it, and no write is repeated.

use std::path::Path;

use mainstay_tests::{
    postgres::Postgres,
    prelude::*,
    proxy::{TempDir, run},
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true }";

fn config(upstream: &Upstream, principal: &str, ledger: &str) -> Config {
    Config::single(upstream.addr, POLICY).listener(&format!("principal: {principal}")).ledger(ledger)
}

fn on_disk(home: &TempDir) -> String {
    format!("path: \"{}\"", home.join("ledger").display())
}

/// A write of one caller, whom either header names.
fn write(key: &str) -> Request {
    Request::keyed("/pay", key, "100 EUR").header("X-Tenant", "acme").header("X-Org", "acme ltd")
}

async fn made() -> Upstream {
    Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await
}

/// Starts it, and expects that it ends as for an invalid configuration; what it wrote.
async fn refused_at_start(config: &Config, dir: &Path) -> String {
    let file = dir.join("refused.yaml");
    std::fs::write(&file, config.render()).unwrap();
    let ended = run(&["-c", file.to_str().unwrap()]).await;
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(1), "{said}");
    said
}

#[tokio::test]
async fn a_start_that_would_lose_keys_is_refused_and_cured_by_was() {
    let (home, upstream) = (TempDir::new(), made().await);
    let ledger = on_disk(&home);
    for (before, after, was, cure) in [
        (
            "{ header: X-Tenant }",
            "{ header: X-Org }",
            "{ header: X-Org, was: { header: X-Tenant } }",
            "say `principal: { header: x-org, was: { header: x-tenant } }`",
        ),
        (
            "{ header: X-Org, was: { header: X-Tenant } }",
            "anonymous",
            "{ was: [{ header: X-Tenant }, { header: X-Org }] }",
            "say `principal: { was: { header: x-",
        ),
    ] {
        let mut proxy = Proxy::start(config(&upstream, before, &ledger)).await;
        let key = format!("k{}", upstream.count());
        let first = proxy.send(write(&key)).await;
        first.expect_upstream(201);
        proxy.send(write(&format!("{key}-second"))).await.expect_upstream(201);
        let executed = upstream.count();
        assert_eq!(proxy.terminate().await.code(), Some(0));

        let said = refused_at_start(&config(&upstream, after, &ledger), &home.join("")).await;
        assert!(said.contains(" keys of listener `inbound` were kept under `header x-"), "{said}");
        assert!(said.contains("repeats of them would execute again") && said.contains(cure), "{said}");

        let mut proxy = Proxy::start(config(&upstream, was, &ledger)).await;
        let repeat = proxy.send(write(&key)).await;
        assert_eq!((repeat.status, repeat.header("idempotent-replayed")), (201, Some("true")), "{}", repeat.text());
        assert_eq!((repeat.text(), repeat.operation()), (first.text(), first.operation()));
        assert_eq!(upstream.count(), executed, "no second effect");
        // What was begun before is read by its caller, by key and by name, with what is kept of it; by nobody else.
        let id = first.operation();
        for target in [format!("?key={key}"), format!("/{id}"), format!("/{id}/result")] {
            let target = format!("/_mainstay/operations{target}");
            let as_caller = Request::get(&target).header("X-Tenant", "acme").header("X-Org", "acme ltd");
            assert!([200, 201].contains(&proxy.send(as_caller).await.status), "{target}");
            let other = Request::get(&target).header("X-Tenant", "evil").header("X-Org", "evil");
            proxy.send(other).await.expect_problem(404, "operation-not-found");
        }
        // A caller with the key of another is another.
        let other = Request::keyed("/pay", &key, "100 EUR").header("X-Tenant", "evil").header("X-Org", "evil");
        other.send(proxy.addr).await.expect_upstream(201);
        assert_eq!(upstream.count(), executed + 1);
        assert_eq!(proxy.terminate().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_key_of_nobody_stays_with_its_credentials_when_callers_are_named() {
    let (home, upstream) = (TempDir::new(), made().await);
    let ledger = on_disk(&home);
    let mut proxy = Proxy::start(config(&upstream, "anonymous", &ledger)).await;
    let write = |credentials: &str| write("k").header("Authorization", credentials);
    proxy.send(write("Bearer a")).await.expect_upstream(201);
    proxy.terminate().await;
    let said = refused_at_start(&config(&upstream, "{ header: X-Tenant }", &ledger), &home.join("")).await;
    assert!(said.contains("1 key of listener `inbound` was kept under `anonymous`"), "{said}");
    assert!(said.contains("say `principal: { header: x-tenant, was: anonymous }`"), "{said}");
    let proxy = Proxy::start(config(&upstream, "{ header: X-Tenant, was: anonymous }", &ledger)).await;
    assert_eq!(proxy.send(write("Bearer a")).await.header("idempotent-replayed"), Some("true"));
    proxy.send(write("Bearer b")).await.expect_problem(409, "caller-differs");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_reload_that_would_lose_keys_is_refused_and_cured_by_was() {
    let upstream = made().await;
    let ledger = "store: memory";
    let mut proxy = Proxy::start(config(&upstream, "{ header: X-Tenant }", ledger)).await;
    let like = |proxy: &Proxy, principal: &str| {
        let mut next = config(&upstream, principal, ledger);
        (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
        next
    };
    let taken = async |proxy: &Proxy, expected: f64| {
        eventually("the reload is told", || async {
            (proxy.metric("mainstay_config_last_reload_successful", &[]).await == Some(expected)).then_some(())
        })
        .await;
    };
    let first = proxy.send(write("k")).await;
    first.expect_upstream(201);
    let next = like(&proxy, "{ header: X-Org }");
    proxy.reload(next);
    taken(&proxy, 0.0).await;
    eventually("the log says why", || async {
        proxy.log().contains("1 key of listener `inbound` was kept under `header x-tenant`").then_some(())
    })
    .await;
    // The running configuration stays.
    let only_before = Request::keyed("/pay", "k", "100 EUR").header("X-Tenant", "acme");
    assert_eq!(proxy.send(only_before).await.header("idempotent-replayed"), Some("true"));
    let next = like(&proxy, "{ header: X-Org, was: { header: X-Tenant } }");
    proxy.reload(next);
    taken(&proxy, 1.0).await;
    let repeat = proxy.send(write("k")).await;
    assert_eq!((repeat.header("idempotent-replayed"), repeat.text()), (Some("true"), first.text()));
    assert_eq!(upstream.count(), 1);
    // What is new belongs to the new principal alone, and a change of from whom a header counts is none of how keys are made.
    let by_org = |key: &str| Request::keyed("/pay", key, "100 EUR").header("X-Org", "acme ltd");
    proxy.send(by_org("new")).await.expect_upstream(201);
    assert_eq!(proxy.send(write("new")).await.header("idempotent-replayed"), Some("true"));
    let back = like(&proxy, "{ header: X-Tenant }");
    proxy.reload(back);
    taken(&proxy, 0.0).await;
    eventually("the log says why", || async {
        proxy.log().contains("1 key of listener `inbound` was kept under `header x-org`").then_some(())
    })
    .await;
    let next = like(&proxy, "{ header: X-Org, from: [local, 192.0.2.0/24], was: { header: X-Tenant } }");
    proxy.reload(next);
    taken(&proxy, 1.0).await;
}

#[tokio::test]
async fn where_no_key_lives_a_change_is_nothing() {
    let (home, upstream) = (TempDir::new(), made().await);
    let ledger = on_disk(&home);
    for principal in ["{ header: X-Tenant }", "anonymous", "{ header: X-Org }"] {
        let mut proxy = Proxy::start(config(&upstream, principal, &ledger)).await;
        proxy.terminate().await;
    }
    // A listener that is renamed in the same change is the same.
    let mut proxy = Proxy::start(config(&upstream, "{ header: X-Org }", &ledger)).await;
    proxy.send(write("k")).await.expect_upstream(201);
    proxy.terminate().await;
    let renamed = config(&upstream, "{ header: X-Tenant }", &ledger).render().replace("  inbound:", "  public:");
    let file = home.join("renamed.yaml");
    std::fs::write(&file, renamed).unwrap();
    let ended = run(&["-c", file.to_str().unwrap()]).await;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("of listener `public`"), "{said}");
}

/// A header that used to name callers is no way to claim a key of theirs.
#[tokio::test]
async fn a_former_header_counts_only_from_those_whom_it_counted_from() {
    let upstream = made().await;
    let principal = "{ header: X-Org, was: { header: X-Tenant, from: [192.0.2.0/24] } }";
    let proxy = Proxy::start(config(&upstream, principal, "store: memory")).await;
    proxy.send(write("k")).await.expect_upstream(201);
    assert_eq!(upstream.only().header("x-tenant"), None, "taken off a stranger's request");
    let twice = write("other").header("X-Org", "acme ltd");
    proxy.send(twice).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn a_key_made_of_the_principal_is_found_under_the_former_one() {
    let (home, upstream) = (TempDir::new(), made().await);
    let policy = "idempotency: { key: { from: \"{principal}:{json:/id}\" } }";
    let config = |principal: &str| {
        let config = Config::single(upstream.addr, policy).listener(&format!("principal: {principal}"));
        config.ledger(&on_disk(&home))
    };
    let like = || {
        let request = Request::post("/like", r#"{"id":7}"#).header("Content-Type", "application/json");
        request.header("X-Tenant", "acme").header("X-Org", "acme ltd")
    };
    let mut proxy = Proxy::start(config("{ header: X-Tenant }")).await;
    proxy.send(like()).await.expect_upstream(201);
    proxy.terminate().await;
    let proxy = Proxy::start(config("{ header: X-Org, was: { header: X-Tenant } }")).await;
    assert_eq!(proxy.send(like()).await.header("idempotent-replayed"), Some("true"));
    assert_eq!(upstream.count(), 1);
}

/// Two replicas in the middle of a change: each looks where the other begins, or does not start.
#[tokio::test]
async fn replicas_change_together_or_not_at_all() {
    let Some(server) = Postgres::start() else { return };
    let upstream = made().await;
    let ledger = format!(
        "store: postgres, url: \"{}\", service: payments, lease: {{ heartbeat: 250ms, ttl: 1s }}",
        server.url()
    );
    let home = TempDir::new();
    let mut old = Proxy::start(config(&upstream, "{ header: X-Tenant }", &ledger)).await;
    old.send(write("k")).await.expect_upstream(201);
    // The old one would not find what this one begins.
    let next = config(&upstream, "{ header: X-Org, was: { header: X-Tenant } }", &ledger);
    let said = refused_at_start(&next, &home.join("")).await;
    assert!(
        said.contains("give all of them `principal: { header: x-tenant, was: { header: x-org } }` first"),
        "{said}"
    );
    let both = Proxy::start(config(&upstream, "{ header: X-Tenant, was: { header: X-Org } }", &ledger)).await;
    assert_eq!(old.terminate().await.code(), Some(0));
    let new = Proxy::start(next).await;
    for proxy in [&both, &new] {
        assert_eq!(proxy.send(write("k")).await.header("idempotent-replayed"), Some("true"));
    }
    new.send(write("new")).await.expect_upstream(201);
    assert_eq!(both.send(write("new")).await.header("idempotent-replayed"), Some("true"));
    // One key at both at once, begun here under one principal and there under the other.
    for number in 0..20 {
        let key = format!("both-{number}");
        let send = |proxy: &Proxy| {
            let (request, addr) = (write(&key), proxy.addr);
            async move { request.send(addr).await }
        };
        let (one, other) = tokio::join!(send(&both), send(&new));
        for reply in [one, other] {
            assert!(reply.status == 201 || reply.slug() == Some("in-progress"), "{} {}", reply.status, reply.text());
        }
        assert!(upstream.effects(&key) <= 1, "{key}: {}", upstream.effects(&key));
    }
}
