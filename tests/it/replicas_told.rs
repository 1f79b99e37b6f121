//! What a replica counts and logs that it has not settled as others do: what it took over, and what the store took late.

use mainstay_tests::{postgres::Postgres, prelude::*};

use super::{
    replicas::{asking, done, pair, replica},
    settlements::counted_once,
};

fn lines_about(proxy: &Proxy, what: &str) -> usize {
    proxy.log().lines().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn what_was_taken_over_is_counted_once_by_the_one_that_took_it() {
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
    let id = heir.send(Request::keyed("/pay", "k", "x")).await.operation();
    owner.signal("KILL");
    owner.ended().await;
    heir.operation_in(&id, "succeeded").await;
    counted_once(&heir, &["unknown/none", "succeeded/status_query"]).await;
    let doubted = heir.metric("mainstay_operations_doubted_total", &[("reason", "owner_lost")]).await;
    assert_eq!(doubted, Some(1.0));
    // The log is written by a thread of its own.
    eventually("both are in the log, once", || async {
        let lines = ["a write is in doubt", "a write was settled"].map(|what| lines_about(&heir, what));
        (lines == [1, 1]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_the_store_takes_late_is_counted_once_and_replayed() {
    let Some(mut server) = Postgres::start() else { return };
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).body("made").behind(&held)).await;
    let proxy = Proxy::start(replica(&server, &[upstream.addr], &asking(""), ", timeouts: { settle: 300ms }")).await;
    let addr = proxy.addr;
    let first = tokio::spawn(async move { Request::keyed("/pay", "k", "x").send(addr).await });
    eventually("it is in flight", || async { (upstream.effects("k") == 1).then_some(()) }).await;
    server.kill();
    gate.open();
    let first = within("the client is told", first).await.unwrap();
    first.expect_problem(502, "outcome-unknown");
    counted_once(&proxy, &[]).await;
    server.restart();
    counted_once(&proxy, &["succeeded/response"]).await;
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((repeat.status, repeat.text(), upstream.effects("k")), (201, "made".to_owned(), 1));
}
