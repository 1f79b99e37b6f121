//! `ledger.settle`: what a client may rely on when the process dies between the answer and the disk.

use mainstay_tests::{
    prelude::*,
    proxy::TempDir,
    tamper::{SYNC, Tampered},
};

/// How long the disk takes for each fsync: more than the test needs for what it does meanwhile.
const SLOW: &str = "delay_enter=4s";
const MEANWHILE: Duration = Duration::from_secs(2);

/// A write is answered by the service while the ledger's writer waits for the disk on behalf of another one; then the process
/// is killed. The answer that the client had by then, and what a repeat gets after the restart.
async fn killed_before_the_disk_had_it(settle: &str) -> (Option<Reply>, Reply) {
    let home = TempDir::new();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.index {
        0 => Answer::status(201).body("paid").behind(&held),
        _ => Answer::status(201).steps(),
    })
    .await;
    let mut config = Config::single(upstream.addr, "timeout: 9s, idempotency: { required: true }")
        .ledger(&format!("path: \"{}\", settle: {settle}", home.join("ledger").display()));
    let mut proxy = Proxy::start(config.clone()).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "a", "held").bytes()).await;
    upstream.wait_completed(1).await;

    let log = home.join("ledger/ledger.db-wal");
    let written = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let before = written();
    let slow = Tampered::with(proxy.pid(), SYNC, SLOW).await;
    let mut other = proxy.connect().await;
    other.write(&Request::keyed("/pay", "b", "other").bytes()).await;
    eventually("the writer is busy with the other write", || async { (written() > before).then_some(()) }).await;
    gate.open();
    let answer = tokio::time::timeout(MEANWHILE, client.try_reply()).await.ok().and_then(Result::ok);
    proxy.signal("KILL");
    proxy.ended().await;
    drop(slow);

    config.move_away();
    let proxy = Proxy::start(config).await;
    let repeat = proxy.send(Request::keyed("/pay", "a", "held")).await;
    assert_eq!(upstream.effects("a"), 1, "it was sent again");
    (answer, repeat)
}

#[tokio::test]
async fn settled_eventually_an_answer_does_not_wait_for_the_disk_and_a_crash_leaves_it_unknown() {
    let (answer, repeat) = killed_before_the_disk_had_it("eventual").await;
    let answer = answer.expect("the client is answered while the disk is busy");
    assert_eq!((answer.status, answer.text().as_str()), (201, "paid"));
    assert_eq!(repeat.expect_problem(409, "outcome-unknown")["safe_to_use_new_key"], false);
    assert_eq!(repeat.operation(), answer.operation(), "the id that was returned is still readable");
}

#[tokio::test]
async fn settled_durably_an_answer_waits_for_the_disk() {
    let (answer, repeat) = killed_before_the_disk_had_it("durable").await;
    assert!(answer.is_none(), "answered before it was on the disk: {answer:?}");
    repeat.expect_problem(409, "outcome-unknown");
}

#[tokio::test]
async fn settled_eventually_everything_is_on_the_disk_after_a_clean_end() {
    let home = TempDir::new();
    let upstream = Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await;
    let mut config = Config::single(upstream.addr, "idempotency: { required: true }")
        .top("drain: { delay: 0s }")
        .ledger(&format!("path: \"{}\", settle: eventual", home.join("ledger").display()));
    let mut proxy = Proxy::start(config.clone()).await;
    let mut answers = Vec::new();
    for n in 0..50 {
        let reply = proxy.send(Request::keyed("/pay", &format!("k{n}"), "x")).await;
        answers.push(reply.expect_upstream(201).text());
        let repeat = proxy.send(Request::keyed("/pay", &format!("k{n}"), "x")).await;
        assert_eq!(repeat.header("idempotent-replayed"), Some("true"), "it is replayed at once");
    }
    assert!(proxy.terminate().await.success());
    config.move_away();
    let proxy = Proxy::start(config).await;
    for (n, answer) in answers.iter().enumerate() {
        let repeat = proxy.send(Request::keyed("/pay", &format!("k{n}"), "x")).await;
        assert_eq!((repeat.status, &repeat.text()), (201, answer), "k{n}");
    }
    assert_eq!(upstream.count(), 50);
}
