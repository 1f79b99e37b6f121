//! The shared ledger over TLS, with certificates that openssl makes: whom the store must be, who comes to it, and that all of it
//! can be replaced while writes go on.

use std::{fs, path::Path};

use mainstay_tests::{
    authority::{Authority, Issued},
    postgres::Postgres,
    postgres_tls::{self, USER},
    prelude::*,
    proxy::{Launch, TempDir},
};

const POLICY: &str = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", fenced: true, \
                      rules: [{ status: 200, then: succeeded }, { status: 404, then: not_found }] } }";

/// A proxy whose ledger is at `port`, with the password of `dir`.
fn config(upstream: &Upstream, port: u16, dir: &TempDir, tls: &str) -> Config {
    let password = dir.join("password");
    Config::single(upstream.addr, POLICY).ledger(&format!(
        "store: postgres, url: \"postgres://{USER}@localhost:{port}/postgres?channel_binding=require\", service: payments, \
         password_file: {}, lease: {{ heartbeat: 500ms, ttl: 3s }}, tls: {{ {tls} }}",
        password.display()
    ))
}

fn set_password(server: &Postgres, dir: &TempDir, password: &str) {
    server.sql(&format!("ALTER USER {USER} PASSWORD '{password}'"));
    // As a whole, as those who rotate secrets do.
    fs::write(dir.join("next"), format!("{password}\n")).expect("write the password");
    fs::rename(dir.join("next"), dir.join("password")).expect("put it in place");
}

fn ca_file(path: &Path) -> String {
    format!("ca_file: {}", path.display())
}

async fn service() -> Upstream {
    Upstream::start(|seen| match seen.method.as_str() {
        "POST" => Answer::status(201).body("made").steps(),
        _ => Answer::status(404).steps(),
    })
    .await
}

/// Cuts off everybody who is connected, so that they come again.
fn cut(server: &Postgres) {
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mainstay'");
}

