//! The operators' listener over TLS, and the command line that reaches it.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};

use mainstay_tests::{
    authority::{Authority, Issued},
    prelude::*,
    proxy::{Launch, TempDir, binary, run},
    tls::TlsClient,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true }, circuit_breaker: { consecutive_errors: 99 }";
const ANA: &str = "spiffe://prod/people/ana";

fn pair(own: &Issued) -> String {
    format!("cert_file: {}, key_file: {}", own.cert.display(), own.key.display())
}

/// An operators' listener of `localhost`, and whom it lets in.
struct World {
    authority: Authority,
    people: Authority,
    own: Issued,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("right");
        let own = authority.issue("own", "DNS:localhost");
        Self { authority, people: Authority::new("people"), own }
    }

    /// A proxy whose writes all stay in doubt.
    fn config(upstream: &Upstream, tls: &str) -> Config {
        Config::single(upstream.addr, POLICY).admin().admin_more(&format!("tls: {{ {tls} }}"))
    }

    /// For whoever has a certificate of `people`.
    fn for_people(&self) -> String {
        format!("{}, client: {{ ca_file: {} }}", pair(&self.own), self.people.cert().display())
    }
}

async fn losing() -> Upstream {
    Upstream::start(|_| vec![Step::Body, Step::Reset]).await
}

/// A request under a name that the listener answers to anybody.
fn ask(request: Request) -> Request {
    request.header("Host", "localhost")
}

