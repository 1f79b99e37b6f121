use std::{net::SocketAddr, sync::Arc, time::Duration};

use mainstay_policies::clock::WallClock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{
    events::{Answer, Stream},
    probes::{ProbeState, serve},
};
use crate::{
    runtime::readiness::{Condition, Readiness},
    telemetry::{
        events::{Events, Kind},
        metrics::Metrics,
    },
};

/// All that must hold before traffic may come.
const WANTED: [Condition; 4] =
    [Condition::ConfigValid, Condition::ListenersBound, Condition::LedgerRecovered, Condition::LedgerWritable];

struct Probes {
    address: SocketAddr,
    state: Arc<ProbeState>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn probes() -> Probes {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new(&WallClock::system()));
    let state = Arc::new(ProbeState { readiness: Arc::new(Readiness::new()), metrics });
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, Arc::clone(&state), stopped));
    Probes { address, state, stop, task }
}

impl Probes {
    /// The whole answer, head and body.
    async fn ask(&self, method: &str, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nhost: probes\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn status(&self, method: &str, target: &str) -> u16 {
        self.ask(method, target).await.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn all_ready(&self) {
        for condition in WANTED {
            self.state.readiness.set(condition, true);
        }
    }
}

#[tokio::test]
async fn livez_says_only_that_the_process_runs() {
    let probes = probes().await;
    assert_eq!(probes.status("GET", "/livez").await, 200);
}

#[tokio::test]
async fn readyz_says_why_not() {
    let probes = probes().await;
    let answer = probes.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer
            .ends_with("\r\n\r\nconfig not valid\nlisteners not bound\nledger not recovered\nledger takes no writes\n"),
        "{answer}"
    );
    probes.all_ready();
    assert_eq!(probes.status("GET", "/readyz").await, 200);
    probes.state.readiness.set(Condition::Draining, true);
    let answer = probes.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\ndraining\n"), "{answer}");
}

#[tokio::test]
async fn readyz_lists_all_that_it_looks_at_where_that_is_asked() {
    let probes = probes().await;
    probes.all_ready();
    let well = "config ok\nlisteners ok\nledger-recovered ok\nledger-writable ok\ndrain ok\ncertificates ok\n";
    for query in ["verbose", "verbose=true", "x=1&verbose"] {
        let answer = probes.ask("GET", &format!("/readyz?{query}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n\r\n{well}")), "{answer}");
    }
    assert!(probes.ask("GET", "/readyz?verbosely").await.ends_with("\r\n\r\nok\n"));
    let readiness = &probes.state.readiness;
    readiness.set(Condition::LedgerWritable, false);
    readiness.set_obstacles(vec!["a.pem has expired".into(), "b.pem is not valid yet".into()]);
    let ill = "config ok\nlisteners ok\nledger-recovered ok\nledger-writable failed: ledger takes no writes\ndrain ok\n\
               certificates failed: a.pem has expired\ncertificates failed: b.pem is not valid yet\n";
    let answer = probes.ask("GET", "/readyz?verbose").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(&format!("\r\n\r\n{ill}")), "{answer}");
}

#[test]
fn every_condition_counts() {
    for missing in WANTED {
        let readiness = Readiness::new();
        for condition in WANTED {
            readiness.set(condition, condition != missing);
        }
        assert!(!readiness.is_ready(), "{missing:?}");
        readiness.set(missing, true);
        assert!(readiness.is_ready() && readiness.holds(missing));
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let probes = probes().await;
    let answer = probes.ask("GET", "/metrics").await;
    assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\nmainstay_build_info{"), "{answer}");
}

#[tokio::test]
async fn head_has_no_body_and_nothing_can_be_written() {
    let probes = probes().await;
    let answer = probes.ask("HEAD", "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let refusal = probes.ask("POST", "/readyz").await;
    assert!(refusal.starts_with("HTTP/1.1 405 ") && refusal.contains("\r\nallow: GET, HEAD\r\n"), "{refusal}");
    assert_eq!(probes.status("DELETE", "/metrics").await, 405);
    assert_eq!(probes.status("GET", "/").await, 404);
    assert_eq!(probes.status("GET", "/livez/").await, 404);
    assert_eq!(probes.status("GET", "/livez?verbose").await, 200);
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let probes = probes().await;
    let mut idle = Vec::new();
    for _ in 0..128 {
        let mut stream = TcpStream::connect(probes.address).await.unwrap();
        // An answer proves that the place is taken.
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: probes\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
        idle.push(stream);
    }
    let mut one_more = TcpStream::connect(probes.address).await.unwrap();
    // Closed at once: the end, or a reset if our request crossed it.
    let refused = timeout(Duration::from_secs(5), one_more.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
    drop(idle);
    let back = async {
        loop {
            let mut stream = TcpStream::connect(probes.address).await.unwrap();
            let asked = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: probes\r\n\r\n").await;
            if asked.is_ok() && stream.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(5), back).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_the_listener_and_its_connections() {
    let probes = probes().await;
    let mut idle = TcpStream::connect(probes.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: probes\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
    probes.stop.send(true).unwrap();
    timeout(Duration::from_secs(5), probes.task).await.unwrap().unwrap();
    assert!(matches!(timeout(Duration::from_secs(5), idle.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_)));
    assert!(TcpStream::connect(probes.address).await.is_err());
}

#[tokio::test]
async fn garbage_disturbs_nobody() {
    let probes = probes().await;
    let mut stream = TcpStream::connect(probes.address).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    assert_eq!(probes.status("GET", "/livez").await, 200);
}

/// The next frame of a stream of events.
async fn frame(body: &mut Answer) -> Option<String> {
    let frame = http_body_util::BodyExt::frame(body).await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_how_much_it_lost_and_a_quiet_stream_says_that_it_is_there() {
    let events = Arc::new(Events::default());
    let watch = events.watch(&[Kind::Config]).unwrap();
    let mut body = Answer::Events(Box::new(Stream::new("event: hello\n\n".into(), watch, None)));
    assert_eq!(frame(&mut body).await.unwrap(), "event: hello\n\n");
    assert_eq!(frame(&mut body).await.unwrap(), ": alive\n\n");
    for _ in 0..1000 {
        events.tell(Kind::Config, &serde_json::json!({}));
    }
    assert_eq!(frame(&mut body).await.unwrap(), "event: lost\ndata: {\"count\":744}\n\n");
    for number in 1..=256 {
        let text = frame(&mut body).await.unwrap();
        assert!(text.starts_with(&format!("id: {number}\nevent: config\n")), "{text}");
    }
    assert_eq!(frame(&mut body).await.unwrap(), ": alive\n\n");
    events.close();
    assert_eq!(frame(&mut body).await, None, "it ends with the process");
}
