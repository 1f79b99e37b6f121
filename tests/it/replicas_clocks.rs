//! Clocks that are wrong, and clocks that jump: no replica's decides anything, and the store's moves what was written down by it.

use mainstay_tests::{postgres::Postgres, prelude::*, proxy::Launch, skew::Skew};

use super::replicas::{asking, done, replica};

const HOUR_MS: i64 = 3_600_000;

fn by(clock: &Skew) -> Launch {
    Launch { variables: clock.variables(), ..Launch::default() }
}

async fn start(config: Config, clock: &Skew) -> Proxy {
    Proxy::launch(config, &by(clock)).await.unwrap_or_else(|log| panic!("{log}"))
}

/// How far the store's time is from the replica's own, in seconds, to the nearest minute.
async fn offset_minutes(proxy: &Proxy) -> Option<i64> {
    let seconds = proxy.metric("mainstay_ledger_clock_offset_seconds", &[]).await?;
    Some((seconds / 60.0).round() as i64)
}

#[tokio::test]
async fn replicas_whose_clocks_are_an_hour_apart_are_as_good_as_any() {
    let Some(server) = Postgres::start() else { return };
    let upstream = Upstream::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", "/lost") => vec![Step::Body, Step::Stall],
        ("POST", _) => Answer::status(201).body(format!("made {}", seen.index)).steps(),
        _ => done(),
    })
    .await;
    let (fast, slow) = (Skew::of(HOUR_MS), Skew::of(-HOUR_MS));
    let config = || replica(&server, &[upstream.addr], &asking(""), "");
    let (mut one, other) = (start(config(), &fast).await, start(config(), &slow).await);
    for (proxy, minutes) in [(&one, -60), (&other, 60)] {
        eventually("it goes by the store's time", || async {
            (offset_minutes(proxy).await == Some(minutes)).then_some(())
        })
        .await;
    }
    let first = one.send(Request::keyed("/pay", "k", "x")).await;
    let repeat = other.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((first.status, repeat.status, repeat.text()), (201, 201, first.text()));
    let told = |proxy: &Proxy| {
        let (addr, id) = (proxy.addr, first.operation());
        async move { Request::get(&format!("/_mainstay/operations/{id}")).send(addr).await.json()["created_at"].clone() }
    };
    assert_eq!(told(&one).await, told(&other).await, "both tell one time");
    let now: i64 = server.sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8").parse().unwrap();
    let settled = server.sql("SELECT max(forget_at) - max(sent) FROM mainstay.op WHERE state = 1");
    let sent: i64 = server.sql("SELECT max(sent) FROM mainstay.op").parse().unwrap();
    assert!(now - sent < HOUR_MS / 2 && sent <= now, "no replica's clock is in the record: {sent}, {now}, {settled}");

    // Its own clock goes on jumping: its lease may end early by that, and is never longer; nobody is taken for dead.
    for ms in [3 * HOUR_MS, -HOUR_MS] {
        fast.set(ms);
        let key = format!("after {ms}").replace(' ', "-");
        eventually("it serves on", || async {
            (one.send(Request::keyed("/pay", &key, "x")).await.status == 201).then_some(())
        })
        .await;
        assert_eq!(upstream.effects(&key), 1);
    }
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended <> 0"), "0");

    let addr = one.addr;
    tokio::spawn(async move { Request::keyed("/lost", "lost", "x").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("lost") == 1).then_some(()) }).await;
    let id = other.send(Request::keyed("/lost", "lost", "x")).await.operation();
    one.signal("KILL");
    one.ended().await;
    other.operation_in(&id, "succeeded").await;
    assert_eq!(upstream.effects("lost"), 1);
}

/// A write whose answer is lost, and that the service does not know (yet): nothing is believed of that for half a minute.
#[tokio::test]
async fn a_store_whose_clock_jumps_makes_nobody_believe_too_early_that_a_write_was_not_done() {
    let clock = Skew::of(0);
    let Some(server) = Postgres::start_by(&clock) else { return };
    let knows = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_known = std::sync::Arc::clone(&knows);
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ if is_known.load(std::sync::atomic::Ordering::Relaxed) => done(),
        _ => Answer::status(404).steps(),
    })
    .await;
    let policy = "timeout: 1s, idempotency: { required: true, late_response: 1s, status: { \
                  request: \"GET /by-ref/{key}\", settle_after: 10m, schedule: { first: 50ms, max: 100ms, factor: 1 }, \
                  rate: 1000/s, rules: [{ status: 200, then: succeeded }, { status: 404, then: not_found }] } }";
    let config = || replica(&server, &[upstream.addr], policy, "");
    let (owner, other) = (Proxy::start(config()).await, Proxy::start(config()).await);
    let lost = owner.send(Request::keyed("/pay", "k", "x")).await;
    lost.expect_problem(502, "outcome-unknown");
    let sent = || server.sql("SELECT sent FROM mainstay.op").parse::<i64>().unwrap();
    let before = sent();
    for (ms, moved) in [(HOUR_MS, true), (0, false), (2 * HOUR_MS, true)] {
        let was = sent();
        clock.set(ms);
        for proxy in [&owner, &other] {
            eventually("it is noticed", || async { (offset_minutes(proxy).await == Some(ms / 60_000)).then_some(()) })
                .await;
        }
        if moved {
            eventually("what its owner has sent was sent as long ago as before", || async {
                (sent() - was > HOUR_MS / 2).then_some(())
            })
            .await;
        }
        // Whoever asks, and however often: that the service does not know it proves nothing yet.
        // A repeat has the service asked, wherever it comes.
        let asked = upstream.count();
        eventually("it is asked about on", || async {
            for proxy in [&owner, &other] {
                assert_ne!(proxy.send(Request::keyed("/pay", "k", "x")).await.status, 201);
            }
            (upstream.count() >= asked + 5).then_some(())
        })
        .await;
        for proxy in [&owner, &other] {
            let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
            assert_ne!(repeat.status, 201, "{}", repeat.text());
            assert_eq!(proxy.operation(&lost.operation()).await["state"], "unknown", "{ms}");
        }
        assert_eq!(upstream.effects("k"), 1, "{ms}");
    }
    assert!(sent() - before > HOUR_MS, "{before} {}", sent());
    knows.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("it is settled", || async {
        owner.send(Request::keyed("/pay", "k", "x")).await;
        (owner.operation(&lost.operation()).await["state"] == "succeeded").then_some(())
    })
    .await;
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.instance WHERE ended <> 0"), "0", "nobody was taken for dead");
}