async fn counted(proxy: &Proxy, result: &str) {
    let labels = [("listener", "admin"), ("result", result)];
    eventually(&format!("{result} is counted"), || async {
        (proxy.metric("mainstay_tls_handshakes_total", &labels).await >= Some(1.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn operators_are_served_over_tls_and_whoever_speaks_in_clear_is_told_so() {
    let (world, upstream) = (World::new(), losing().await);
    let proxy = Proxy::start(World::config(&upstream, &pair(&world.own))).await;
    let admin = proxy.config.admin.unwrap();
    let client = TlsClient { alpn: &[b"h2", b"http/1.1"], ..TlsClient::of(&world.authority, None) };
    let chosen = client.connect(admin).await.expect("a connection").get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(chosen.as_deref(), Some(&b"http/1.1"[..]), "it speaks no HTTP/2");
    let way = client.way_to(admin).await;
    assert_eq!(ask(Request::get("/status")).send(way.addr).await.status, 200);
    let clear = ask(Request::get("/status")).send(admin).await;
    assert_eq!((clear.status, clear.text().trim_end()), (400, "this port speaks TLS"));
    counted(&proxy, "ok").await;
    counted(&proxy, "protocol").await;
    // A page of the same host that came in clear is of another origin; so is one of another port.
    let post = || ask(Request::post("/drain", "{}")).header("Content-Type", "application/json");
    for (origin, status) in [("http://localhost", 403), ("https://localhost:1", 403), ("https://localhost", 200)] {
        assert_eq!(post().header("Origin", origin).send(way.addr).await.status, status, "{origin}");
    }
    Request::get("/status").header("Host", "evil.test").send(way.addr).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn who_has_a_certificate_comes_in_and_acts_by_its_name() {
    let (world, upstream) = (World::new(), losing().await);
    let proxy = Proxy::start(World::config(&upstream, &world.for_people())).await;
    let admin = proxy.config.admin.unwrap();
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    let strangers = Authority::new("strangers");
    let stranger = strangers.issue("own", "URI:spiffe://prod/people/eve");
    for (own, word) in [(None, "no_certificate"), (Some(&stranger), "unknown_ca")] {
        if let Ok(mut stream) = TlsClient::of(&world.authority, own).connect(admin).await {
            stream.write_all(&ask(Request::get("/status")).bytes()).await.ok();
            let mut answer = Vec::new();
            let read = within("an end", stream.read_to_end(&mut answer)).await;
            assert!(read.is_err() && answer.is_empty(), "{read:?} {}", String::from_utf8_lossy(&answer));
        }
        counted(&proxy, word).await;
        let line = eventually("it is logged", || async {
            let result = format!("\"result\":\"{word}\"");
            proxy.log().lines().find(|line| line.contains(&result)).map(str::to_owned)
        })
        .await;
        assert!(line.contains("WARN") && line.contains("\"listener\":\"admin\""), "{line}");
    }
    let ana = world.people.issue("ana", &format!("URI:{ANA}"));
    let way = TlsClient::of(&world.authority, Some(&ana)).way_to(admin).await;
    // Under whatever name: no page could have it send a certificate to a server that is not of that name.
    let status = Request::get("/status").header("Host", "payments.shop.svc").send(way.addr).await;
    assert_eq!((status.status, status.json()["caller"].as_str().map(str::to_owned)), (200, Some(ANA.to_owned())));
    let resolve = |actor: Option<&str>| {
        let mut body = serde_json::json!({ "state": "succeeded", "reason": "the bank says booked" });
        if let Some(actor) = actor {
            body["actor"] = actor.into();
        }
        ask(Request::post(&format!("/operations/{id}:resolve"), body.to_string()))
            .header("Content-Type", "application/json")
            .header("If-Match", "*")
    };
    resolve(Some("bo")).send(way.addr).await.expect_problem(403, "forbidden");
    assert_eq!(resolve(None).send(way.addr).await.status, 200);
    let trail = ask(Request::get("/audit")).send(way.addr).await.json();
    assert_eq!(trail["entries"][0]["actor"], ANA);
}

#[tokio::test]
async fn a_token_is_asked_for_beside_a_certificate_where_there_is_one() {
    let (world, upstream, home) = (World::new(), losing().await, TempDir::new());
    fs::write(home.join("token"), "s3cret").unwrap();
    let config = Config::single(upstream.addr, POLICY).admin_with(&home.join("token"));
    let proxy = Proxy::start(config.admin_more(&format!("tls: {{ {} }}", world.for_people()))).await;
    let ana = world.people.issue("ana", &format!("URI:{ANA}"));
    let way = TlsClient::of(&world.authority, Some(&ana)).way_to(proxy.config.admin.unwrap()).await;
    ask(Request::get("/status")).send(way.addr).await.expect_problem(401, "forbidden");
    let status = ask(Request::get("/status")).header("Authorization", "Bearer s3cret").send(way.addr).await;
    assert_eq!((status.status, status.json()["caller"].clone()), (200, Value::Null));
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out_and_is_cut_off() {
    let (world, upstream) = (World::new(), losing().await);
    let config = World::config(&upstream, &pair(&world.own)).top("limits: { handshake_timeout: 500ms }");
    let proxy = Proxy::start(config).await;
    let admin = proxy.config.admin.unwrap();
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(admin).await.unwrap());
    }
    let way = TlsClient::of(&world.authority, None).way_to(admin).await;
    assert_eq!(ask(Request::get("/status")).send(way.addr).await.status, 200);
    for mut stream in silent {
        within("it is cut off", stream.read_to_end(&mut Vec::new())).await.ok();
    }
    counted(&proxy, "timeout").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_an_expired_one_is_in_readiness() {
    let (world, upstream, home) = (World::new(), losing().await, TempDir::new());
    let put = |from: &Path, name: &str| {
        fs::copy(from, home.join("next")).expect("copy");
        fs::rename(home.join("next"), home.join(name)).expect("put it in place");
    };
    put(&world.own.cert, "own.pem");
    put(&world.own.key, "own.key");
    let tls = format!("cert_file: {}, key_file: {}", home.join("own.pem").display(), home.join("own.key").display());
    let proxy = Proxy::start(World::config(&upstream, &tls)).await;
    let old = world.authority.issue_between("old", "DNS:localhost", "20200101", "20200102");
    put(&old.key, "own.key");
    put(&old.cert, "own.pem");
    let reason = "certificate of the admin listener expired 2020-01-02";
    eventually("readiness says so", || async {
        let ready = proxy.probe("/readyz").await;
        (ready.status == 503 && ready.text().contains(reason)).then_some(())
    })
    .await;
    let until = proxy.metric("mainstay_tls_certificate_not_after_timestamp_seconds", &[("use", "admin")]).await;
    assert_eq!(until, Some(1_577_923_200.0));
    put(&world.own.cert, "own.pem");
    put(&world.own.key, "own.key");
    eventually("it is ready again", || async { (proxy.ready().await == Some(200)).then_some(()) }).await;
    let way = TlsClient::of(&world.authority, None).way_to(proxy.config.admin.unwrap()).await;
    assert_eq!(ask(Request::get("/status")).send(way.addr).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_used_ends_the_start_and_is_found_by_a_check() {
    let (world, upstream, home) = (World::new(), losing().await, TempDir::new());
    let unusable = format!("bundle_file: {}", world.own.cert.display());
    let said = Proxy::launch(World::config(&upstream, &unusable), &Launch::default()).await.err().expect("it ends");
    assert!(said.contains("admin: ") && said.contains("there is no private key in it"), "{said}");
    let old = world.authority.issue_between("old", "DNS:localhost", "20200101", "20200102");
    let (old, for_people) = (pair(&old), world.for_people());
    let optional = for_people.replace("client: { ", "client: { required: false, ");
    for (tls, address, is_valid, wanted) in [
        (&unusable, "127.0.0.1:0", true, "the admin listener: "),
        (&old, "127.0.0.1:0", true, "the certificate has expired"),
        (&for_people, "0.0.0.0:0", true, ""),
        (&optional, "0.0.0.0:0", false, "admin.tls.client"),
    ] {
        let config = World::config(&upstream, tls);
        let text = config.render().replace(&config.admin.unwrap().to_string(), address);
        fs::write(home.join("mainstay.yaml"), text).expect("write");
        let checked = run(&["check", &home.join("mainstay.yaml").display().to_string()]).await;
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert_eq!(checked.status.success(), is_valid, "{said}");
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
}

/// Exit code, and all that was printed.
async fn typed(line: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = tokio::process::Command::new(binary());
    command.args(line).envs(variables.iter().copied()).env("USER", "ana").stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = within("it ends", command.output()).await.expect("run mainstay");
    let said = String::from_utf8([stdout, stderr].concat()).expect("UTF-8");
    (status.code().expect("it was not killed"), said)
}

#[tokio::test]
async fn every_command_reaches_it_over_tls() {
    let (world, upstream) = (World::new(), losing().await);
    let proxy = Proxy::start(World::config(&upstream, &world.for_people())).await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    let ana = world.people.issue("ana", &format!("URI:{ANA}"));
    let show = |path: &Path| path.display().to_string();
    let address = format!("https://localhost:{}", proxy.config.admin.unwrap().port());
    let (ca, cert, key) = (show(&world.authority.cert()), show(&ana.cert), show(&ana.key));
    let variables = [
        ("MAINSTAY_ADMIN", address.as_str()),
        ("MAINSTAY_CA_FILE", &ca),
        ("MAINSTAY_CERT_FILE", &cert),
        ("MAINSTAY_KEY_FILE", &key),
    ];
    for (line, wanted) in [
        (&["ops", "ls"][..], "unknown"),
        (&["ops", "show", &id], "nobody knows yet"),
        (&["ops", "resolve", &id, "--as", "succeeded", "--reason", "booked"], "unknown -> succeeded"),
        (&["audit"], "spiffe://prod/p"),
        (&["breakers"], "p@app"),
        (&["drain"], "draining"),
        (&["drain", "--undo"], "not draining"),
    ] {
        let (code, said) = typed(line, &variables).await;
        assert!(code == 0 && said.contains(wanted), "{line:?}: {code} {said}");
    }
    let (code, said) = typed(&["status"], &variables).await;
    assert!(code < 2, "{said}");
    // All of it said on the command line, which the environment adds nothing to.
    let bundle = TempDir::new();
    fs::write(bundle.join("own.pem"), [fs::read(&ana.cert).unwrap(), fs::read(&ana.key).unwrap()].concat()).unwrap();
    let own = show(&bundle.join("own.pem"));
    let line = ["ops", "ls", "--all", "--admin", &address, "--ca-file", &ca, "--bundle-file", &own];
    let (code, said) = typed(&line, &[("MAINSTAY_CERT_FILE", "/nowhere")]).await;
    assert!(code == 0 && said.contains("succeeded"), "{code} {said}");
}

#[tokio::test]
async fn what_is_in_the_way_is_named_with_its_cure() {
    let (world, upstream) = (World::new(), losing().await);
    let open = Proxy::start(World::config(&upstream, &pair(&world.own))).await;
    let guarded = Proxy::start(World::config(&upstream, &world.for_people())).await;
    let clear = Proxy::start(Config::single(upstream.addr, POLICY).admin()).await;
    let port = |proxy: &Proxy| proxy.config.admin.unwrap().port();
    let (named, numbered) =
        (|proxy| format!("https://localhost:{}", port(proxy)), |proxy| format!("https://127.0.0.1:{}", port(proxy)));
    let show = |path: &Path| path.display().to_string();
    let strangers = Authority::new("strangers");
    let stranger = strangers.issue("own", "DNS:eve");
    let (ca, cert, key) = (show(&world.authority.cert()), show(&stranger.cert), show(&stranger.key));
    let trusted = ["--ca-file", &ca];
    let shown = ["--ca-file", &ca, "--cert-file", &cert, "--key-file", &key];
    let renamed = ["--ca-file", &ca, "--server-name", "localhost"];
    for (address, more, code, wanted) in [
        (named(&open), &[][..], 3, "the certificate is not signed by a CA that is known; name its CA with --ca-file"),
        (numbered(&open), &trusted, 3, "--server-name"),
        (numbered(&open), &renamed, 0, ""),
        (named(&guarded), &trusted, 3, "it asks for a certificate of yours: name it with --cert-file"),
        (named(&guarded), &shown, 3, "cannot reach"),
        (named(&clear), &trusted, 3, "it speaks no TLS: write http://"),
        (format!("http://127.0.0.1:{}", port(&open)), &[], 3, "this port speaks TLS: write https://"),
        (named(&open), &["--ca-file", "/nowhere/ca.pem"], 2, "/nowhere/ca.pem: it cannot be read"),
        (named(&open), &["--cert-file", &cert], 2, "--cert-file and --key-file"),
        ("ftp://localhost".to_owned(), &[], 2, "is no address of a proxy"),
    ] {
        let line = [&["ops", "ls", "--admin", &address][..], more].concat();
        let (ended, said) = typed(&line, &[]).await;
        assert!(ended == code && said.contains(wanted), "{line:?}: {ended} {said}");
    }
    // A SPIFFE certificate has no name.
    let spiffe = world.authority.issue("spiffe", "URI:spiffe://prod/mainstay");
    let proxy = Proxy::start(World::config(&upstream, &pair(&spiffe))).await;
    for (identity, code, wanted) in [("spiffe://prod/mainstay", 0, ""), ("spiffe://prod/x", 3, "see --identity")] {
        let address = numbered(&proxy);
        let line = ["ops", "ls", "--admin", &address, "--ca-file", &ca, "--identity", identity];
        let (ended, said) = typed(&line, &[]).await;
        assert!(ended == code && said.contains(wanted), "{identity}: {ended} {said}");
    }
}
