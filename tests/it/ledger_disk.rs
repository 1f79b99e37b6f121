//! The ledger on disk: what was answered, and what was in doubt, is the same after the process was killed.

use std::{collections::HashMap, os::unix::fs::PermissionsExt, path::Path};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, run},
    wire::Wire,
};

const POLICY: &str = "timeout: 9s, idempotency: { required: true }";

fn on_disk(upstream: &Upstream, path: &Path) -> Config {
    Config::single(upstream.addr, POLICY).ledger(&format!("store: disk, path: \"{}\"", path.display()))
}

async fn kill(proxy: &mut Proxy) {
    proxy.signal("KILL");
    proxy.ended().await;
}

#[tokio::test]
async fn an_answered_write_is_replayed_after_a_kill() {
    let home = TempDir::new();
    let answer = Answer::status(201).header("Location", "/payments/7").body("\u{0}made\u{ff}");
    let upstream = Upstream::answering(answer).await;
    let mut proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let first = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
    first.expect_upstream(201);
    let document = proxy.operation(&first.operation()).await;
    kill(&mut proxy).await;

    let proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let repeat = proxy.send(Request::keyed("/pay", "k", "100 EUR")).await;
    assert_eq!((repeat.status, repeat.header("idempotent-replayed")), (201, Some("true")), "{}", repeat.text());
    assert_eq!((&repeat.body.data, repeat.header("location")), (&first.body.data, first.header("location")));
    assert_eq!(repeat.operation(), first.operation());
    assert_eq!(proxy.operation(&first.operation()).await, document, "the id is still readable");
    proxy.send(Request::keyed("/pay", "k", "999 EUR")).await.expect_problem(422, "key-reused");
    assert_eq!((upstream.count(), upstream.effects("k")), (1, 1));
}

#[tokio::test]
async fn a_write_in_flight_is_unknown_after_a_kill() {
    let home = TempDir::new();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let mut proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    let pending = proxy.get("/_mainstay/operations?key=k").await.json();
    assert_eq!(pending["state"], "pending");
    kill(&mut proxy).await;

    let mut config = on_disk(&upstream, &home.join("ledger"));
    for restart in 0..2 {
        config.move_away();
        let mut proxy = Proxy::start(config.clone()).await;
        let id = pending["id"].as_str().expect("an id");
        let document = proxy.operation(id).await;
        assert_eq!((&document["state"], &document["reason"]), (&"unknown".into(), &"restart".into()), "{restart}");
        let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(repeat.expect_problem(409, "outcome-unknown")["safe_to_use_new_key"], false);
        assert_eq!(repeat.operation(), id);
        kill(&mut proxy).await;
    }
    assert_eq!((upstream.count(), upstream.effects("k")), (1, 1), "it was sent again");
}

#[tokio::test]
async fn an_unknown_write_stays_unknown_and_a_stored_server_error_is_replayed_after_a_kill() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::status(503).body("busy")).await;
    let mut proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let first = proxy.send(Request::keyed("/pay", "k", "x")).await;
    kill(&mut proxy).await;
    let proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let document = proxy.operation(&first.operation()).await;
    assert_eq!((&document["state"], &document["reason"]), (&"unknown".into(), &"http_5xx".into()));
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((repeat.status, repeat.text()), (503, first.text()));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_kill_under_load_breaks_no_promise() {
    let home = TempDir::new();
    let upstream = Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await;
    let mut seen: HashMap<String, String> = HashMap::new();
    for round in 0..5 {
        let mut proxy = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
        for (key, body) in &seen {
            let repeat = proxy.send(Request::keyed("/pay", key, "x")).await;
            assert_eq!((repeat.status, &repeat.text()), (201, body), "{key} was answered before the kill");
        }
        let answered = parking_lot::Mutex::new(Vec::new());
        let clients = (0..16).map(|client| {
            let (answered, addr) = (&answered, proxy.addr);
            async move {
                for n in 0.. {
                    let key = format!("r{round}-c{client}-{n}");
                    let Ok(stream) = tokio::net::TcpStream::connect(addr).await else { return };
                    let mut client = Client { wire: Wire::new(stream) };
                    if client.wire.send(&Request::keyed("/pay", &key, "x").bytes()).await.is_err() {
                        return;
                    }
                    match client.try_reply().await {
                        Ok(reply) if reply.status == 201 && reply.body.complete => {
                            answered.lock().push((key, reply.text()));
                        }
                        _ => return,
                    }
                }
            }
        });
        let killing = async {
            eventually("writes are answered", || async { (answered.lock().len() >= 40).then_some(()) }).await;
            proxy.signal("KILL");
        };
        within("every client ends", futures_util::future::join(futures_util::future::join_all(clients), killing)).await;
        proxy.ended().await;
        seen.extend(answered.into_inner());
    }
    for key in seen.keys() {
        assert_eq!(upstream.effects(key), 1, "{key}");
    }
}

#[tokio::test]
async fn a_proxy_that_protects_writes_needs_its_directory() {
    let home = TempDir::new();
    std::fs::write(home.join("file"), "not a directory").unwrap();
    let upstream = Upstream::answering(Answer::status(201)).await;
    let config = on_disk(&upstream, &home.join("file/ledger"));
    std::fs::write(home.join("mainstay.yaml"), config.render()).unwrap();
    let output = run(&["-c", home.join("mainstay.yaml").to_str().unwrap()]).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    for part in ["file/ledger", "ledger.path", "store: memory"] {
        assert!(words.contains(part), "{part} in {words}");
    }

    let unprotected = Config::single(upstream.addr, "timeout: 1s")
        .ledger(&format!("path: \"{}\"", home.join("file/ledger").display()));
    let mut proxy = Proxy::start(unprotected.clone()).await;
    proxy.send(Request::get("/")).await.expect_upstream(201);
    // What is protected must not be kept in memory without anybody knowing.
    let mut protected = config.clone();
    (protected.data, protected.probes) = (unprotected.data, unprotected.probes);
    proxy.reload(protected);
    eventually("the reload is refused", || async { proxy.log().contains("restart the proxy").then_some(()) }).await;
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_ledger_serves_one_proxy_at_a_time() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::status(201)).await;
    let mut first = Proxy::start(on_disk(&upstream, &home.join("ledger"))).await;
    let second = on_disk(&upstream, &home.join("ledger"));
    std::fs::write(home.join("second.yaml"), second.render()).unwrap();
    let output = run(&["-c", home.join("second.yaml").to_str().unwrap()]).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("in use by another process"), "{words}");
    first.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(201);
    assert!(first.terminate().await.success());
    let proxy = Proxy::start(second).await;
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!(repeat.header("idempotent-replayed"), Some("true"));
    assert_eq!(std::fs::metadata(home.join("ledger")).unwrap().permissions().mode() & 0o777, 0o700);
}
