//! Keys and certificates that are replaced while traffic goes on, in whatever order their files change.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mainstay_tests::{
    authority::{Authority, Issued},
    prelude::*,
    proxy::TempDir,
    tls::{Server, TlsClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::{Instant, sleep},
};

/// How long certificates are replaced in a test: `MAINSTAY_LONG_TLS=60` for a minute.
fn long() -> Duration {
    let seconds = std::env::var("MAINSTAY_LONG_TLS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// The files of a proxy, which are written one after the other.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(own: &Issued) -> Self {
        let files = Self { dir: TempDir::new() };
        fs::copy(&own.cert, files.cert()).expect("copy");
        fs::copy(&own.key, files.key()).expect("copy");
        files
    }

    fn cert(&self) -> PathBuf {
        self.dir.join("own.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("own.key")
    }

    fn put(&self, from: &Path, to: &Path) {
        let next = self.dir.join("next");
        fs::copy(from, &next).expect("copy");
        fs::rename(next, to).expect("put it in place");
    }

    /// The certificate before its key, or behind it; between the two they do not fit.
    async fn replace(&self, own: &Issued, cert_first: bool) {
        let mut steps = [(&own.cert, self.cert()), (&own.key, self.key())];
        if !cert_first {
            steps.reverse();
        }
        for (from, to) in steps {
            self.put(from, &to);
            sleep(Duration::from_millis(60)).await;
        }
    }

    /// Others of the same authority, for as long as a test does that.
    async fn rotate(&self, authority: &Authority, names: &str) {
        let until = Instant::now() + long();
        let mut round = 0;
        while Instant::now() < until {
            self.replace(&authority.issue(&format!("n{round}"), names), round % 2 == 0).await;
            round += 1;
        }
    }

    fn pair(&self) -> String {
        format!("cert_file: {}, key_file: {}", self.cert().display(), self.key().display())
    }
}

/// Requests one after the other, each of which must be answered well.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<usize>,
}

impl Load {
    fn on(addr: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut answers = 0;
            while !stopped.load(Ordering::Relaxed) {
                let reply = Request::get("/").send(addr).await;
                assert_eq!(reply.status, 200, "{}", reply.text());
                answers += 1;
            }
            answers
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answers = within("the load ends", self.task).await.expect("no answer but 200");
        assert!(answers > 10, "{answers}");
    }
}

#[tokio::test]
async fn what_we_show_to_a_service_is_replaced_under_load_without_an_error() {
    let (authority, clients) = (Authority::new("right"), Authority::new("clients"));
    let own = authority.issue("own", "DNS:localhost");
    // Each answer ends its connection, so that each request shakes hands.
    let upstream = Upstream::answering(Answer::ok("x").header("connection", "close")).await;
    let front = Server { clients: Some(&clients), ..Server::of(&own) }.before(upstream.addr).await;
    let files = Files::new(&clients.issue("first", "URI:spiffe://x/first"));
    let tls = format!("tls: {{ ca_file: {}, {} }}", authority.cert().display(), files.pair());
    let config = Config::new().upstream_at("app", &format!("https://localhost:{}", front.addr.port()), &tls);
    let proxy = Proxy::start(config.policy("p", "timeout: 5s").route("path: /**", "app", "p")).await;
    let load = Load::on(proxy.addr);
    files.rotate(&clients, "URI:spiffe://x/next").await;
    load.end().await;

    // What is in force is what the files hold: a service that trusts only another authority now.
    let others = Authority::new("others");
    front.become_another(&Server { clients: Some(&others), ..Server::of(&own) });
    files.replace(&others.issue("other", "URI:spiffe://x/other"), true).await;
    eventually("the new one is shown", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    assert_eq!(proxy.metric("mainstay_tls_reloads_total", &[("result", "failure")]).await, Some(0.0));

    // What cannot be used is refused, once, and what is in force stays.
    let until = proxy.metric("mainstay_tls_certificate_not_after_timestamp_seconds", &[("use", "upstream:app")]).await;
    fs::write(files.key(), "no key\n").expect("write");
    eventually("it is refused", || async {
        let refused = proxy.metric("mainstay_tls_reloads_total", &[("result", "failure")]).await;
        (refused == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(proxy.get("/").await.status, 200);
    let log = eventually("the log says so", || async {
        let log = proxy.log();
        log.contains("there is no private key in it").then_some(log)
    })
    .await;
    assert_eq!(log.matches("certificates that cannot be used").count(), 1, "{log}");
    let again = proxy.metric("mainstay_tls_certificate_not_after_timestamp_seconds", &[("use", "upstream:app")]).await;
    assert!(until.is_some() && until == again, "{until:?} {again:?}");
}

#[tokio::test]
async fn what_a_listener_shows_and_whom_it_believes_is_replaced_under_load_without_an_error() {
    let (authority, clients) = (Authority::new("right"), Authority::new("clients"));
    let files = Files::new(&authority.issue("first", "DNS:localhost"));
    let trusted = files.dir.join("clients.pem");
    files.put(&clients.cert(), &trusted);
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let tls = format!("tls: {{ {}, client: {{ ca_file: {} }} }}", files.pair(), trusted.display());
    let config = Config::single(upstream.addr, "timeout: 5s").listener(&tls);
    let proxy = Proxy::start(config).await;
    let own = clients.issue("own", "URI:spiffe://x/y");
    // Its sessions are resumed where that is offered.
    let way = TlsClient::of(&authority, Some(&own)).way_to(proxy.addr).await;
    let load = Load::on(way.addr);
    files.rotate(&authority, "DNS:localhost").await;
    load.end().await;
    assert_eq!(proxy.metric("mainstay_tls_reloads_total", &[("result", "failure")]).await, Some(0.0));
    let taken = proxy.metric("mainstay_tls_reloads_total", &[("result", "success")]).await;
    assert!(taken > Some(1.0), "{taken:?}");

    // Whoever was believed before is so no more, with or without a session.
    let others = Authority::new("others");
    files.put(&others.cert(), &trusted);
    let other = others.issue("own", "URI:spiffe://x/z");
    let new = TlsClient::of(&authority, Some(&other));
    eventually("another authority is believed", || async {
        let mut stream = new.connect(proxy.addr).await.ok()?;
        stream.write_all(&Request::get("/").bytes()).await.ok()?;
        stream.read_u8().await.ok()
    })
    .await;
    let mut old = Client::connect(way.addr).await;
    old.write(&Request::get("/").bytes()).await;
    assert!(within("an end", old.try_reply()).await.is_err(), "the old one is refused");
}

#[tokio::test]
async fn a_certificate_that_expires_makes_the_listener_unready_until_it_is_renewed() {
    let authority = Authority::new("right");
    let files = Files::new(&authority.issue("first", "DNS:localhost"));
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").listener(&format!("tls: {{ {} }}", files.pair()));
    let proxy = Proxy::start(config).await;
    files.replace(&authority.issue_between("old", "DNS:localhost", "20250101", "20261101"), true).await;
    eventually("it is not ready", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
    let said = proxy.probe("/readyz").await.text();
    assert_eq!(said.trim_end(), "certificate of listener inbound expired 2026-11-01");
    files.replace(&authority.issue("next", "DNS:localhost"), false).await;
    eventually("it is ready again", || async { (proxy.ready().await == Some(200)).then_some(()) }).await;
}
