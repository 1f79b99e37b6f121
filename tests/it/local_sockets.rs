//! Unix sockets: a service behind one, and listeners at one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use mainstay_tests::{
    h2_upstream::{H2Step, H2Upstream},
    h2c::{H2Client, full},
    local::{LocalFront, LocalWay},
    prelude::*,
    proxy::{Launch, TempDir, run},
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true }";

/// The access lines of a proxy that hold this.
async fn access_line(proxy: &Proxy, part: &str) -> String {
    eventually(&format!("an access line with {part}"), || async {
        let log = proxy.log();
        let found = log.lines().find(|line| line.contains("\"target\":\"access\"") && line.contains(part));
        found.map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_service_behind_a_socket_is_served_as_any_other() {
    let (home, upstream) = (TempDir::new(), Upstream::answering(Answer::ok("x")).await);
    let path = home.join("app.sock");
    let _front = LocalFront::before(&path, upstream.addr);
    let endpoint = format!("unix:{}", path.display());
    let config = Config::new().upstream_at("app", &endpoint, "").policy("p", POLICY).route("path: /**", "app", "p");
    let proxy = Proxy::start(config.admin()).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "x");
        assert_eq!(proxy.send(Request::keyed("/pay", "k", "x")).await.status, 200);
    }
    assert_eq!(upstream.effects("k"), 1);
    // A client of HTTP/1.0 need not say whom it calls.
    let mut old = proxy.connect().await;
    old.wire.send(b"GET /old HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(old.reply().await.status, 200);
    let seen = upstream.requests();
    let hosts: Vec<_> = seen.iter().map(|seen| seen.header("host").map(str::to_owned)).collect();
    assert_eq!(hosts.last().unwrap().as_deref(), Some("localhost:80"), "{hosts:?}");
    access_line(&proxy, &format!("\"endpoint\":\"{endpoint}\"")).await;
    let upstreams = proxy.operate(Request::get("/upstreams")).await;
    assert!(upstreams.text().contains(&endpoint), "{}", upstreams.text());
}

#[tokio::test]
async fn http2_is_spoken_there_with_prior_knowledge() {
    let home = TempDir::new();
    let upstream = H2Upstream::start(|_| H2Step::Answer(200, vec![], "two".into(), vec![])).await;
    let path = home.join("app.sock");
    let _front = LocalFront::before(&path, upstream.addr);
    let config = Config::new()
        .upstream_at("app", &format!("unix:{}", path.display()), "protocol: http2")
        .policy("p", "timeout: 5s")
        .route("path: /**", "app", "p")
        .top("limits: { workers: 1 }");
    let proxy = Proxy::start(config).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.expect_upstream(200).text(), "two");
    }
    let connections: Vec<_> = upstream.requests().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0; 3].to_vec(), "one connection serves them");
}

#[tokio::test]
async fn what_never_reached_a_socket_was_not_sent_and_what_lost_its_answer_is_in_doubt() {
    let home = TempDir::new();
    let path = home.join("app.sock");
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/lost" => vec![Step::Body, Step::Reset],
        // Nothing is left open that would outlive whoever listens.
        _ => Answer::ok("x").header("connection", "close").steps(),
    })
    .await;
    let config = Config::new().upstream_at("app", &format!("unix:{}", path.display()), "").policy("p", POLICY).route(
        "path: /**",
        "app",
        "p",
    );
    let proxy = Proxy::start(config).await;
    // Nobody has made it yet.
    let refused = proxy.send(Request::keyed("/pay", "a", "x")).await.expect_problem(502, "upstream-unreachable");
    assert_eq!(refused["effect"], "none");
    access_line(&proxy, "\"error\":\"absent\"").await;
    let front = LocalFront::before(&path, upstream.addr);
    assert_eq!(proxy.send(Request::keyed("/pay", "a", "x")).await.status, 200, "the key is free again");
    proxy.send(Request::keyed("/lost", "b", "x")).await.expect_problem(502, "outcome-unknown");
    front.leave().await;
    // Its file is there, and nobody behind it.
    let refused = proxy.send(Request::keyed("/pay", "c", "x")).await.expect_problem(502, "upstream-unreachable");
    assert_eq!(refused["effect"], "none");
    access_line(&proxy, "\"error\":\"refused\"").await;
    let errors = proxy.metric("mainstay_attempts_total", &[("result", "absent")]).await;
    assert_eq!(errors, Some(1.0));
}