async fn is_written(proxy: &Proxy, key: &str) {
    eventually("a write is taken", || async {
        (proxy.send(Request::keyed("/pay", key, "x")).await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_store_is_known_by_its_certificate_and_the_password_is_bound_to_it() {
    let authority = Authority::new("right");
    let Some((server, port)) = postgres_tls::start(&authority.issue("own", "DNS:localhost"), None) else { return };
    let (dir, upstream) = (TempDir::new(), service().await);
    set_password(&server, &dir, "first-secret");
    let proxy = Proxy::start(config(&upstream, port, &dir, &ca_file(&authority.cert()))).await;
    is_written(&proxy, "k").await;
    let seen = "SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = 'mainstay'";
    assert_eq!(server.sql(seen), "t|TLSv1.3");

    // Another's certificate, and its own for another name: nobody is believed, and a write is refused rather than sent.
    let strangers = Authority::new("stranger");
    let stranger = strangers.issue("own", "DNS:localhost");
    let misnamed = authority.issue("misnamed", "DNS:db.example");
    for (number, (issued, why)) in (0..).zip([
        (&stranger, "from no authority that is trusted here: name its authority in `ca_file`"),
        (&misnamed, "its certificate is not for `localhost`, but for db.example"),
    ]) {
        postgres_tls::replace(&server, issued);
        cut(&server);
        eventually("the log says why", || async { proxy.log().contains(why).then_some(()) }).await;
        let refused = proxy.send(Request::keyed("/pay", &format!("refused-{number}"), "x")).await;
        refused.expect_problem(503, "ledger-unavailable");
        assert_eq!(upstream.effects(&format!("refused-{number}")), 0);
    }
    postgres_tls::replace(&server, &authority.issue("again", "DNS:localhost"));
    is_written(&proxy, "after").await;
    assert!(!proxy.log().contains("first-secret"), "{}", proxy.log());
}

#[tokio::test]
async fn a_store_that_wants_to_know_its_clients_is_shown_a_certificate() {
    let (authority, clients) = (Authority::new("right"), Authority::new("clients"));
    let own = authority.issue("own", "DNS:localhost");
    let Some((server, port)) = postgres_tls::start(&own, Some(&clients)) else { return };
    let (dir, upstream) = (TempDir::new(), service().await);
    set_password(&server, &dir, "secret");
    let (cert, key) = (dir.join("client.pem"), dir.join("client.key"));
    let place = |issued: &Issued| {
        fs::copy(&issued.cert, &cert).expect("copy");
        fs::copy(&issued.key, &key).expect("copy");
    };
    place(&clients.issue_to("client", USER));
    let pair = format!("{}, cert_file: {}, key_file: {}", ca_file(&authority.cert()), cert.display(), key.display());
    let proxy = Proxy::start(config(&upstream, port, &dir, &pair)).await;
    is_written(&proxy, "k").await;

    let strangers = Authority::new("stranger");
    place(&strangers.issue_to("client", USER));
    cut(&server);
    let why = "the peer refuses our certificate";
    eventually("the log says why", || async { proxy.log().contains(why).then_some(()) }).await;
    place(&clients.issue_to("renewed", USER));
    is_written(&proxy, "after").await;
}

#[tokio::test]
async fn files_that_cannot_be_used_end_the_start_with_their_name_and_the_cause() {
    let authority = Authority::new("right");
    let own = authority.issue("own", "DNS:localhost");
    let (dir, upstream) = (TempDir::new(), service().await);
    let port = free_addr().port();
    let other = authority.issue_to("other", USER);
    fs::write(dir.join("empty.pem"), "\n").expect("write");
    fs::write(dir.join("password"), "secret").expect("write");
    let (ca, cert) = (ca_file(&authority.cert()), own.cert.display());
    for (tls, wanted) in [
        (ca_file(&dir.join("absent.pem")), "absent.pem: it cannot be read: No such file"),
        (ca_file(&dir.join("empty.pem")), "empty.pem: it is empty"),
        (ca_file(&own.key), "own.key: there is no certificate in it"),
        (ca_file(&own.cert), "own.pem: certificate 1 in it (CN=own) is no authority's"),
        (format!("{ca}, bundle_file: {cert}"), "own.pem: there is no private key in it"),
        (
            format!("{ca}, cert_file: {cert}, key_file: {}", other.key.display()),
            "other.key: none of the certificates of",
        ),
    ] {
        let ended = Proxy::launch(config(&upstream, port, &dir, &tls), &Launch::default()).await;
        let log = ended.err().expect("it does not start");
        assert!(log.contains("ledger.tls: ") && log.contains(wanted), "{wanted}\n{log}");
    }
}

#[tokio::test]
async fn password_and_certificates_are_replaced_while_writes_go_on() {
    let mut authority = Authority::new("first");
    let Some((server, port)) = postgres_tls::start(&authority.issue("own", "DNS:localhost"), None) else { return };
    let (dir, upstream) = (TempDir::new(), service().await);
    set_password(&server, &dir, "secret-0");
    let trusted = dir.join("ca.pem");
    fs::copy(authority.cert(), &trusted).expect("copy");
    let proxy = Proxy::start(config(&upstream, port, &dir, &ca_file(&trusted))).await;
    let (addr, stop) = (proxy.addr, std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = std::sync::Arc::clone(&stop);
    let load = tokio::spawn(async move {
        let mut answers = Vec::new();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let key = format!("k{}", answers.len());
            answers.push(Request::keyed("/pay", &key, "x").send(addr).await.status);
        }
        answers
    });
    for round in 1..=5 {
        authority = Authority::new(&format!("round {round}"));
        set_password(&server, &dir, &format!("secret-{round}"));
        fs::copy(authority.cert(), dir.join("next.pem")).expect("copy");
        fs::rename(dir.join("next.pem"), &trusted).expect("put it in place");
        postgres_tls::replace(&server, &authority.issue("own", "DNS:localhost"));
        cut(&server);
        is_written(&proxy, &format!("round-{round}")).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let answers = within("the load ends", load).await.unwrap();
    for (number, status) in answers.iter().enumerate() {
        let effects = upstream.effects(&format!("k{number}"));
        assert!(effects <= 1, "k{number} had {effects}");
        assert!(*status != 201 || effects == 1, "k{number}");
        assert!([201, 503, 504].contains(status), "k{number}: {status}");
    }
    assert!(answers.iter().filter(|status| **status == 201).count() > 5, "{answers:?}");
    let log = proxy.log();
    assert!((0..=5).all(|round| !log.contains(&format!("secret-{round}"))), "{log}");
}
