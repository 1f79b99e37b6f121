//! What may befall replicas and the store that they share, beside deaths and cuts: a disk without room, a standby that has gone, a
//! commit of which one machine alone knows, a history that is another one, a replica that stands still in the midst of a body.

use std::os::unix::fs::PermissionsExt;

use mainstay_tests::{
    in_the_end,
    postgres::{Postgres, give_away},
    prelude::*,
};

use super::replicas::{asking, pair, replica};

async fn making() -> Upstream {
    Upstream::start(|_| Answer::status(201).body("made").steps()).await
}

fn pay(key: &str) -> Request {
    Request::keyed("/pay", key, "x")
}

async fn taken(proxy: &Proxy, key: &str) {
    in_the_end(&format!("{key} is taken"), || async { (proxy.send(pay(key)).await.status == 201).then_some(()) }).await;
}

/// Keyed writes are refused, nothing is sent of them, and everything else goes on.
async fn refuses(proxy: &Proxy, upstream: &Upstream, key: &str) {
    let refused = proxy.send(pay(key)).await;
    let problem = refused.expect_problem(503, "ledger-unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!((&problem["effect"], upstream.effects(key)), (&"none".into(), 0));
    assert_eq!((proxy.get("/anything").await.status, proxy.ready().await), (201, Some(200)));
}

#[tokio::test]
async fn a_store_whose_disk_is_full_refuses_new_writes_and_keeps_what_became_of_others() {
    let Some(server) = Postgres::start() else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => Answer::status(201).body("made").behind(&held),
        _ => Answer::status(201).body("made").steps(),
    })
    .await;
    let proxy = Proxy::start(replica(&server, &[upstream.addr], &asking(""), ", timeouts: { settle: 300ms }")).await;
    let addr = proxy.addr;
    let first = tokio::spawn(async move { Request::keyed("/held", "held", "x").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("held") == 1).then_some(()) }).await;
    server.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END'; \
         CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON mainstay.op EXECUTE FUNCTION full_disk()",
    );
    refuses(&proxy, &upstream, "during").await;
    let counted = proxy.metric("mainstay_ledger_refused_total", &[("reason", "disk_full")]).await;
    assert!(counted >= Some(1.0), "{counted:?}");
    gate.open();
    within("its client is told", first).await.unwrap().expect_problem(502, "outcome-unknown");
    server.sql("DROP TRIGGER full_disk ON mainstay.op");
    taken(&proxy, "during").await;
    let repeat = in_the_end("what was answered is on record", || async {
        let repeat = proxy.send(Request::keyed("/held", "held", "x")).await;
        (repeat.status == 201).then_some(repeat)
    })
    .await;
    assert_eq!((repeat.text(), upstream.effects("held"), upstream.effects("during")), ("made".to_owned(), 1, 1));
}

/// Nobody answers a commit that waits for a standby which does not come.
#[tokio::test]
async fn a_store_whose_standby_has_gone_refuses_writes_until_it_is_back_and_leaves_nothing_behind() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let (one, other) = pair(&server, &upstream, &asking("")).await;
    taken(&one, "before").await;
    server.set("synchronous_standby_names", Some("nobody"));
    in_the_end("the store waits for it", || async { (one.send(pay("noticed")).await.status == 503).then_some(()) })
        .await;
    refuses(&one, &upstream, "during").await;
    assert_eq!(one.send(pay("before")).await.status, 201, "what is settled is replayed from memory");
    server.set("synchronous_standby_names", None);
    for key in ["during", "noticed"] {
        taken(&other, key).await;
        assert_eq!(upstream.effects(key), 1, "{key}");
    }
    in_the_end("nothing is left pending", || async {
        (server.sql("SELECT count(*) FROM mainstay.op WHERE state = 0") == "0").then_some(())
    })
    .await;
}

