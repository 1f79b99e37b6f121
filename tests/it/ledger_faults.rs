//! The ledger's disk fails: it is full, or it loses what it was told to keep. Keyed writes are refused, the pod is unready,
//! other traffic goes on.

use std::path::{Path, PathBuf};

use mainstay_tests::{
    prelude::*,
    proxy::TempDir,
    tamper::{SYNC, Tampered},
};

use super::admin_events::Watching;

fn on_disk(upstream: &Upstream, path: &Path) -> Config {
    Config::single(upstream.addr, "timeout: 9s, idempotency: true").ledger(&format!("path: \"{}\"", path.display()))
}

/// Where the process stays when the disk fails, as an operator may want it.
fn that_stays(upstream: &Upstream, path: &Path) -> Config {
    on_disk(upstream, path).ledger(&format!("path: \"{}\", on_failure: stay", path.display()))
}

async fn kill(proxy: &mut Proxy) {
    proxy.signal("KILL");
    proxy.ended().await;
}

/// What has to hold as long as the ledger takes no writes.
async fn refuses_keyed_writes_and_nothing_else(proxy: &Proxy, upstream: &Upstream) {
    eventually("the pod is unready", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
    assert!(proxy.probe("/readyz").await.text().contains("ledger"));
    assert_eq!(proxy.probe("/livez").await.status, 200, "a restart of the container would cure nothing");
    let before = upstream.count();
    for _ in 0..3 {
        let reply = proxy.send(Request::keyed("/pay", "next", "x")).await;
        assert_eq!(reply.expect_problem(503, "ledger-unavailable")["effect"], "none");
        assert!(reply.header("retry-after").is_some(), "{}", reply.text());
    }
    assert_eq!(upstream.count(), before, "nothing is sent without a record");
    proxy.send(Request::post("/pay", "unprotected")).await.expect_upstream(201);
}

async fn is_replayed(proxy: &Proxy, upstream: &Upstream, key: &str, body: &str) {
    let repeat = proxy.send(Request::keyed("/pay", key, "x")).await;
    assert_eq!((repeat.status, repeat.text().as_str()), (201, body), "{key} was answered");
    assert_eq!(upstream.effects(key), 1);
}

/// A tmpfs, unmounted at the end. Mounting needs leave that a container may lack: then the test fails and says so.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf, kib: u32) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let size = format!("size={kib}k");
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        let mount = mount.expect("run mount");
        let words = String::from_utf8_lossy(&mount.stderr).into_owned();
        assert!(mount.status.success(), "this test needs leave to mount a tmpfs: {words}");
        Self(path)
    }

    fn grow(&self) {
        let grown = std::process::Command::new("mount").args(["-o", "remount,size=16m"]).arg(&self.0).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes until the disk is full; the keys that were answered, and the one that was not.
async fn fill(proxy: &Proxy) -> (Vec<String>, Reply) {
    let mut answered = Vec::new();
    loop {
        let key = format!("k{}", answered.len());
        let reply = proxy.send(Request::keyed("/pay", &key, "x")).await;
        if reply.status != 201 {
            return (answered, reply);
        }
        answered.push(key);
        assert!(answered.len() < 100, "the disk never fills");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_keyed_writes_until_there_is_space_again() {
    let home = TempDir::new();
    let disk = SmallDisk::new(home.join("disk"), 1024);
    let big = "x".repeat(30_000);
    let upstream = Upstream::answering(Answer::status(201).body(big.clone())).await;
    let mut config = on_disk(&upstream, &disk.0.join("ledger"));
    let mut proxy = Proxy::start(config.clone()).await;
    let (answered, refused) = fill(&proxy).await;
    assert!(answered.len() > 5, "{}", refused.text());
    // Nothing sent, or sent and then in doubt: never failed, never free.
    assert!(matches!(refused.slug(), Some("ledger-unavailable" | "outcome-unknown")), "{}", refused.text());
    refuses_keyed_writes_and_nothing_else(&proxy, &upstream).await;
    for key in &answered {
        is_replayed(&proxy, &upstream, key, &big).await;
    }

    disk.grow();
    eventually("the pod is ready again", || async { (proxy.ready().await == Some(200)).then_some(()) }).await;
    proxy.send(Request::keyed("/pay", "grown", "x")).await.expect_upstream(201);
    kill(&mut proxy).await;
    config.move_away();
    let proxy = Proxy::start(config).await;
    for key in answered.iter().map(String::as_str).chain(["grown"]) {
        is_replayed(&proxy, &upstream, key, &big).await;
    }
    let last = format!("k{}", answered.len());
    assert!(upstream.effects(&last) <= 1);
    proxy.send(Request::keyed("/pay", "after", "x")).await.expect_upstream(201);
}

#[tokio::test]
async fn what_was_acknowledged_before_the_disk_was_full_is_written_when_there_is_space() {
    let home = TempDir::new();
    let disk = SmallDisk::new(home.join("disk"), 1024);
    let big = "x".repeat(30_000);
    let upstream = Upstream::answering(Answer::status(201).body(big.clone())).await;
    let path = disk.0.join("ledger");
    let mut config = on_disk(&upstream, &path)
        .ledger(&format!("path: \"{}\", settle: eventual", path.display()))
        .top("drain: { delay: 0s }");
    let mut proxy = Proxy::start(config.clone()).await;
    let (answered, _) = fill(&proxy).await;
    refuses_keyed_writes_and_nothing_else(&proxy, &upstream).await;
    disk.grow();
    eventually("the pod is ready again", || async { (proxy.ready().await == Some(200)).then_some(()) }).await;
    assert!(proxy.terminate().await.success());
    config.move_away();
    let proxy = Proxy::start(config).await;
    for key in &answered {
        is_replayed(&proxy, &upstream, key, &big).await;
    }
}

#[tokio::test]
async fn a_failed_fsync_ends_the_ledger_until_a_restart() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::status(201).body("paid")).await;
    let mut config = that_stays(&upstream, &home.join("ledger"));
    let mut proxy = Proxy::start(config.clone().admin()).await;
    proxy.send(Request::keyed("/pay", "before", "x")).await.expect_upstream(201);
    let mut watching = Watching::on(&proxy, "?kind=ledger").await;
    let broken = Tampered::with(proxy.pid(), SYNC, "error=EIO").await;
    let lost = proxy.send(Request::keyed("/pay", "lost", "x")).await;
    assert_eq!(lost.expect_problem(503, "ledger-unavailable")["effect"], "none");
    refuses_keyed_writes_and_nothing_else(&proxy, &upstream).await;
    drop(broken);
    // The next fsync would succeed, whatever became of the pages before it: it must not be believed.
    refuses_keyed_writes_and_nothing_else(&proxy, &upstream).await;
    is_replayed(&proxy, &upstream, "before", "paid").await;
    assert!(proxy.log().contains("the ledger takes no more writes"), "{}", proxy.log());
    assert_eq!(proxy.metric("mainstay_ledger_writable", &[]).await, Some(0.0));
    assert_eq!(watching.event("ledger").await["health"], "failed", "who watches is told");
    kill(&mut proxy).await;

    config.move_away();
    let proxy = Proxy::start(config).await;
    is_replayed(&proxy, &upstream, "before", "paid").await;
    // It was never sent; whether its record survived is the disk's secret.
    let again = proxy.send(Request::keyed("/pay", "lost", "x")).await;
    assert!(again.status == 201 || again.slug() == Some("outcome-unknown"), "{}", again.text());
    proxy.send(Request::keyed("/pay", "after", "x")).await.expect_upstream(201);
}

#[tokio::test]
async fn a_dead_ledger_ends_the_process_in_order_because_only_a_restart_heals_it() {
    let home = TempDir::new();
    let (gate, upstream) = (Gate::new(), Upstream::answering(Answer::status(201).body("paid")).await);
    let held = gate.clone();
    let slow = Upstream::start(move |_| Answer::ok("finished").behind(&held)).await;
    let config = on_disk(&upstream, &home.join("ledger")).upstream("slow", slow.addr, "");
    let config = config.policy("q", "timeout: 9s").first_route("path: /slow", "slow", "q");
    let mut config = config.top("drain: { delay: 0s, timeout: 8s }");
    let mut proxy = Proxy::start(config.clone()).await;
    let mut reader = proxy.connect().await;
    reader.write(&Request::get("/slow").bytes()).await;
    slow.wait_requests(1).await;
    let broken = Tampered::with(proxy.pid(), SYNC, "error=EIO").await;
    let lost = proxy.send(Request::keyed("/pay", "lost", "x")).await;
    assert_eq!(lost.expect_problem(503, "ledger-unavailable")["effect"], "none");
    eventually("accepting ends", || async { tokio::net::TcpStream::connect(proxy.addr).await.is_err().then_some(()) })
        .await;
    assert!(proxy.runs(), "a request is still in flight");
    gate.open();
    reader.reply().await.expect_upstream(200);
    assert_eq!(proxy.ended().await.code(), Some(4));
    drop(broken);
    assert!(proxy.log().contains("the ledger is dead"), "{}", proxy.log());
    config.move_away();
    let proxy = Proxy::start(config).await;
    proxy.send(Request::keyed("/pay", "after", "x")).await.expect_upstream(201);
}

#[tokio::test]
async fn a_ledger_that_takes_no_writes_leaves_readiness_alone_where_it_is_told_to() {
    let home = TempDir::new();
    let upstream = Upstream::answering(Answer::status(201).body("paid")).await;
    let mut config = that_stays(&upstream, &home.join("ledger")).admin();
    config.probes_more = ", ready: { ledger: never }".into();
    let proxy = Proxy::start(config).await;
    let _broken = Tampered::with(proxy.pid(), SYNC, "error=EIO").await;
    proxy.send(Request::keyed("/pay", "lost", "x")).await.expect_problem(503, "ledger-unavailable");
    // Housekeeping looks once a second, and tells what it saw of it.
    eventually("housekeeping has looked", || async {
        proxy.log().contains("cannot forget what has expired").then_some(())
    })
    .await;
    assert_eq!(proxy.ready().await, Some(200));
}

#[tokio::test]
async fn a_write_whose_settlement_fails_is_in_doubt_and_its_key_is_not_freed() {
    let home = TempDir::new();
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |_| Answer::status(201).behind(&held)).await;
    let mut config = that_stays(&upstream, &home.join("ledger"));
    let mut proxy = Proxy::start(config.clone()).await;
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    let broken = Tampered::with(proxy.pid(), SYNC, "error=EIO").await;
    gate.open();
    let reply = client.reply().await;
    assert_eq!(reply.expect_problem(502, "outcome-unknown")["effect"], "unknown");
    kill(&mut proxy).await;
    drop(broken);

    config.move_away();
    let proxy = Proxy::start(config).await;
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    // The settlement may have reached the disk all the same: then it is replayed.
    assert!(repeat.status == 201 || repeat.slug() == Some("outcome-unknown"), "{}", repeat.text());
    assert_eq!((upstream.count(), upstream.effects("k")), (1, 1));
}
