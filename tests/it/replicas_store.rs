//! What replicas do when their store is away, forgets, or was never there; what they tell of it; and what people have done about
//! one of them.

use mainstay_tests::{postgres::Postgres, prelude::*};

use super::replicas::{asking, pair, replica};

async fn making() -> Upstream {
    Upstream::start(|_| Answer::status(201).body("made").steps()).await
}

fn pay(key: &str) -> Request {
    Request::keyed("/pay", key, "x")
}

/// The keyed write is taken in the end.
async fn taken(proxy: &Proxy, key: &str) {
    eventually(&format!("{key} is taken"), || async { (proxy.send(pay(key)).await.status == 201).then_some(()) }).await;
}

/// The first keyed write that is refused, each under a key of its own, and its answer.
async fn refused(proxy: &Proxy, name: &str) -> (String, Reply) {
    let tried = std::cell::Cell::new(0);
    eventually("one is refused", || {
        let key = format!("{name}-{}", tried.replace(tried.get() + 1));
        async move {
            let reply = proxy.send(pay(&key)).await;
            (reply.status == 503).then_some((key, reply))
        }
    })
    .await
}

#[tokio::test]
async fn a_store_that_is_down_at_the_start_stops_nothing_but_keyed_writes() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = making().await;
    server.stop();
    let config = replica(&server, &[upstream.addr], &asking(""), "");
    let proxy = Proxy::start_slowly(config).await;
    assert_eq!(proxy.get("/anything").await.status, 201, "reads flow");
    let refused = proxy.send(pay("k")).await.expect_problem(503, "ledger-unavailable");
    assert_eq!((&refused["effect"], upstream.effects("k")), (&"none".into(), 0));
    server.restart();
    taken(&proxy, "k").await;
    assert_eq!((proxy.send(pay("k")).await.text(), upstream.effects("k")), ("made".to_owned(), 1));
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended = 0"), "1");
}

#[tokio::test]
async fn what_a_store_of_another_service_says_is_said_and_nothing_is_written_there() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = making().await;
    let owner = Proxy::start(replica(&server, &[upstream.addr], &asking(""), "")).await;
    drop(owner);
    let foreign = || {
        let ledger = format!("store: postgres, url: \"{}\", service: invoices", server.url());
        replica(&server, &[upstream.addr], &asking(""), "").ledger(&ledger)
    };
    // Found at the start: it does not start. Found later: it serves on, without keyed writes.
    let config = foreign();
    let Err(log) = Proxy::launch(config.clone(), &mainstay_tests::proxy::Launch::default()).await else {
        panic!("it started")
    };
    assert!(log.contains("belongs to the service `payments`"), "{log}");
    server.stop();
    let proxy = Proxy::start_slowly(config).await;
    server.restart();
    eventually("it says so", || async { proxy.log().contains("belongs to the service `payments`").then_some(()) })
        .await;
    proxy.send(pay("k")).await.expect_problem(503, "ledger-unavailable");
    assert_eq!((proxy.get("/anything").await.status, upstream.effects("k")), (201, 0));
}

