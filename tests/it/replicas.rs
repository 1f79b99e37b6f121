//! Several replicas on one ledger: one key, one effect, whichever replica a repeat reaches and whatever becomes of the one that
//! has sent it.

use mainstay_tests::{postgres::Postgres, prelude::*};

const RULES: &str = "{ status: 200, json: { /state: SUCCESS }, then: succeeded }, { status: 404, then: not_found }";

/// A replica before `endpoints`, whose death is noticed within seconds.
pub(super) fn replica(server: &Postgres, endpoints: &[std::net::SocketAddr], policy: &str, more: &str) -> Config {
    let ledger = format!(
        "store: postgres, url: \"{}\", service: payments, lease: {{ heartbeat: 250ms, ttl: 1s }}{more}",
        server.url()
    );
    Config::new().endpoints("app", endpoints, "").policy("p", policy).route("path: /**", "app", "p").ledger(&ledger)
}

/// Asks soon and often; what the service does not know was not done, and nothing can arrive later.
pub(super) fn asking(more: &str) -> String {
    format!(
        "timeout: 8s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", fenced: true, \
         schedule: {{ first: 50ms, max: 100ms }}, rate: 1000/s, rules: [{RULES}] }} }}{more}"
    )
}

pub(super) async fn pair(server: &Postgres, upstream: &Upstream, policy: &str) -> (Proxy, Proxy) {
    let config = || replica(server, &[upstream.addr], policy, "");
    (Proxy::start(config()).await, Proxy::start(config()).await)
}

pub(super) fn done() -> Vec<Step> {
    Answer::json(200, "{\"state\":\"SUCCESS\"}").steps()
}

#[tokio::test]
async fn one_key_at_two_replicas_at_once_is_one_effect_and_one_answer() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await;
    let (one, other) = pair(&server, &upstream, &asking("")).await;
    for number in 0..20 {
        let key = format!("k{number}");
        let send = |proxy: &Proxy| {
            let addr = proxy.addr;
            let request = Request::keyed("/pay", &key, "x").header("Prefer", "wait=5");
            async move { request.send(addr).await }
        };
        let (first, second) = tokio::join!(send(&one), send(&other));
        assert_eq!((first.status, second.status), (201, 201), "{}\n{}", first.text(), second.text());
        assert_eq!((first.text(), first.operation()), (second.text(), second.operation()), "{key}");
        assert_eq!(upstream.effects(&key), 1, "{key}");
        for proxy in [&one, &other] {
            let repeat = proxy.send(Request::keyed("/pay", &key, "x")).await;
            assert_eq!((repeat.status, repeat.text()), (201, first.text()));
            assert_eq!(proxy.operation(&first.operation()).await["state"], "succeeded");
        }
        assert_eq!(upstream.effects(&key), 1, "{key}");
    }
    // Another body under a key is refused by the one that has never seen it: both make fingerprints alike.
    let reused = other.send(Request::keyed("/pay", "k0", "y")).await;
    reused.expect_problem(422, "key-reused");
}

#[tokio::test]
async fn a_write_in_flight_at_one_is_waited_for_at_another() {
    let Some(server) = Postgres::start() else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).body("made").behind(&held)).await;
    let (one, other) = pair(&server, &upstream, &asking("")).await;
    let addr = one.addr;
    let first = tokio::spawn(async move { Request::keyed("/pay", "k", "x").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("k") == 1).then_some(()) }).await;
    let at_once = other.send(Request::keyed("/pay", "k", "x")).await;
    at_once.expect_problem(409, "in-progress");
    let addr = other.addr;
    let waiting =
        tokio::spawn(async move { Request::keyed("/pay", "k", "x").header("Prefer", "wait=8").send(addr).await });
    gate.open();
    let (first, waited) = (first.await.unwrap(), waiting.await.unwrap());
    assert_eq!((first.status, waited.status, waited.text()), (201, 201, first.text()), "{}", waited.text());
    assert_eq!(upstream.effects("k"), 1);
}

#[tokio::test]
async fn what_a_killed_replica_had_in_flight_is_asked_about_by_the_other_and_not_sent_again() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Stall],
        _ => done(),
    })
    .await;
    let (mut owner, heir) = pair(&server, &upstream, &asking("")).await;
    let addr = owner.addr;
    tokio::spawn(async move { Request::keyed("/pay", "k", "x").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("k") == 1).then_some(()) }).await;
    let repeat = heir.send(Request::keyed("/pay", "k", "x")).await;
    repeat.expect_problem(409, "in-progress");
    owner.signal("KILL");
    owner.ended().await;
    let document = heir.operation_in(&repeat.operation(), "succeeded").await;
    assert_eq!(document["attempts"], 1, "{document}");
    let again = heir.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((again.operation(), upstream.effects("k")), (repeat.operation(), 1), "{}", again.text());
}

