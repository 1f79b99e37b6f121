//! Services behind TLS: who they must be, which HTTP is spoken to them, and what a connection that is refused proves.

use std::net::SocketAddr;

use mainstay_tests::{
    authority::{Authority, Issued},
    h2_upstream::{H2Step, H2Upstream},
    prelude::*,
    proxy::{Launch, TempDir},
    tls::{Server, TlsFront},
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true }";

fn ca_file(authority: &Authority) -> String {
    format!("ca_file: {}", authority.cert().display())
}

fn pair(own: &Issued) -> String {
    format!("cert_file: {}, key_file: {}", own.cert.display(), own.key.display())
}

/// A proxy before `localhost` at the port of `addr`, over TLS.
async fn before(addr: SocketAddr, tls: &str, more: &str) -> Proxy {
    let more = format!("tls: {{ {tls} }}{more}");
    let config = Config::new().upstream_at("app", &format!("https://localhost:{}", addr.port()), &more);
    // Each worker has connections of its own.
    let config = config.top("limits: { workers: 1 }").policy("p", POLICY).policy("r", "timeout: 5s");
    Proxy::start(config.route("path: /pay/**", "app", "p").route("path: /**", "app", "r")).await
}

/// Nothing was sent: the answer says it, and the log the reason.
async fn expect_unsent(proxy: &Proxy, word: &str) {
    let reply = proxy.send(Request::keyed("/pay", word, "x")).await;
    let problem = reply.expect_problem(502, "upstream-unreachable");
    assert_eq!(problem["effect"], "none", "{problem}");
    eventually(&format!("the log says {word}"), || async {
        proxy.log().lines().any(|line| line.contains(&format!("\"error\":\"{word}\""))).then_some(())
    })
    .await;
    let counted = proxy.metric("mainstay_upstream_connect_errors_total", &[("cause", word)]).await;
    assert!(counted >= Some(1.0), "{word}: {counted:?}");
}

#[tokio::test]
async fn a_service_is_reached_over_tls_by_the_http_that_it_chooses() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let one = Upstream::answering(Answer::ok("one")).await;
    let two = H2Upstream::start(|_| H2Step::Answer(200, vec![], "two".into(), vec![])).await;
    let h2: &[&[u8]] = &[b"h2"];
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (alpn, behind, protocol, body, chosen) in [
        (&[b"http/1.1" as &[u8]][..], one.addr, "auto", "one", Some(&b"http/1.1"[..])),
        (&[], one.addr, "auto", "one", None),
        (both, two.addr, "auto", "two", Some(b"h2")),
        (h2, two.addr, "http2", "two", Some(b"h2")),
        (both, one.addr, "http1", "one", Some(b"http/1.1")),
    ] {
        let front = Server { alpn, ..Server::of(&own) }.before(behind).await;
        let proxy = before(front.addr, &ca_file(&authority), &format!(", protocol: {protocol}")).await;
        for _ in 0..2 {
            assert_eq!(proxy.get("/").await.expect_upstream(200).text(), body, "{protocol} {alpn:?}");
        }
        let upload = proxy.send(Request::post("/", vec![b'x'; 300_000])).await;
        assert_eq!(upload.expect_upstream(200).text(), body);
        let shaken = front.handshakes();
        let expected = (Some("localhost".to_owned()), chosen.map(<[u8]>::to_vec));
        assert_eq!(shaken, [Ok(expected)], "{protocol} {alpn:?}: one connection for all");
    }
}

