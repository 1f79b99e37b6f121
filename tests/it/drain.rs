//! The end of a process: who calls it meets no failure, what was sent is never forgotten, and what stays in doubt is named.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mainstay_tests::{
    frames::{self, FrameClient},
    h2c::{self, H2Client},
    prelude::*,
    proxy::{Launch, TempDir, binary},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// Frames of HTTP/2.
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// `mainstay drain`, as a preStop hook runs it: its exit code.
async fn drain(proxy: &Proxy) -> Option<i32> {
    command(&["drain", "--scope", "inbound", "--admin", &format!("http://{}", proxy.config.admin.unwrap())]).await
}

async fn command(line: &[&str]) -> Option<i32> {
    let mut command = tokio::process::Command::new(binary());
    command.args(line).stdin(Stdio::null()).kill_on_drop(true);
    within("the command ends", command.output()).await.expect("run mainstay").status.code()
}

/// What callers of a Service see of it: the addresses that are published at the moment.
struct Callers {
    published: watch::Sender<Vec<SocketAddr>>,
    calls: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Callers {
    /// So many callers, each on a kept connection to one of the addresses, one request after the other.
    fn start(count: usize, addresses: &[SocketAddr]) -> Self {
        let published = watch::Sender::new(addresses.to_vec());
        let (calls, failures) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(call_on(number, published.subscribe(), calls.clone(), failures.clone()));
        }
        for number in 0..count / 3 {
            tasks.spawn(call_by_http2(number, published.subscribe(), calls.clone(), failures.clone()));
        }
        Self { published, calls, failures, tasks }
    }

    /// Waits until so many more calls have been made.
    async fn make(&self, more: usize) {
        let until = self.calls.load(Ordering::Relaxed) + more;
        eventually("callers go on", || async { (self.calls.load(Ordering::Relaxed) >= until).then_some(()) }).await;
    }

    async fn end(mut self) -> Vec<String> {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                self.failures.lock().push("a caller panicked".to_owned());
            }
        }
        std::mem::take(&mut self.failures.lock())
    }
}

