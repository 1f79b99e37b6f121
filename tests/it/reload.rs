//! Reload and shutdown.

use std::{
    os::unix::fs::symlink,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary},
};

async fn two() -> (Upstream, Upstream) {
    (Upstream::answering(Answer::ok("old")).await, Upstream::answering(Answer::ok("new")).await)
}

/// The same addresses, another upstream or policy.
fn like(proxy: &Proxy, upstream: &Upstream, policy: &str) -> Config {
    let mut config = Config::single(upstream.addr, policy);
    (config.data, config.probes) = (proxy.config.data, proxy.config.probes);
    config
}

async fn answers(proxy: &Proxy, expected: &str) {
    eventually(&format!("the answer is {expected}"), || async {
        (proxy.get("/").await.text() == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sighup_brings_the_new_file_into_effect() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    answers(&proxy, "old").await;
    let next = like(&proxy, &new, "timeout: 5s");
    proxy.reload(next);
    answers(&proxy, "new").await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_a_signal() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    let next = like(&proxy, &new, "timeout: 5s");
    proxy.rewrite(next);
    answers(&proxy, "new").await;
}

#[tokio::test]
async fn the_swap_of_a_config_map_is_noticed() {
    let (old, new) = two().await;
    let dir = TempDir::new();
    let config = Config::single(old.addr, "timeout: 5s");
    let version = |name: &str, config: &Config| {
        std::fs::create_dir(dir.join(name)).unwrap();
        std::fs::write(dir.join(name).join("mainstay.yaml"), config.render()).unwrap();
    };
    version("..v1", &config);
    symlink("..v1", dir.join("..data")).unwrap();
    symlink("..data/mainstay.yaml", dir.join("mainstay.yaml")).unwrap();
    let mut child = tokio::process::Command::new(binary())
        .arg("-c")
        .arg(dir.join("mainstay.yaml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let text = |expected: &'static str| async move {
        eventually(&format!("the answer is {expected}"), || async {
            tokio::net::TcpStream::connect(config.data).await.ok()?;
            (Request::get("/").send(config.data).await.text() == expected).then_some(())
        })
        .await;
    };
    text("old").await;
    let mut next = Config::single(new.addr, "timeout: 5s");
    (next.data, next.probes) = (config.data, config.probes);
    version("..v2", &next);
    symlink("..v2", dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    text("new").await;
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_one_stays() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    for bad in ["routes: [", "listeners: {}\nnonsense: 1\n", ""] {
        proxy.rewrite_text(bad);
        proxy.signal("HUP");
        eventually("the failed reload shows", || async {
            (proxy.metric("mainstay_config_last_reload_successful", &[]).await == Some(0.0)).then_some(())
        })
        .await;
        assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "old");
        assert_eq!(proxy.ready().await, Some(200), "still ready");
        let good = like(&proxy, &old, "timeout: 5s");
        proxy.reload(good);
        eventually("a good reload shows", || async {
            (proxy.metric("mainstay_config_last_reload_successful", &[]).await == Some(1.0)).then_some(())
        })
        .await;
    }
    assert!(proxy.log().contains("nonsense"), "the log names the mistake: {}", proxy.log());
    let next = like(&proxy, &new, "timeout: 5s");
    proxy.reload(next);
    answers(&proxy, "new").await;
    assert!(proxy.runs());
}

#[tokio::test]
async fn a_reload_under_load_drops_no_request() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, addr) = (Arc::clone(&stop), Arc::clone(&served), proxy.addr);
            tokio::spawn(async move {
                let mut client = Client::connect(addr).await;
                while !stop.load(Ordering::Relaxed) {
                    client.call(&Request::post("/", "x")).await.expect_upstream(200);
                    // Every other request comes over a connection of its own.
                    Request::get("/").send(addr).await.expect_upstream(200);
                    served.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..20 {
        let (upstream, name) = if n % 2 == 0 { (&new, "new") } else { (&old, "old") };
        let next = like(&proxy, upstream, &format!("timeout: {}s", 5 + n));
        proxy.reload(next);
        answers(&proxy, name).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request failed");
    }
    assert!(served.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn a_request_keeps_the_configuration_it_began_with() {
    let gate = Gate::new();
    let held = gate.clone();
    let old = Upstream::start(move |seen| match seen.index {
        0 => Answer::ok("old").behind(&held),
        _ => Answer::ok("old").steps(),
    })
    .await;
    let new = Upstream::answering(Answer::ok("new")).await;
    let mut proxy = Proxy::single(old.addr, "timeout: 9s").await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    old.wait_requests(1).await;
    let next = like(&proxy, &new, "timeout: 1s");
    proxy.reload(next);
    answers(&proxy, "new").await;
    gate.open();
    assert_eq!(client.reply().await.expect_upstream(200).text(), "old");
}

#[tokio::test]
async fn breaker_and_limiter_state_of_an_unchanged_policy_survives() {
    let failing = Upstream::answering(Answer::status(500)).await;
    let fine = Upstream::answering(Answer::ok("ok")).await;
    let config = |marker: &str| {
        Config::new()
            .upstream("bad", failing.addr, "")
            .upstream("good", fine.addr, "")
            .policy("breaker", "circuit_breaker: { consecutive_errors: 2, open_duration: 10m }")
            .policy("limit", "rate_limit: { requests: 2, unit: 10m }")
            .policy("other", marker)
            .route("path: /breaker", "bad", "breaker")
            .route("path: /limit", "good", "limit")
            .route("path: /marker", "good", "other")
    };
    let mut proxy = Proxy::start(config("timeout: 5s")).await;
    for _ in 0..2 {
        proxy.get("/breaker").await.expect_upstream(500);
        proxy.get("/limit").await.expect_upstream(200);
    }
    let mut next = config("rate_limit: { requests: 1, unit: 10m }");
    (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
    proxy.reload(next);
    eventually("the reload is in effect", || async { (proxy.get("/marker").await.status == 429).then_some(()) }).await;
    proxy.get("/breaker").await.expect_problem(503, "circuit-open");
    proxy.get("/limit").await.expect_problem(429, "rate-limited");
}

#[tokio::test]
async fn operations_survive_a_reload() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "idempotency: { required: false }").await;
    let first = proxy.send(Request::keyed("/", "k", "x")).await;
    let next = like(&proxy, &new, "timeout: 3s, idempotency: { required: false }");
    proxy.reload(next);
    answers(&proxy, "new").await;
    let repeat = proxy.send(Request::keyed("/", "k", "x")).await;
    assert_eq!((repeat.text().as_str(), repeat.header("idempotent-replayed")), ("old", Some("true")));
    assert_eq!(repeat.operation(), first.operation());
}

#[tokio::test]
async fn a_listener_can_move_without_a_restart() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    let before = proxy.addr;
    let mut next = like(&proxy, &new, "timeout: 5s");
    next.data = free_addr();
    proxy.reload(next);
    eventually("the new address answers", || async { tokio::net::TcpStream::connect(proxy.addr).await.ok() }).await;
    answers(&proxy, "new").await;
    eventually("the old address is closed", || async {
        tokio::net::TcpStream::connect(before).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_reloads_leak_nothing() {
    let (old, new) = two().await;
    let mut proxy = Proxy::single(old.addr, "timeout: 5s").await;
    let mut measured = None;
    for n in 0..60 {
        let (upstream, name) = if n % 2 == 0 { (&new, "new") } else { (&old, "old") };
        let next = like(&proxy, upstream, "timeout: 5s");
        proxy.reload(next);
        answers(&proxy, name).await;
        if n == 19 {
            measured = Some((proxy.rss(), proxy.fds(), proxy.threads()));
        }
    }
    let (rss, fds, threads) = measured.unwrap();
    assert!(proxy.rss() < rss + 4 * 1024 * 1024, "{rss} bytes, then {}", proxy.rss());
    assert!(proxy.fds() <= fds + 8, "{fds} descriptors, then {}", proxy.fds());
    // Files are read on threads of a pool that may still grow by one or two.
    assert!(proxy.threads() <= threads + 2, "{threads} threads, then {}", proxy.threads());
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::ok("finished").behind(&held)).await;
    let config = Config::single(upstream.addr, "timeout: 9s").top("drain: { delay: 300ms, timeout: 8s }");
    let mut proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.write(&Request::post("/", "x").bytes()).await;
    upstream.wait_requests(1).await;
    proxy.signal("TERM");
    eventually("readiness fails", || async { (proxy.ready().await != Some(200)).then_some(()) }).await;
    eventually("accepting ends", || async { tokio::net::TcpStream::connect(proxy.addr).await.is_err().then_some(()) })
        .await;
    assert!(proxy.runs(), "a request is still in flight");
    gate.open();
    assert_eq!(client.reply().await.expect_upstream(200).text(), "finished");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn new_connections_are_served_during_the_drain_delay() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("drain: { delay: 2s, timeout: 5s }");
    let mut proxy = Proxy::start(config).await;
    proxy.signal("TERM");
    eventually("readiness fails", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
    assert_eq!(proxy.probe("/livez").await.status, 200);
    proxy.get("/").await.expect_upstream(200);
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_the_exit_back() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let config = Config::single(upstream.addr, "timeout: 60s").top("drain: { delay: 0s, timeout: 500ms }");
    let mut proxy = Proxy::start(config).await;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/").bytes()).await;
    upstream.wait_requests(1).await;
    proxy.terminate().await;
}

#[tokio::test]
async fn who_still_waits_at_the_end_of_a_drain_is_told_that_nothing_was_sent() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Stall]).await;
    let policy = "timeout: 60s, concurrency_limit: { max_concurrent: 1, max_wait: 60s, max_queue: 9 }";
    let config = Config::single(upstream.addr, policy).top("drain: { delay: 0s, timeout: 500ms }");
    let mut proxy = Proxy::start(config).await;
    let (mut served, mut waiting) = (proxy.connect().await, proxy.connect().await);
    served.write(&Request::post("/", "x").bytes()).await;
    upstream.wait_requests(1).await;
    waiting.write(&Request::post("/", "x").bytes()).await;
    eventually("it waits", || async {
        (proxy.metric("mainstay_connections_open", &[]).await == Some(2.0)).then_some(())
    })
    .await;
    proxy.signal("TERM");
    let reply = waiting.reply().await;
    assert_eq!(reply.expect_problem(503, "draining")["effect"], "none");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("connection"), Some("close"));
    proxy.ended().await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_exit_back() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("drain: { delay: 0s, timeout: 60s }");
    let mut proxy = Proxy::start(config).await;
    let mut used = proxy.connect().await;
    used.call(&Request::get("/")).await.expect_upstream(200);
    let _fresh = proxy.connect().await;
    assert_eq!(proxy.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_write_whose_client_left_is_finished_before_the_exit() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let config = Config::single(upstream.addr, "timeout: 9s, idempotency: { required: true }");
    let mut proxy = Proxy::start(config.top("drain: { delay: 0s, timeout: 8s }")).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    client.reset();
    proxy.signal("TERM");
    eventually("accepting ends", || async { tokio::net::TcpStream::connect(proxy.addr).await.is_err().then_some(()) })
        .await;
    assert!(proxy.runs(), "a write is still in flight");
    assert_eq!(upstream.log().peer_closed, 0, "the write was cut off");
    gate.open();
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert_eq!(upstream.effects("k"), 1);
}
