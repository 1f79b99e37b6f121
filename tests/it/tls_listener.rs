//! Listeners that speak TLS: who is let in, as whom, and what becomes of everybody else.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use mainstay_tests::{
    authority::{Authority, Issued},
    h2c::{self, H2Client},
    prelude::*,
    proxy::{Launch, TempDir, run},
    tls::TlsClient,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true, principal: required }";

fn pair(own: &Issued) -> String {
    format!("cert_file: {}, key_file: {}", own.cert.display(), own.key.display())
}

/// `localhost`, for callers of `clients`.
struct World {
    authority: Authority,
    clients: Authority,
    upstream: Upstream,
}

impl World {
    async fn new() -> Self {
        let upstream = Upstream::answering(Answer::ok("x")).await;
        Self { authority: Authority::new("right"), clients: Authority::new("clients"), upstream }
    }

    fn tls(&self) -> String {
        format!(
            "{}, client: {{ ca_file: {} }}",
            pair(&self.authority.issue("own", "DNS:localhost")),
            self.clients.cert().display()
        )
    }

    fn config(&self, tls: &str, more: &str) -> Config {
        Config::new()
            .upstream("app", self.upstream.addr, "")
            .policy("p", POLICY)
            .policy("r", "timeout: 5s")
            .route("path: /pay/**", "app", "p")
            .route("path: /**", "app", "r")
            .listener(&format!("tls: {{ {tls} }}{more}"))
    }

    async fn proxy(&self, more: &str) -> Proxy {
        Proxy::start(self.config(&self.tls(), more)).await
    }
}

#[tokio::test]
async fn a_caller_is_whom_its_certificate_names() {
    let world = World::new().await;
    let proxy = world.proxy(", principal: { tls: san }").await;
    // An address and `localhost` are no host of a request, so that both protocols ask for the same.
    let keyed = || Request::keyed("/pay", "k", "x").header("Host", "localhost");
    let (ann, bob) = ("URI:spiffe://prod/ann", "URI:spiffe://prod/bob, DNS:bob.example, DNS:bobby.example");
    for (names, is_known) in [
        (ann, true),
        (bob, true),
        ("DNS:carl.example", true),
        ("DNS:dora.example, DNS:dorothy.example", false),
        ("URI:spiffe://prod/a, URI:spiffe://prod/b, DNS:e.example", false),
    ] {
        let own = world.clients.issue("own", names);
        let client = TlsClient::of(&world.authority, Some(&own));
        let way = client.way_to(proxy.addr).await;
        // The same key of each of them is another write.
        let reply = keyed().send(way.addr).await;
        let expected = if is_known { 200 } else { 401 };
        assert_eq!(reply.status, expected, "{names}: {}", reply.text());
        if !is_known {
            reply.expect_problem(401, "principal-missing");
            continue;
        }
        let again = keyed().send(way.addr).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{names}: {}", again.text());
        let way = TlsClient { alpn: &[b"h2"], ..client }.way_to(proxy.addr).await;
        let two = H2Client::connect(way.addr).await;
        let request = two.request("POST", "/pay").header("idempotency-key", "k").body(h2c::full("x")).unwrap();
        assert_eq!(two.call(request).await.headers["idempotent-replayed"], "true", "{names}");
    }
    assert_eq!(world.upstream.effects("k"), 3);
    let seen = world.upstream.requests();
    assert!(seen.iter().all(|seen| seen.header("x-forwarded-proto") == Some("https")), "{seen:#?}");
    assert_eq!(
        proxy.metric("mainstay_tls_handshakes_total", &[("listener", "inbound"), ("result", "ok")]).await,
        Some(11.0)
    );
}

#[tokio::test]
async fn one_kind_of_name_may_be_the_only_one_that_counts_and_access_is_given_by_it() {
    let world = World::new().await;
    let access = "access: { allow: [{ principal: \"spiffe://prod/ns/shop/**\" }] }";
    let proxy = world.proxy(&format!(", principal: {{ tls: uri }}, {access}")).await;
    for (names, status) in [
        ("URI:spiffe://prod/ns/shop/sa/web", 200),
        ("URI:spiffe://prod/ns/shopping/sa/web", 403),
        ("DNS:shop.example", 403),
    ] {
        let own = world.clients.issue("own", names);
        let way = TlsClient::of(&world.authority, Some(&own)).way_to(proxy.addr).await;
        let reply = Request::get("/").send(way.addr).await;
        assert_eq!(reply.status, status, "{names}: {}", reply.text());
        if status == 403 {
            reply.expect_problem(403, "forbidden");
        }
    }
}