#[tokio::test]
async fn an_outbound_listener_at_a_socket_takes_calls_of_its_machine_as_local() {
    let (home, api) = (TempDir::new(), Upstream::answering(Answer::ok("api")).await);
    let path = home.join("out.sock");
    let config = Config::single(api.addr, "timeout: 5s, idempotency: { required: true, principal: required }")
        .local_listener("out", &path, "direction: outbound")
        .route("listener: out, host: api.test", "app", "p")
        .top("drain: { delay: 0s, timeout: 2s }");
    let mut proxy = Proxy::start(config).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let way = LocalWay::to(&path).await;
    for _ in 0..2 {
        let reply = Request::keyed("/pay", "k", "x").header("Host", "api.test").send(way.addr).await;
        assert_eq!(reply.expect_upstream(200).text(), "api");
    }
    assert_eq!(api.effects("k"), 1);
    let line = access_line(&proxy, "\"listener\":\"out\"").await;
    assert!(line.contains("\"direction\":\"outbound\"") && line.contains("\"client\":\"127.0.0.1\""), "{line}");
    Request::get("/").header("Host", "other.test").send(way.addr).await.expect_problem(403, "egress-denied");
    // Of Mainstay itself it is asked by whatever a client takes for this machine, by either HTTP.
    let operations = Request::get("/_mainstay/operations").header("Host", "localhost").send(way.addr).await;
    assert_eq!(operations.json()["operations"].as_array().map(Vec::len), Some(1), "`local` lists its own");
    let two = H2Client::connect(way.addr).await;
    let request = two.request("GET", "/_mainstay/operations").body(full("")).unwrap();
    assert_ne!(two.call(request).await.status, 200, "an address is not this machine's socket");
    assert_eq!(proxy.terminate().await.code(), Some(0));
    assert!(!path.exists(), "its file goes with it");
}

#[tokio::test]
async fn a_socket_of_the_dead_is_taken_over_and_one_of_the_living_is_not() {
    let (home, upstream) = (TempDir::new(), Upstream::answering(Answer::ok("x")).await);
    let path = home.join("in.sock");
    let config = || Config::single(upstream.addr, POLICY).local_listener("local", &path, "");
    let mut first = Proxy::start(config()).await;
    let said = Proxy::launch(config(), &Launch::default()).await;
    let Err(said) = said else { panic!("two listen at one socket") };
    assert!(said.contains("another process listens there") && said.contains("listener `local`"), "{said}");
    let way = LocalWay::to(&path).await;
    assert_eq!(Request::get("/").send(way.addr).await.expect_upstream(200).text(), "x", "the first was not disturbed");
    first.signal("KILL");
    first.ended().await;
    assert!(path.exists());
    let mut second = Proxy::start(config()).await;
    assert_eq!(Request::get("/").send(way.addr).await.expect_upstream(200).text(), "x");
    // A reload that has it no more lets it go, and one that has it again binds it.
    second.reload(Config::single(upstream.addr, POLICY));
    eventually("its file is gone", || async { (!path.exists()).then_some(()) }).await;
    second.reload(config());
    eventually("it is there again", || async { path.exists().then_some(()) }).await;
    assert_eq!(Request::get("/").send(way.addr).await.expect_upstream(200).text(), "x");
    fs::write(home.join("file"), "mine").unwrap();
    let config = Config::single(upstream.addr, POLICY).local_listener("local", &home.join("file"), "");
    let said = Proxy::launch(config, &Launch::default()).await.err().expect("it ends");
    assert!(said.contains("is no socket: remove it, or name another"), "{said}");
    assert_eq!(fs::read_to_string(home.join("file")).unwrap(), "mine");
}

/// Exit code, and all that was printed.
async fn checked(home: &TempDir, yaml: &str, more: &[&str]) -> (Option<i32>, String) {
    let file = home.join("mainstay.yaml");
    fs::write(&file, yaml).unwrap();
    let file = file.display().to_string();
    let output = run(&[&["check", file.as_str()][..], more].concat()).await;
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn a_check_knows_sockets_and_what_cannot_be_meant() {
    let (home, upstream) = (TempDir::new(), Upstream::answering(Answer::ok("x")).await);
    let at = |endpoint: &str| {
        Config::new().upstream_at("app", endpoint, "").policy("p", "timeout: 5s").route("path: /**", "app", "p")
    };
    let long = format!("unix:/{}", "x".repeat(107));
    let own = home.join("own.sock");
    for (config, wanted) in [
        (at("unix:app.sock"), "names no file by its whole path"),
        (at("unix://run/app.sock"), "names no file by its whole path"),
        (at(&long), "is too long for a socket"),
        (
            at(&format!("unix:{}", own.display())).local_listener("own", &own, ""),
            "is listener `own` of this configuration",
        ),
        (
            at("http://localhost:1").local_listener("a", &own, "").local_listener("b", &own, ""),
            "already listens on unix:",
        ),
        (at("http://localhost:1").local_listener("a", &own, "tls: { bundle_file: /x }"), "a Unix socket speaks no TLS"),
    ] {
        let (code, said) = checked(&home, &config.render(), &[]).await;
        assert!(code == Some(1) && said.contains(wanted), "{wanted}\n{said}");
    }
    let path = home.join("app.sock");
    let config = at(&format!("unix:{}", path.display())).local_listener("own", &own, "").render();
    let (code, said) = checked(&home, &config, &["--online"]).await;
    assert!(code != Some(0) && said.contains("the service makes this file when it starts"), "{said}");
    let front = LocalFront::before(&path, upstream.addr);
    let (code, said) = checked(&home, &config, &["--online"]).await;
    assert!(code == Some(0) && said.contains(&format!("upstreams.app unix:{}", path.display())), "{said}");
    front.leave().await;
    let (code, said) = checked(&home, &config, &["--online"]).await;
    assert!(code != Some(0) && said.contains("nobody listens: is the service running?"), "{said}");
}