#[tokio::test]
async fn a_store_that_was_restored_from_an_older_copy_is_told_again_what_it_had_acknowledged() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = making().await;
    let one = Proxy::start(replica(&server, &[upstream.addr], &asking(""), "")).await;
    taken(&one, "before").await;
    server.stop();
    server.backup();
    server.restart();
    // Of this one the copy does not even know that it lives.
    let other = Proxy::start(replica(&server, &[upstream.addr], &asking(""), "")).await;
    for (proxy, key) in [(&one, "one"), (&other, "other")] {
        taken(proxy, key).await;
    }
    let addresses =
        [(&other, one.send(pay("one")).await.operation()), (&one, other.send(pay("other")).await.operation())];
    server.stop();
    server.restore();
    server.restart();
    // Whoever asks one that did not write it is told to ask again, and never that there is no such operation.
    for (asked, id) in addresses {
        eventually("it is known again", || async {
            let status = asked.get(&format!("/_mainstay/operations/{id}")).await.status;
            assert!(matches!(status, 200 | 503), "{status}");
            (status == 200).then_some(())
        })
        .await;
    }
    for proxy in [&one, &other] {
        eventually("it notices", || async {
            (proxy.metric("mainstay_ledger_lost_total", &[]).await >= Some(1.0)).then_some(())
        })
        .await;
        // The log is written beside what it tells of.
        eventually("it says so", || async {
            proxy.log().contains("has forgotten what it had acknowledged").then_some(())
        })
        .await;
    }
    eventually("both are on record again", || async {
        (server.sql("SELECT count(*) FROM mainstay.op WHERE state = 1 AND held") == "3").then_some(())
    })
    .await;
    // Whoever begins now finds them, wherever they were begun.
    for proxy in [&one, &other] {
        for key in ["before", "one", "other"] {
            taken(proxy, key).await;
            assert_eq!(upstream.effects(key), 1, "{key}");
        }
        taken(proxy, "after").await;
    }
    assert_eq!(upstream.effects("after"), 1);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_refused_and_gone_on_with_when_it_does() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let proxy = Proxy::start(replica(&server, &[upstream.addr], &asking(""), "")).await;
    taken(&proxy, "before").await;
    server.set("default_transaction_read_only", Some("on"));
    // A key each: what is taken before it is noticed would be replayed.
    refused(&proxy, "noticed").await;
    let refused = proxy.send(pay("during")).await.expect_problem(503, "ledger-unavailable");
    assert_eq!((&refused["effect"], upstream.effects("during")), (&"none".into(), 0));
    assert_eq!((proxy.get("/anything").await.status, proxy.ready().await), (201, Some(200)));
    server.set("default_transaction_read_only", None);
    taken(&proxy, "during").await;
    assert_eq!(upstream.effects("during"), 1);
}

/// A store that stands still: nothing is begun, and what is in flight is told as it is.
#[tokio::test]
async fn when_the_lease_has_lapsed_nothing_is_sent_and_an_answer_under_way_is_kept() {
    let Some(server) = Postgres::start() else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/pay" => Answer::status(201).body("made").behind(&held),
        _ => Answer::status(200).steps(),
    })
    .await;
    let proxy = Proxy::start(replica(&server, &[upstream.addr], &asking(""), ", timeouts: { settle: 300ms }")).await;
    let addr = proxy.addr;
    let first = tokio::spawn(async move { pay("k").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("k") == 1).then_some(()) }).await;
    server.signal("STOP");
    eventually("the lease has lapsed", || async {
        (proxy.metric("mainstay_ledger_lease_seconds", &[]).await == Some(0.0)).then_some(())
    })
    .await;
    let refused = proxy.send(pay("other")).await.expect_problem(503, "ledger-unavailable");
    assert_eq!((&refused["effect"], upstream.effects("other")), (&"none".into(), 0));
    assert_eq!((proxy.get("/anything").await.status, proxy.ready().await), (200, Some(200)));
    gate.open();
    let told = within("its client is told", first).await.unwrap();
    told.expect_problem(502, "outcome-unknown");
    assert_eq!(proxy.metric("mainstay_ledger_unrecorded", &[]).await, Some(1.0));
    server.signal("CONT");
    assert_eq!(proxy.operation_in(&told.operation(), "succeeded").await["attempts"], 1);
    assert_eq!((proxy.send(pay("k")).await.text(), upstream.effects("k")), ("made".to_owned(), 1));
}

/// Somebody's unfinished transaction holds everything up: it is waited for, a second at most.
#[tokio::test]
async fn a_slow_store_is_waited_for_and_then_refused_with_a_time_to_come_again() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let long = ", timeouts: { answer: 3s }";
    let proxy = Proxy::start(replica(&server, &[upstream.addr], &asking(""), long)).await;
    taken(&proxy, "before").await;
    let holder = server.client("BEGIN; LOCK TABLE mainstay.op IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)");
    let (key, refused) = refused(&proxy, "during").await;
    refused.expect_problem(503, "ledger-unavailable");
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok_and(|wait| wait >= 1)));
    assert_eq!(proxy.ready().await, Some(200));
    drop(holder);
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()");
    taken(&proxy, &key).await;
    assert_eq!(upstream.effects(&key), 1);
}