/// The metric and the log say why there is no connection.
async fn expect_refused(proxy: &Proxy, word: &str, whom: Option<&str>) {
    let metric = "mainstay_tls_handshakes_total";
    eventually(&format!("{word} is counted"), || async {
        let counted = proxy.metric(metric, &[("listener", "inbound"), ("result", word)]).await;
        (counted >= Some(1.0)).then_some(())
    })
    .await;
    let line = eventually(&format!("{word} is logged"), || async {
        let log = proxy.log();
        let result = format!("\"result\":\"{word}\"");
        log.lines().find(|line| line.contains(&result)).map(str::to_owned)
    })
    .await;
    assert!(line.contains("WARN") && line.contains("\"peer\":\"127.0.0.1:"), "{line}");
    if let Some(whom) = whom {
        assert!(line.contains(whom) && line.contains("\"serial\""), "{line}");
    }
}

/// What a client is told that the proxy may not believe: nothing but an end.
async fn is_refused(client: &TlsClient<'_>, proxy: &Proxy) {
    let Ok(mut stream) = client.connect(proxy.addr).await else { return };
    stream.write_all(&Request::get("/").bytes()).await.ok();
    let mut answer = Vec::new();
    let read = within("an end", stream.read_to_end(&mut answer)).await;
    assert!(read.is_err() && answer.is_empty(), "{read:?} {}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn who_is_not_let_in_is_named_in_the_log_and_counted_by_reason() {
    let world = World::new().await;
    let revoked = world.clients.issue_between("revoked", "URI:spiffe://prod/revoked", "20200101", "20990101");
    let list = world.clients.revoke(&revoked);
    let tls = world.tls().replace("client: { ", &format!("client: {{ crl_file: {}, ", list.display()));
    let proxy = Proxy::start(world.config(&tls, ", principal: { tls: san }")).await;
    let clients = &world.clients;
    let ok = clients.issue("own", "URI:spiffe://prod/ok");
    let way = TlsClient::of(&world.authority, Some(&ok)).way_to(proxy.addr).await;
    assert_eq!(Request::get("/").send(way.addr).await.status, 200);
    let strangers = Authority::new("stranger");
    let stranger = strangers.issue("own", "URI:spiffe://prod/stranger");
    let old = clients.issue_between("old", "URI:spiffe://prod/old", "20200101", "20200102");
    let new = clients.issue_between("new", "URI:spiffe://prod/new", "20990101", "20990102");
    let before = world.upstream.count();
    for (own, word, whom) in [
        (None, "no_certificate", None),
        (Some(&stranger), "unknown_ca", Some("spiffe://prod/stranger")),
        (Some(&old), "expired", Some("spiffe://prod/old")),
        (Some(&new), "not_yet_valid", Some("spiffe://prod/new")),
        (Some(&revoked), "revoked", Some("spiffe://prod/revoked")),
    ] {
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            is_refused(&TlsClient { versions, ..TlsClient::of(&world.authority, own) }, &proxy).await;
        }
        expect_refused(&proxy, word, whom).await;
    }
    assert_eq!(world.upstream.count(), before);
}