#[tokio::test]
async fn a_replica_that_was_stopped_before_it_sent_sends_nothing_once_another_has_its_write() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => Answer::status(201).body("made").steps(),
        _ => Answer::status(404).steps(),
    })
    .await;
    let refusing = Refusing::new();
    let retry = asking(", retry: { max_retries: 1, backoff: { base: 3s, max: 3s, jitter: none } }");
    let owner = Proxy::start(replica(&server, &[upstream.addr, refusing.addr], &retry, "")).await;
    let heir = Proxy::start(replica(&server, &[upstream.addr], &asking(""), "")).await;
    // Of two endpoints one refuses; a write that met that one first is begun, not sent, and waits for its second attempt.
    let mut found = None;
    for number in 0..40 {
        let (addr, key) = (owner.addr, format!("k{number}"));
        let request = Request::keyed("/pay", &key, "x");
        let mut first = tokio::spawn(async move { request.send(addr).await });
        let answered = tokio::time::timeout(Duration::from_secs(1), &mut first).await;
        if answered.is_err() && upstream.effects(&key) == 0 {
            found = Some((first, key));
            break;
        }
    }
    let (first, key) = found.expect("one of so many meets the endpoint that refuses");
    owner.signal("STOP");
    let repeat = eventually("its key is free", || async {
        let repeat = heir.send(Request::keyed("/pay", &key, "x")).await;
        (repeat.status == 201).then_some(repeat)
    })
    .await;
    assert_eq!(upstream.effects(&key), 1);
    owner.signal("CONT");
    let late = within("the stopped one answers", first).await.unwrap();
    assert_ne!(late.status, 201, "{}", late.text());
    assert_eq!(upstream.effects(&key), 1, "what was taken over is not sent");
    assert_eq!(owner.send(Request::keyed("/pay", &key, "x")).await.text(), repeat.text(), "it serves on");
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended = 2"), "1");
}

#[tokio::test]
async fn without_the_store_no_keyed_write_is_sent_and_everything_else_goes_on() {
    let Some(mut server) = Postgres::start() else { return };
    let upstream = Upstream::start(|_| Answer::status(201).body("made").steps()).await;
    let (one, other) = pair(&server, &upstream, &asking("")).await;
    assert_eq!(one.send(Request::keyed("/pay", "before", "x")).await.status, 201);
    server.kill();
    let refused = eventually("it is noticed", || async {
        let reply = one.send(Request::keyed("/pay", "during", "x")).await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    let problem = refused.expect_problem(503, "ledger-unavailable");
    assert_eq!((&problem["effect"], upstream.effects("during")), (&"none".into(), 0));
    assert_eq!(one.get("/anything").await.status, 201, "reads go on");
    assert_eq!((one.ready().await, other.ready().await), (Some(200), Some(200)), "all would be unready at once");
    let known = one.send(Request::keyed("/pay", "before", "x")).await;
    assert_eq!(known.status, 201, "what is settled is replayed from memory");
    server.restart();
    eventually("it goes on", || async {
        (other.send(Request::keyed("/pay", "during", "x")).await.status == 201).then_some(())
    })
    .await;
    assert_eq!(upstream.effects("during"), 1);
}

#[tokio::test]
async fn what_a_replica_leaves_in_doubt_when_it_ends_is_the_others_at_once() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::status(500).steps(),
    })
    .await;
    // With a lease so long that nobody would notice a death within the test.
    let long = ", timeouts: { read: 2s }";
    let config = || {
        let ledger = format!(
            "store: postgres, url: \"{}\", service: payments{long}, lease: {{ heartbeat: 500ms, ttl: 60s }}",
            server.url()
        );
        replica(&server, &[upstream.addr], &asking(""), "").ledger(&ledger)
    };
    let (mut leaving, staying) = (Proxy::start(config()).await, Proxy::start(config()).await);
    let lost = leaving.send(Request::keyed("/pay", "k", "x")).await;
    lost.expect_problem(502, "outcome-unknown");
    assert!(leaving.terminate().await.success());
    eventually("the other has it", || async {
        let owner = server.sql("SELECT i.ended FROM mainstay.op JOIN mainstay.instance i ON i.no = op.owner");
        (owner == "0").then_some(())
    })
    .await;
    assert_eq!(staying.operation(&lost.operation()).await["state"], "unknown");
    assert_eq!(upstream.effects("k"), 1);
}

#[tokio::test]
async fn a_configuration_says_what_a_shared_ledger_does_not_have() {
    let base = "store: postgres, url: \"postgres://m@127.0.0.1/d\", service: s";
    for (ledger, expected) in [
        ("store: postgres", "`url` is missing in `ledger`"),
        ("store: postgres, url: \"postgres://m:pass-7341@db/d\", service: s", "there is a password in `url`"),
        (&format!("{base}, path: /x"), "`store: postgres` has no `path`"),
        (&format!("{base}, max_bytes: 1GiB"), "`store: postgres` has no `max_bytes`"),
        (&format!("{base}, node: 3"), "`store: postgres` has no `node`"),
        (&format!("{base}, settle: eventual"), "`settle: eventual` is not there"),
        (&format!("{base}, lease: {{ heartbeat: 3s }}"), "`ttl` is shorter than four heartbeats"),
        (&format!("{base}, schema: \"Bad-Name\""), "`schema` is no plain name"),
        ("store: memory, service: s", "`service` is for `store: postgres`"),
    ] {
        let text = Config::single(free_addr(), "idempotency: { required: true }").ledger(ledger).render();
        let errors = mainstay::config::parse("mainstay.yaml", &text).expect_err(ledger).to_string();
        assert!(errors.contains(expected) && !errors.contains("pass-7341"), "{ledger}\n{errors}");
    }
}