/// Who is cancelled while it waits for a standby says that it has committed, and warns that it has done so here only.
#[tokio::test]
async fn a_commit_of_which_one_machine_alone_knows_counts_as_none() {
    let Some(server) = Postgres::start() else { return };
    let upstream = making().await;
    let patient = ", timeouts: { begin: 4s, answer: 4s }, lease: { heartbeat: 5s, ttl: 60s }";
    let config = replica(&server, &[upstream.addr], &asking(""), "")
        .ledger(&format!("store: postgres, url: \"{}\", service: payments{patient}", server.url()));
    let proxy = Proxy::start(config).await;
    taken(&proxy, "before").await;
    server.set("synchronous_standby_names", Some("nobody"));
    eventually("it waits for nobody", || async {
        (server.sql("SHOW synchronous_standby_names") == "nobody").then_some(())
    })
    .await;
    let addr = proxy.addr;
    let first = tokio::spawn(async move { pay("k").send(addr).await });
    // The next commit of the same batch waits, too.
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' \
                  AND query ILIKE '%mainstay.op%'";
    let unconfirmed = async || proxy.metric("mainstay_ledger_retries_total", &[("reason", "unconfirmed")]).await;
    eventually("one is cancelled in its wait", || async {
        server.sql(cancel);
        (unconfirmed().await >= Some(1.0)).then_some(())
    })
    .await;
    let refused = within("its client is told", first).await.unwrap();
    refused.expect_problem(503, "ledger-unavailable");
    assert_eq!(upstream.effects("k"), 0, "it was on record on one machine only");
    server.set("synchronous_standby_names", None);
    taken(&proxy, "k").await;
    assert_eq!(upstream.effects("k"), 1);
}

/// A failover to a standby begins another history; what the old one had acknowledged last may not be in it.
#[tokio::test]
async fn a_store_with_another_history_is_told_what_is_known_before_anything_is_begun() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = making().await;
    let (one, other) = pair(&server, &upstream, &asking("")).await;
    taken(&one, "before").await;
    server.sql("ALTER SYSTEM SET restore_command = 'false'");
    server.stop();
    let signal = server.data().join("recovery.signal");
    std::fs::write(&signal, "").expect("write it");
    give_away(&signal);
    server.restart();
    in_the_end("it is the primary of its new history", || async {
        (server.sql("SELECT pg_is_in_recovery()") == "f").then_some(())
    })
    .await;
    for proxy in [&one, &other] {
        in_the_end("it notices", || async { proxy.log().contains("has another history").then_some(()) }).await;
        taken(proxy, "after").await;
        taken(proxy, "before").await;
    }
    assert_eq!((upstream.effects("before"), upstream.effects("after")), (1, 1));
    assert!(one.metric("mainstay_ledger_lost_total", &[]).await.unwrap_or(0.0) < 1.0, "nothing was lost");
}

/// Which may be found only when the store is there.
#[tokio::test]
async fn a_store_that_is_sealed_otherwise_or_newer_is_said_and_not_written_to() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = making().await;
    let keys = mainstay_tests::proxy::TempDir::new();
    let key = |name: &str, byte: u8| {
        let file = keys.join(name);
        let text = format!("{byte:02x}").repeat(32);
        std::fs::write(&file, format!("{text}\n")).expect("write a key");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        file.to_string_lossy().into_owned()
    };
    let sealed =
        |key: &str| replica(&server, &[upstream.addr], &asking(""), &format!(", encrypt: {{ key_file: \"{key}\" }}"));
    let (right, wrong) = (sealed(&key("right", 1)), sealed(&key("wrong", 2)));
    drop(Proxy::start(right.clone()).await);
    let Err(log) = Proxy::launch(wrong.clone(), &mainstay_tests::proxy::Launch::default()).await else {
        panic!("it started with another key")
    };
    assert!(log.contains("sealed with another key"), "{log}");
    server.sql("INSERT INTO mainstay.migration (version) VALUES (99)");
    server.stop();
    let (wrong, newer) = tokio::join!(Proxy::start_slowly(wrong), Proxy::start_slowly(right));
    server.restart();
    // The schema is looked at first.
    for proxy in [&wrong, &newer] {
        in_the_end("it says so", || async { proxy.log().contains("99").then_some(()) }).await;
        refuses(proxy, &upstream, "k").await;
    }
    server.sql("DELETE FROM mainstay.migration WHERE version = 99");
    taken(&newer, "k").await;
    refuses(&wrong, &upstream, "other").await;
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.op"), "1");
}

