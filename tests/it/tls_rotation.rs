//! Keys and certificates that are replaced while traffic goes on, in whatever order their files change.

use std::{
    fs,
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
    tls::Server,
};
use tokio::time::{Instant, sleep};

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

    fn pair(&self) -> String {
        format!("cert_file: {}, key_file: {}", self.cert().display(), self.key().display())
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
    let (addr, stop) = (proxy.addr, Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let load = tokio::spawn(async move {
        let mut answers = 0;
        while !stopped.load(Ordering::Relaxed) {
            let reply = Request::get("/").send(addr).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            answers += 1;
        }
        answers
    });
    let until = Instant::now() + long();
    let mut round = 0;
    while Instant::now() < until {
        files.replace(&clients.issue(&format!("n{round}"), "URI:spiffe://x/next"), round % 2 == 0).await;
        round += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let answers = within("the load ends", load).await.expect("no answer but 200");
    assert!(answers > 10, "{answers}");

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