#[tokio::test]
async fn who_is_not_the_service_is_sent_nothing_and_the_reason_has_a_word() {
    let (authority, stranger) = (Authority::new("right"), Authority::new("stranger"));
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let spiffe = "spiffe://prod/ns/pay/sa/ledgerd";
    let (ca, names) = (ca_file(&authority), format!("DNS:localhost, URI:{spiffe}"));
    let identity = format!("{ca}, identity: [\"{spiffe}\"]");
    let two = format!("{names}, URI:spiffe://prod/another");
    for (issued, tls, word) in [
        (authority.issue("own", "DNS:localhost"), ca.clone(), None),
        (stranger.issue("own", "DNS:localhost"), ca.clone(), Some("tls:unknown_ca")),
        (authority.issue("other", "DNS:db.example"), ca.clone(), Some("tls:wrong_name")),
        (authority.issue("other", "DNS:db.example"), format!("{ca}, server_name: db.example"), None),
        (authority.issue_between("old", "DNS:localhost", "20200101", "20200102"), ca.clone(), Some("tls:expired")),
        (authority.issue_between("new", "DNS:localhost", "20990101", "20990102"), ca, Some("tls:not_yet_valid")),
        (authority.issue("spiffe", &format!("URI:{spiffe}")), identity.clone(), None),
        (authority.issue("both", &names), identity.clone(), None),
        (authority.issue("one", "URI:spiffe://prod/ns/pay/sa/other"), identity.clone(), Some("tls:wrong_identity")),
        (authority.issue("two", &two), identity.clone(), Some("tls:wrong_identity")),
        (authority.issue("own", "DNS:localhost"), identity.clone(), Some("tls:wrong_identity")),
        (stranger.issue("own", &names), identity, Some("tls:unknown_ca")),
    ] {
        let front = Server::of(&issued).before(upstream.addr).await;
        let proxy = before(front.addr, &tls, "").await;
        match word {
            None => drop(proxy.get("/").await.expect_upstream(200)),
            Some(word) => {
                let seen = upstream.count();
                expect_unsent(&proxy, word).await;
                assert_eq!(upstream.count(), seen, "{word}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_such_tls_is_sent_nothing() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let clear = Upstream::with(|_| Accept::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into()), |_| vec![]).await;
    let silent = Upstream::with(|_| Accept::Stall, |_| vec![]).await;
    let closing = Upstream::with(|_| Accept::Close, |_| vec![]).await;
    let tls12 = &[&rustls::version::TLS12];
    let old = Server { versions: tls12, ..Server::of(&own) }.before(upstream.addr).await;
    let h1 = Server::of(&own).before(upstream.addr).await;
    let ca = ca_file(&authority);
    for (addr, tls, more, word) in [
        (old.addr, format!("{ca}, min_version: \"1.3\""), "", "tls:protocol"),
        (clear.addr, ca.clone(), "", "tls:protocol"),
        (h1.addr, ca.clone(), ", protocol: http2", "tls:protocol"),
        (silent.addr, ca.clone(), ", connect_timeout: 200ms", "tls:timeout"),
        (closing.addr, ca.clone(), "", "tls:eof"),
    ] {
        expect_unsent(&before(addr, &tls, more).await, word).await;
    }
    assert_eq!(upstream.log().completed, 0);
}

/// A write that a peer refuses, for want of a certificate that it trusts, was not sent; with one it is made, under the same key.
async fn refuses_our_certificate(front: &TlsFront, effects: impl Fn() -> usize, clients: &Authority, ca: &str) {
    let stranger = Authority::new("stranger");
    for (own, word) in [
        (String::new(), "tls:certificate_required"),
        (format!(", {}", pair(&stranger.issue("own", "URI:spiffe://x/y"))), "tls:certificate_refused"),
    ] {
        let proxy = before(front.addr, &format!("{ca}{own}"), "").await;
        for _ in 0..2 {
            expect_unsent(&proxy, word).await;
        }
        let lookup = proxy.get(&format!("/_mainstay/operations?key={}", word.replace(':', "%3A"))).await;
        assert!(lookup.status == 404 || lookup.json()["state"] == "not_executed", "{}", lookup.text());
    }
    assert_eq!(effects(), 0);
    let proxy = before(front.addr, &format!("{ca}, {}", pair(&clients.issue("own", "URI:spiffe://x/y"))), "").await;
    let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((reply.status, effects()), (200, 1), "{}", reply.text());
}

#[tokio::test]
async fn a_peer_that_refuses_our_certificate_late_has_not_looked_at_the_write() {
    let (authority, clients) = (Authority::new("right"), Authority::new("clients"));
    let own = authority.issue("own", "DNS:localhost");
    let ca = ca_file(&authority);
    let one = Upstream::answering(Answer::ok("x")).await;
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let server = Server { clients: Some(&clients), versions, ..Server::of(&own) };
        let before = one.log().completed;
        refuses_our_certificate(&server.before(one.addr).await, || one.log().completed - before, &clients, &ca).await;
    }
    let two = H2Upstream::start(|_| H2Step::Answer(200, vec![], "x".into(), vec![])).await;
    let server = Server { clients: Some(&clients), alpn: &[b"h2"], ..Server::of(&own) };
    refuses_our_certificate(&server.before(two.addr).await, || two.requests().len(), &clients, &ca).await;
}

#[tokio::test]
async fn a_write_that_is_cut_off_by_a_reset_may_have_been_made() {
    let (authority, clients) = (Authority::new("right"), Authority::new("clients"));
    let own = authority.issue("own", "DNS:localhost");
    let tls = format!("{}, {}", ca_file(&authority), pair(&clients.issue("own", "URI:spiffe://x/y")));
    for ending in [Step::Reset, Step::Close] {
        let upstream = Upstream::start(move |_| vec![Step::Body, ending.clone()]).await;
        let server = Server { clients: Some(&clients), ..Server::of(&own) };
        let front = server.before(upstream.addr).await;
        let proxy = before(front.addr, &tls, "").await;
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(reply.slug(), Some("outcome-unknown"), "{}", reply.text());
        assert_eq!((&reply.json()["effect"], upstream.effects("k")), (&"unknown".into(), 1));
    }
}

#[tokio::test]
async fn an_answer_that_only_the_connections_end_delimits_is_whole_only_if_the_peer_says_goodbye() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let upstream = Upstream::answering(Answer::ok("all of it").until_close()).await;
    for (says_goodbye, slug) in [(true, None), (false, Some("outcome-unknown"))] {
        let front = Server { says_goodbye, ..Server::of(&own) }.before(upstream.addr).await;
        let proxy = before(front.addr, &ca_file(&authority), "").await;
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert_eq!(reply.slug(), slug, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_start_with_its_name_and_the_cause() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    for (tls, wanted) in [
        ("ca_file: /nowhere/ca.pem".to_owned(), "upstream `app`: /nowhere/ca.pem: it cannot be read"),
        (format!("ca_file: {}", own.cert.display()), "is no authority's"),
        (format!("bundle_file: {}", own.cert.display()), "there is no private key in it"),
    ] {
        let config = Config::new().upstream_at("app", "https://localhost", &format!("tls: {{ {tls} }}"));
        let config = config.policy("p", "timeout: 1s").route("path: /**", "app", "p");
        let log = Proxy::launch(config, &Launch::default()).await.err().expect("it does not start");
        assert!(log.contains(wanted), "{wanted}\n{log}");
    }
}

#[tokio::test]
async fn spans_go_over_tls_with_fields_from_files_that_nobody_is_shown() {
    let authority = Authority::new("right");
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let receiver = Upstream::answering(Answer::ok("")).await;
    let front = Server::of(&authority.issue("own", "DNS:localhost")).before(receiver.addr).await;
    let dir = TempDir::new();
    std::fs::write(dir.join("token"), "first-token\n").expect("write");
    let telemetry = format!(
        "telemetry: {{ otlp: {{ endpoint: \"https://localhost:{}\", tls: {{ {} }}, headers: {{ Authorization: {{ file: {}, \
         prefix: \"Bearer \" }}, X-Org: some-secret }} }} }}",
        front.addr.port(),
        ca_file(&authority),
        dir.join("token").display()
    );
    let config = Config::single(upstream.addr, "timeout: 1s").admin().top(&telemetry);
    let proxy = Proxy::start(config).await;
    for token in ["first-token", "second-token"] {
        std::fs::write(dir.join("token"), format!("{token}\n")).expect("write");
        let wanted = format!("Bearer {token}");
        eventually("an export with the token", || async {
            assert_eq!(proxy.get("/").await.status, 200);
            let exports = receiver.requests();
            let is_there = |seen: &Seen| {
                seen.header("authorization") == Some(&*wanted) && seen.header("x-org") == Some("some-secret")
            };
            exports.iter().any(is_there).then_some(())
        })
        .await;
    }
    let shown = proxy.operate(Request::get("/config")).await.text();
    assert!(shown.contains("(set)") && shown.contains("Bearer "), "{shown}");
    for secret in ["some-secret", "first-token", "second-token"] {
        assert!(!shown.contains(secret) && !proxy.log().contains(secret), "{secret}");
    }
}