/// Whoever had it before may have passed the last check just then: its attempt ends within the route's total.
#[tokio::test]
async fn what_was_taken_over_is_sent_again_only_when_its_former_owner_cannot_be_sending_it() {
    let Some(server) = Postgres::start() else { return };
    let times = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen_at = std::sync::Arc::clone(&times);
    let upstream = Upstream::start(move |_| {
        let now = jiff::Timestamp::now().as_millisecond();
        let mut times = seen_at.lock();
        times.push(now);
        if times.len() == 1 { vec![Step::Body, Step::Stall] } else { Answer::status(201).body("made").steps() }
    })
    .await;
    let policy = "timeout: 3s, idempotency: { required: true, late_response: 100ms, \
                  redispatch: { attempts: 5, backoff: { base: 50ms, max: 50ms, jitter: none } } }";
    let ledger = format!(
        "store: postgres, url: \"{}\", service: payments, lease: {{ heartbeat: 250ms, ttl: 1s }}",
        server.url()
    );
    let config = || {
        Config::new()
            .upstream("app", upstream.addr, "honours_key: true")
            .policy("p", policy)
            .route("path: /**", "app", "p")
            .ledger(&ledger)
    };
    let (mut owner, heir) = (Proxy::start(config()).await, Proxy::start(config()).await);
    let addr = owner.addr;
    tokio::spawn(async move { pay("k").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("k") == 1).then_some(()) }).await;
    let id = heir.send(pay("k")).await.operation();
    owner.signal("KILL");
    owner.ended().await;
    let taken_at: i64 = in_the_end("it is taken over", || async {
        let taken = server.sql("SELECT sent FROM mainstay.op WHERE epoch = 2 AND state = 4");
        taken.parse().ok()
    })
    .await;
    in_the_end("it is sent again", || async { (upstream.effects("k") == 2).then_some(()) }).await;
    let again = times.lock()[1];
    // The store's time is known to within half of a round trip, which on a busy machine is long.
    assert!(again >= taken_at + 2_500, "{} ms after it was taken over", again - taken_at);
    heir.operation_in(&id, "succeeded").await;
}

/// Its first byte had gone out when it was stopped; when it goes on, others have had the operation, and have freed its key.
#[tokio::test]
async fn a_replica_that_stood_still_in_the_midst_of_a_body_does_not_send_the_rest_of_it() {
    let Some(server) = Postgres::start() else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match (seen.method.as_str(), seen.index) {
        ("POST", 0) => vec![Step::BodyBytes(1024), Step::Gate(held.clone()), Step::Body, Step::Stall],
        ("POST", _) => Answer::status(201).body("made").steps(),
        _ => Answer::status(404).steps(),
    })
    .await;
    let policy = asking("").replace("required: true,", "required: true, max_body: 64MiB,");
    let config = || replica(&server, &[upstream.addr], &policy, "");
    let (owner, heir) = (Proxy::start(config()).await, Proxy::start(config()).await);
    // More than all buffers on the way hold.
    let body = "x".repeat(24 << 20);
    let addr = owner.addr;
    let sent = body.clone();
    let first = tokio::spawn(async move { Request::keyed("/pay", "k", sent.as_str()).send(addr).await });
    eventually("its body is on the way", || async { (upstream.count() == 1).then_some(()) }).await;
    owner.signal("STOP");
    in_the_end("its key is free, and a repeat is executed", || async {
        let addr = heir.addr;
        let repeat = Request::keyed("/pay", "k", body.as_str()).send(addr).await;
        (repeat.status == 201).then_some(())
    })
    .await;
    assert_eq!(upstream.effects("k"), 1);
    owner.signal("CONT");
    gate.open();
    let late = within("the stopped one answers", first).await.unwrap();
    assert_ne!(late.text(), "", "{}", late.status);
    assert_eq!(upstream.effects("k"), 1, "the rest of it was not sent");
}