/// The same over HTTP/2. A request that was handed back unsent, because the connection was told to end, goes elsewhere.
async fn call_by_http2(
    number: usize,
    published: watch::Receiver<Vec<SocketAddr>>,
    calls: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
) {
    for connection in 0.. {
        let address = {
            let published = published.borrow();
            published[(number + connection) % published.len()]
        };
        let client = H2Client::connect(address).await;
        loop {
            let request = client.request("GET", "/").body(h2c::full("")).expect("a request");
            match client.start(request).await {
                Ok(response) => {
                    let status = h2c::collect(response).await.status;
                    if status != 200 {
                        failures.lock().push(format!("{address}: {status} over HTTP/2"));
                    }
                }
                Err(error) if error.is_canceled() || error.is_closed() => break,
                Err(error) => {
                    failures.lock().push(format!("{address}: {error:?} over HTTP/2"));
                    break;
                }
            }
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn call_on(
    number: usize,
    published: watch::Receiver<Vec<SocketAddr>>,
    calls: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
) {
    for connection in 0.. {
        let address = {
            let published = published.borrow();
            published[(number + connection) % published.len()]
        };
        let Ok(stream) = tokio::net::TcpStream::connect(address).await else {
            failures.lock().push(format!("{address}: no connection"));
            calls.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let mut client = Client { wire: mainstay_tests::wire::Wire::new(stream) };
        loop {
            client.write(&Request::get("/").bytes()).await;
            let told_to_go = match client.try_reply().await {
                Ok(reply) => {
                    if reply.status != 200 {
                        failures.lock().push(format!("{address}: {}", reply.status));
                    }
                    reply.header("connection") == Some("close")
                }
                Err(error) => {
                    failures.lock().push(format!("{address}: {error}"));
                    true
                }
            };
            calls.fetch_add(1, Ordering::Relaxed);
            if told_to_go {
                break;
            }
        }
    }
}

/// A pod ends in the kubelet's order; what its callers met.
async fn end_a_pod(with_hook: bool) -> Vec<String> {
    let (leaving, staying) = (Upstream::answering(Answer::ok("a")).await, Upstream::answering(Answer::ok("b")).await);
    let config = |upstream: &Upstream| {
        Config::single(upstream.addr, "timeout: 5s").top("drain: { delay: 5s, timeout: 5s }").admin()
    };
    let (mut first, second) = (Proxy::start(config(&leaving)).await, Proxy::start(config(&staying)).await);
    let callers = Callers::start(16, &[first.addr, second.addr]);
    callers.make(200).await;
    assert!(leaving.count() > 0, "callers reach both");
    // The preStop hooks run; the service's own only sleeps, so that endpoints can be withdrawn meanwhile.
    let began = Instant::now();
    if with_hook {
        assert_eq!(drain(&first).await, Some(0));
        assert_eq!(first.ready().await, Some(503));
    }
    callers.make(200).await;
    callers.published.send_replace(vec![second.addr]);
    callers.make(200).await;
    // The service has ended, and then the sidecar gets its SIGTERM.
    leaving.stop();
    callers.make(200).await;
    assert_eq!(first.terminate().await.code(), Some(0));
    callers.make(100).await;
    if with_hook {
        assert!(began.elapsed() >= Duration::from_secs(5), "the delay counts from the hook, and is kept");
    }
    callers.end().await
}

#[tokio::test]
async fn callers_on_kept_connections_meet_no_failure_when_a_pod_ends() {
    assert_eq!(end_a_pod(true).await, Vec::<String>::new());
}

#[tokio::test]
async fn without_the_hook_the_same_callers_meet_failures() {
    assert!(!end_a_pod(false).await.is_empty(), "else the test above would show nothing");
}

async fn draining_proxy(upstream: &Upstream, policy: &str, drain_with: &str) -> Proxy {
    let config = Config::single(upstream.addr, policy).top(&format!("drain: {{ {drain_with} }}")).admin();
    let proxy = Proxy::start(config).await;
    assert_eq!(drain(&proxy).await, Some(0));
    proxy
}

#[tokio::test]
async fn what_is_not_sent_because_the_service_is_gone_may_go_elsewhere_and_is_no_sample() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let policy = "timeout: 5s, circuit_breaker: { consecutive_errors: 1, open_duration: 60s }, idempotency: true";
    let proxy = draining_proxy(&upstream, policy, "delay: 30s").await;
    upstream.stop();
    for request in [Request::get("/"), Request::post("/", "x"), Request::keyed("/", "k", "x")] {
        let reply = eventually("nobody is there", || async {
            let reply = proxy.send(request.clone()).await;
            (reply.status == 503).then_some(reply)
        })
        .await;
        assert_eq!(reply.expect_problem(503, "draining")["effect"], "none");
        assert_eq!((reply.header("retry-after"), reply.header("connection")), (Some("1"), Some("close")));
    }
    assert_eq!(proxy.metric("mainstay_breaker_state", &[]).await, Some(0.0));
    assert_eq!(proxy.metric("mainstay_draining", &[]).await, Some(1.0));
}

#[tokio::test]
async fn a_connection_that_idles_when_a_drain_begins_is_closed_after_its_delay_and_not_before() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("drain: { delay: 700ms }").admin();
    let proxy = Proxy::start(config).await;
    let mut idle = proxy.connect().await;
    assert_eq!(idle.call(&Request::get("/")).await.header("connection"), None);
    let began = Instant::now();
    assert_eq!(drain(&proxy).await, Some(0));
    idle.expect_closed().await;
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!(proxy.get("/").await.expect_upstream(200).header("connection"), Some("close"));
}

#[tokio::test]
async fn http2_clients_are_told_to_go_elsewhere_but_who_comes_late_only_when_it_was_of_use() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let config = Config::single(upstream.addr, "timeout: 5s").top("drain: { delay: 30s }").admin();
    let proxy = Proxy::start(config).await;
    let mut before = FrameClient::connect(proxy.addr).await;
    before.send(&FrameClient::get(1, "/")).await;
    before.answer(1).await;
    assert_eq!(drain(&proxy).await, Some(0));
    let told = until_either(&mut before, &[GOAWAY]).await;
    assert_eq!(told.payload[..4], [0x7f, 0xff, 0xff, 0xff], "the highest id first");

    let mut late = FrameClient::connect(proxy.addr).await;
    late.send(&frames::frame(PING, 0, 0, b"barrier!")).await;
    assert_eq!(until_either(&mut late, &[PING, GOAWAY]).await.kind, PING, "it has been of no use yet");
    late.send(&FrameClient::get(1, "/")).await;
    assert_eq!(until_either(&mut late, &[GOAWAY]).await.kind, GOAWAY);
    assert!(late.answer(1).await.iter().any(frames::Frame::ends), "and is served");
}

/// The next frame of the connection, not of a stream, that is of one of these kinds.
async fn until_either(client: &mut FrameClient, kinds: &[u8]) -> frames::Frame {
    loop {
        let frame = client.frame(0).await;
        if kinds.contains(&frame.kind) {
            return frame;
        }
    }
}

/// What stalls for ever, once its request was read.
async fn stalling() -> Upstream {
    Upstream::start(|_| vec![Step::Body, Step::Stall]).await
}

#[tokio::test]
async fn a_write_that_outlasts_the_drain_is_in_doubt_durably_and_named() {
    let home = TempDir::new();
    let message = home.join("termination-log");
    std::fs::write(&message, "").unwrap();
    let upstream = stalling().await;
    let mut config = Config::single(upstream.addr, "timeout: 60s, idempotency: { required: true }")
        .ledger(&format!("path: \"{}\"", home.join("ledger").display()))
        .top("drain: { delay: 0s, timeout: 300ms }")
        .top("telemetry: { logs: { format: json } }");
    let launch = Launch::default().with("MAINSTAY_TERMINATION_LOG", message.to_string_lossy());
    let mut proxy = Proxy::launch(config.clone(), &launch).await.unwrap();
    let mut client = proxy.connect().await;
    client.write(&Request::keyed("/pay", "k", "x").bytes()).await;
    upstream.wait_completed(1).await;
    proxy.signal("TERM");
    let reply = client.reply().await;
    assert_eq!(reply.expect_problem(504, "outcome-unknown")["effect"], "unknown");
    let id = reply.operation();
    assert_eq!(proxy.ended().await.code(), Some(0));

    let lines: Vec<Value> = proxy.log().lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    let line = |field: &str, value: &str| lines.iter().find(|line| line[field] == value).cloned().expect(value);
    let access = line("path", "/pay");
    assert_eq!(
        ["outcome", "operation_id", "operation_state"].map(|field| access[field].as_str().unwrap()),
        ["cut_off", &id, "unknown"]
    );
    assert_eq!((&access["attempts"], &access["status"]), (&1.into(), &504.into()));
    let ended = line("message", "ended");
    assert_eq!((&ended["in_doubt"], &ended["attention"], &ended["ledger"]), (&1.into(), &0.into(), &"written".into()));
    let left = std::fs::read_to_string(&message).unwrap();
    assert!(left.starts_with("1 write stays in doubt in this ledger") && left.contains(&id), "{left}");
    assert_eq!(line("message", &left)["level"], "WARN");

    config.move_away();
    let proxy = Proxy::start(config).await;
    let operation = proxy.operation(&id).await;
    assert_eq!((&operation["state"], &operation["reason"]), (&"unknown".into(), &"drain".into()));
}

#[tokio::test]
async fn whoever_has_no_answer_when_the_drain_is_over_is_told_what_is_known() {
    let upstream = stalling().await;
    let config = Config::single(upstream.addr, "timeout: 60s, idempotency: true, retry: 3");
    let config = config.top("drain: { delay: 0s, timeout: 400ms }").top("telemetry: { logs: { format: json } }");
    let mut proxy = Proxy::start(config).await;
    let lost = {
        let mut client = proxy.connect().await;
        client.write(&Request::keyed("/lost", "lost", "x").bytes()).await;
        upstream.wait_completed(1).await;
        client
    };
    let half = b"POST /half HTTP/1.1\r\nHost: a\r\nIdempotency-Key: h\r\nContent-Length: 8\r\n\r\nhalf".to_vec();
    let waits = Request::get("/_mainstay/operations?key=lost").header("Prefer", "wait=30").bytes();
    let mut waiting = Vec::new();
    for (bytes, status, slug, effect) in [
        (Request::get("/get").bytes(), 503, "draining", "none"),
        (Request::post("/post", "x").bytes(), 504, "timeout", "unknown"),
        (half, 503, "draining", "none"),
        (waits, 503, "draining", "none"),
    ] {
        let mut client = proxy.connect().await;
        client.write(&bytes).await;
        waiting.push((client, status, slug, effect));
    }
    upstream.wait_completed(3).await;
    proxy.signal("TERM");
    for (client, status, slug, effect) in &mut waiting {
        let reply = client.reply().await;
        assert_eq!(reply.expect_problem(*status, slug)["effect"], *effect, "{slug}");
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
    drop(lost);
    assert_eq!(upstream.count(), 3, "nothing is tried again");
    let log = proxy.log();
    for path in ["/lost", "/get", "/post", "/half"] {
        let line = log.lines().find(|line| line.contains(&format!("\"path\":\"{path}\""))).expect(path);
        assert!(line.contains("\"outcome\":\"cut_off\""), "{line}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let upstream = stalling().await;
        let config = Config::single(upstream.addr, "timeout: 60s").top("drain: { delay: 60s, timeout: 60s }");
        let mut proxy = Proxy::start(config).await;
        let mut client = proxy.connect().await;
        client.write(&Request::post("/", "x").bytes()).await;
        upstream.wait_completed(1).await;
        proxy.signal(first);
        eventually("readiness fails", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
        proxy.signal(second);
        assert_eq!(proxy.ended().await.code(), Some(0));
        assert!(proxy.log().contains("a second signal"), "{}", proxy.log());
    }
}

#[tokio::test]
async fn what_is_in_doubt_is_asked_about_when_a_drain_begins() {
    let upstream = Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, r#"{"state":"SUCCESS"}"#).steps(),
    })
    .await;
    let policy = "timeout: 5s, idempotency: { late_response: 0s, status: { request: \"GET /by-ref/{key}\", \
                  schedule: { first: 1h, max: 1h }, rules: [{ status: 200, then: succeeded }] } }";
    let config = Config::single(upstream.addr, policy).top("drain: { delay: 30s }").admin();
    let proxy = Proxy::start(config).await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    assert_eq!(proxy.operation(&id).await["state"], "unknown");
    assert_eq!(drain(&proxy).await, Some(0));
    proxy.operation_in(&id, "succeeded").await;
}

#[tokio::test]
async fn the_commands_of_a_pods_hooks_and_probes_end_with_codes_that_tell() {
    let nobody = format!("http://{}", free_addr());
    assert_eq!(command(&["drain", "--admin", &nobody]).await, Some(3));
    assert_eq!(command(&["drain", "--wait", "soon"]).await, Some(2));
    assert_eq!(command(&["probe", "--probes", &nobody]).await, Some(1));
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").admin()).await;
    let probes = format!("http://{}", proxy.probes);
    let probe = async |what: &str| command(&["probe", what, "--probes", &probes]).await;
    assert_eq!((probe("live").await, probe("ready").await), (Some(0), Some(0)));
    assert_eq!(drain(&proxy).await, Some(0));
    assert_eq!((probe("live").await, probe("ready").await), (Some(0), Some(1)));
}