/// What openssl's client says of a connection by an old protocol.
fn by_tls11(proxy: &Proxy) -> std::process::Output {
    Command::new("openssl")
        .args(["s_client", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-connect", &proxy.addr.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is there")
}

#[tokio::test]
async fn who_speaks_no_such_tls_is_told_so() {
    let world = World::new().await;
    let own = pair(&world.authority.issue("own", "DNS:localhost"));
    let config = world.config(&own, "").top("limits: { handshake_timeout: 300ms }");
    let proxy = Proxy::start(config).await;
    // In clear: an answer that every client can read, and an end.
    let mut clear = proxy.connect().await;
    let reply = clear.call(&Request::post("/pay", vec![b'x'; 100_000])).await;
    assert_eq!((reply.status, reply.text().trim_end()), (400, "this port speaks TLS"));
    clear.expect_closed().await;
    expect_refused(&proxy, "protocol", None).await;
    let count = || async { proxy.metric("mainstay_tls_handshakes_total", &[("result", "protocol")]).await };
    let before = count().await;
    let said = by_tls11(&proxy);
    assert!(!said.status.success() || String::from_utf8_lossy(&said.stdout).contains("(NONE)"), "{said:?}");
    eventually("an old protocol is counted", || async { (count().await > before).then_some(()) }).await;
    // Slowly: nothing, or the beginning of a record.
    for sent in [&b""[..], &[22, 3, 1, 2, 0]] {
        let mut slow = TcpStream::connect(proxy.addr).await.unwrap();
        slow.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        within("it is cut off", slow.read_to_end(&mut rest)).await.ok();
    }
    expect_refused(&proxy, "timeout", None).await;
    // Who only looks whether the port is open is no news.
    drop(TcpStream::connect(proxy.addr).await.unwrap());
    eventually("it is counted", || async {
        (proxy.metric("mainstay_tls_handshakes_total", &[("result", "left")]).await >= Some(1.0)).then_some(())
    })
    .await;
    assert!(!proxy.log().contains("\"result\":\"left\""));
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn a_certificate_is_wanted_only_if_the_configuration_says_so() {
    let world = World::new().await;
    let tls = world.tls().replace("client: { ", "client: { required: false, ");
    let proxy = Proxy::start(world.config(&tls, ", principal: { tls: san }")).await;
    let way = TlsClient::of(&world.authority, None).way_to(proxy.addr).await;
    assert_eq!(Request::get("/").send(way.addr).await.status, 200);
    Request::keyed("/pay", "k", "x").send(way.addr).await.expect_problem(401, "principal-missing");
    let strangers = Authority::new("stranger");
    let stranger = strangers.issue("own", "URI:spiffe://prod/x");
    is_refused(&TlsClient::of(&world.authority, Some(&stranger)), &proxy).await;
}

#[tokio::test]
async fn each_name_has_its_own_certificate_and_the_first_is_for_everybody_else() {
    let world = World::new().await;
    let named = |name: &str| pair(&world.authority.issue(name, &format!("DNS:{name}.example.com")));
    let own = pair(&world.authority.issue("own", "DNS:localhost"));
    let by_name =
        format!("names: {{ pay.example.com: {{ {} }}, api.example.com: {{ {} }} }}", named("pay"), named("api"));
    let proxy = Proxy::start(world.config(&format!("{own}, {by_name}"), "")).await;
    for (name, is_there) in
        [("localhost", true), ("pay.example.com", true), ("api.example.com", true), ("other.example.com", false)]
    {
        let connected = TlsClient { name, ..TlsClient::of(&world.authority, None) }.connect(proxy.addr).await;
        assert_eq!(connected.is_ok(), is_there, "{name}: {connected:?}");
    }
}

#[tokio::test]
async fn the_end_of_an_answer_is_told_from_a_cut() {
    let world = World::new().await;
    let own = pair(&world.authority.issue("own", "DNS:localhost"));
    let upstream = Upstream::start(|seen| {
        let answer = Answer::ok(vec![b'x'; 100_000]).chunked();
        if seen.target == "/cut" {
            let mut steps = answer.cut(50_000);
            steps.push(Step::Reset);
            return steps;
        }
        answer.steps()
    })
    .await;
    let config = Config::single(upstream.addr, "timeout: 5s").listener(&format!("tls: {{ {own} }}"));
    let proxy = Proxy::start(config).await;
    for (target, is_whole) in [("/", true), ("/cut", false)] {
        let mut stream = TlsClient::of(&world.authority, None).connect(proxy.addr).await.unwrap();
        // Of an answer to HTTP/1.0 whose length is not known only the end of the connection says that it is whole.
        stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = within("an end", stream.read_to_end(&mut answer)).await;
        assert_eq!(read.is_ok(), is_whole, "{target}: {read:?}");
        assert!(!is_whole || answer.len() > 100_000);
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_it_was_opened_by() {
    let world = World::new().await;
    let proxy = world.proxy(", principal: { tls: san }").await;
    let at = |seconds: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        at.strftime("%Y%m%d%H%M%S").to_string()
    };
    let own = world.clients.issue_between("short", "URI:spiffe://prod/short", &at(-60), &at(4));
    let client = TlsClient::of(&world.authority, Some(&own));
    let way = client.way_to(proxy.addr).await;
    let mut one = Client::connect(way.addr).await;
    let first = one.call(&Request::get("/")).await;
    assert_eq!((first.status, first.header("connection")), (200, None));
    let way = TlsClient { alpn: &[b"h2"], ..client }.way_to(proxy.addr).await;
    let two = H2Client::connect(way.addr).await;
    let request = || two.request("GET", "/").body(h2c::full("")).unwrap();
    assert_eq!(two.call(request()).await.status, 200);
    within("the client is told to go", async {
        loop {
            let reply = one.call(&Request::get("/")).await;
            assert_eq!(reply.status, 200, "what was asked in time is answered");
            if reply.header("connection") == Some("close") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    one.expect_closed().await;
    eventually("the other is told, too", || async { two.sender().is_closed().then_some(()) }).await;
    is_refused(&TlsClient { alpn: &[], ..TlsClient::of(&world.authority, Some(&own)) }, &proxy).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start() {
    let world = World::new().await;
    let (own, other) = (world.authority.issue("own", "DNS:localhost"), world.authority.issue("other", "DNS:x"));
    let dir = TempDir::new();
    fs::write(dir.join("empty.pem"), "").expect("write");
    let show = |path: &Path| path.display().to_string();
    let client = |file: &Path| format!("{}, client: {{ ca_file: {} }}", pair(&own), file.display());
    for (tls, wanted) in [
        (format!("bundle_file: {}", show(&dir.join("none.pem"))), "none.pem: it cannot be read"),
        (format!("bundle_file: {}", show(&dir.join("empty.pem"))), "empty.pem: it is empty"),
        (format!("bundle_file: {}", show(&own.cert)), "there is no private key in it"),
        (format!("cert_file: {}, key_file: {}", show(&own.cert), show(&other.key)), "none of the certificates of"),
        (client(&own.cert), "is no authority's"),
        (client(&own.key), "there is no certificate in it"),
    ] {
        let config = world.config(&tls, "");
        let file = dir.join("mainstay.yaml");
        fs::write(&file, config.render()).expect("write");
        let ended = run(&["-c", &show(&file)]).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
        assert!(said.contains("listener `inbound`: ") && said.contains(wanted), "{wanted}\n{said}");
        assert_eq!(ended.status.code(), Some(2), "{said}");
    }
    assert!(Proxy::launch(world.config(&world.tls(), ""), &Launch::default()).await.is_ok());
}

#[tokio::test]
async fn a_check_looks_into_the_files_that_are_there() {
    let world = World::new().await;
    let dir = TempDir::new();
    let issue =
        |name: &str, from: &str, to: &str| pair(&world.authority.issue_between(name, "DNS:localhost", from, to));
    let day = |days: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        at.strftime("%Y%m%d").to_string()
    };
    let far = pair(&world.authority.issue_between("far", "DNS:localhost", "20260101", "20990101"));
    for (tls, wanted) in [
        (issue("old", "20200101", "20200102"), "the certificate has expired"),
        (issue("new", "20990101", "20990102"), "the certificate is not valid yet"),
        (issue("late", &day(-100), &day(10)), "in the last fifth of its life"),
        (format!("bundle_file: {}", world.authority.cert().display()), "there is no private key in it"),
        ("bundle_file: /nowhere/else.pem".to_owned(), ""),
        (far, ""),
    ] {
        let file = dir.join("mainstay.yaml");
        fs::write(&file, world.config(&tls, "").render()).expect("write");
        let checked = run(&["check", &file.display().to_string()]).await;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{said}");
        assert!(said.contains(wanted), "{wanted}\n{said}");
        assert!(!wanted.is_empty() || !said.contains("the certificate"), "{said}");
    }
}