#[tokio::test]
async fn a_replica_tells_how_its_shared_ledger_fares() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let (one, _other) = pair(&server, &upstream, &asking("")).await;
    taken(&one, "k").await;
    let value = async |name: &str, labels: &[(&str, &str)]| one.metric(&format!("mainstay_{name}"), labels).await;
    eventually("it sees the other", || async { (value("ledger_replicas", &[]).await == Some(2.0)).then_some(()) })
        .await;
    for (name, labels, expected) in [
        ("ledger_unrecorded", &[] as &[_], 0.0),
        ("ledger_queue_depth", &[], 0.0),
        ("ledger_waiters", &[], 0.0),
        ("ledger_writable", &[], 1.0),
        ("ledger_batch_operations_count", &[], 2.0),
        ("ledger_batch_operations_sum", &[], 2.0),
        ("ledger_durability", &[("level", "local")], 1.0),
        ("operations", &[("state", "pending"), ("scope", "replica")], 0.0),
        ("operations", &[("state", "unknown"), ("scope", "service")], 0.0),
    ] {
        assert_eq!(value(name, labels).await, Some(expected), "{name} {labels:?}");
    }
    assert!(value("ledger_lease_seconds", &[]).await.is_some_and(|left| left > 0.0 && left <= 0.75));
    assert!(value("ledger_beats_total", &[("result", "taken")]).await >= Some(1.0));
    assert!(value("ledger_clock_offset_seconds", &[]).await.is_some_and(|offset| offset.abs() < 1.0));
    assert_eq!(value("ledger_commit_duration_seconds_count", &[]).await, Some(2.0));
    assert_eq!(value("ledger_bytes", &[]).await, None, "of a shared one nobody measures them");
    server.sql("SELECT 1");
}

/// What is open anywhere is told by everybody, and counted by one.
#[tokio::test]
async fn what_all_replicas_have_open_is_counted_by_one_and_told_by_each() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::status(500).steps(),
    })
    .await;
    let config = || {
        let ledger = format!("store: postgres, url: \"{}\", service: payments", server.url());
        replica(&server, &[upstream.addr], &asking(""), "").ledger(&ledger)
    };
    let one = Proxy::start(config()).await;
    one.send(pay("k")).await.expect_problem(502, "outcome-unknown");
    // It is counted when a replica starts that may.
    let other = Proxy::start(config()).await;
    drop(one);
    let counted = |scope: &'static str| {
        let other = &other;
        async move { other.metric("mainstay_operations", &[("state", "unknown"), ("scope", scope)]).await }
    };
    let told = tokio::time::timeout(Duration::from_secs(40), async {
        while counted("service").await != Some(1.0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    told.await.expect("it is counted");
    assert!(server.sql("SELECT count(*) FROM mainstay.meta WHERE name = 'census'") == "1");
}

#[tokio::test]
async fn people_see_who_shares_a_ledger_and_take_one_out() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let (one, _other) = pair(&server, &upstream, &asking("")).await;
    taken(&one, "k").await;
    let file = one.file().to_string_lossy().into_owned();
    let listed = mainstay_tests::proxy::run(&["ledger", "replicas", "-c", &file]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("no") && lines[1].ends_with("lives"), "{listed}");
    let number = lines[1].split_whitespace().next().unwrap();
    let fenced = mainstay_tests::proxy::run(&["ledger", "fence", number, "--reason", "a test", "-c", &file]).await;
    assert!(fenced.status.success(), "{}", String::from_utf8_lossy(&fenced.stderr));
    assert_eq!(server.sql(&format!("SELECT ended FROM mainstay.instance WHERE no = {number}")), "2");
    assert_eq!(server.sql("SELECT action || ' ' || reason FROM mainstay.audit"), "fence a test");
    // Whoever it was goes on under another number.
    eventually("two live again", || async {
        (server.sql("SELECT count(*) FROM mainstay.instance WHERE ended = 0") == "2").then_some(())
    })
    .await;
    taken(&one, "after").await;
    let nobody = mainstay_tests::proxy::run(&["ledger", "fence", "nobody", "--reason", "x", "-c", &file]).await;
    assert!(!nobody.status.success() && String::from_utf8_lossy(&nobody.stderr).contains("nothing was done"));
}
