//! The service behind the proxy, and the truth about what it did.
//!
//! It does what it is told as often as it is told, and counts; only where its [`Character`] says so it knows a key again.
//! `POST` acts, `GET /by-ref/{key}` tells what became of a key.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use mainstay_tests::{
    net::loopback,
    script::Answer,
    wire::{Body, Framing, Head, Wire},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    behaviour::{Acts, Behaviour, Says, mix},
    disk::Position,
};

type Behaves = dyn Fn(&str, u32) -> Behaviour + Send + Sync;
type Tells = dyn Fn(bool) -> (Duration, Answer) + Send + Sync;

/// How a service is.
#[derive(Clone)]
pub(crate) struct Character {
    /// Acts once per key and gives every further request the first one's answer.
    pub(crate) honours_keys: bool,
    behaves: Arc<Behaves>,
    tells: Arc<Tells>,
}

impl Character {
    /// Treats the `nth` request of a key so, and tells the truth when asked.
    pub(crate) fn new(behaves: impl Fn(&str, u32) -> Behaviour + Send + Sync + 'static) -> Self {
        let tells = |acted| {
            let answer = if acted {
                Answer::json(200, r#"{"state":"SUCCESS"}"#)
            } else {
                Answer::json(404, r#"{"state":"NONE"}"#)
            };
            (Duration::ZERO, answer)
        };
        Self { honours_keys: false, behaves: Arc::new(behaves), tells: Arc::new(tells) }
    }

    /// Answers status queries so, after a while; given is whether it acted.
    pub(crate) fn telling(mut self, tells: impl Fn(bool) -> (Duration, Answer) + Send + Sync + 'static) -> Self {
        self.tells = Arc::new(tells);
        self
    }

    pub(crate) const fn honouring_keys(mut self, honours: bool) -> Self {
        self.honours_keys = honours;
        self
    }
}

/// What the service did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// Per key, how far the disk's log was at each effect.
    effects: HashMap<String, Vec<u64>>,
    /// Per key, requests read whole.
    requests: HashMap<String, u32>,
}

impl Truth {
    /// The effects that had happened at that position.
    pub(crate) fn as_of(&self, cut: u64) -> Self {
        let kept =
            self.effects.iter().map(|(key, at)| (key.clone(), at.iter().copied().filter(|at| *at <= cut).collect()));
        Self { effects: kept.collect(), requests: self.requests.clone() }
    }

    /// The same, from before another recording began.
    pub(crate) fn long_ago(&self) -> Self {
        let mut past = self.clone();
        past.effects.values_mut().for_each(|at| at.fill(0));
        past
    }
}

struct Shared {
    character: Character,
    position: Position,
    truth: Mutex<Truth>,
    paused: watch::Sender<bool>,
}

impl Shared {
    fn acts(&self, key: &str) {
        let at = self.position.now();
        let mut truth = self.truth.lock();
        let effects = truth.effects.entry(key.to_owned()).or_default();
        if effects.is_empty() || !self.character.honours_keys {
            effects.push(at);
        }
    }

    async fn unpaused(&self) {
        let mut paused = self.paused.subscribe();
        let _ = paused.wait_for(|paused| !paused).await;
    }
}

/// A running service; it ends when dropped.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Service {
    pub(crate) async fn start(character: Character) -> Self {
        Self::resume(character, Position::default(), Truth::default()).await
    }

    /// A service that has done something before.
    pub(crate) async fn resume(character: Character, position: Position, truth: Truth) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let shared =
            Arc::new(Shared { character, position, truth: Mutex::new(truth), paused: watch::channel(false).0 });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, accepting }
    }

    /// Effects under that key.
    pub(crate) fn effects(&self, key: &str) -> usize {
        self.shared.truth.lock().effects.get(key).map_or(0, Vec::len)
    }

    pub(crate) fn truth(&self) -> Truth {
        self.shared.truth.lock().clone()
    }

    /// Stops reading and answering, as SIGSTOP does; connections are still taken by the kernel.
    pub(crate) fn pause(&self, paused: bool) {
        self.shared.paused.send_replace(paused);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(Wire::new(stream), Arc::clone(&shared)));
    }
}

async fn serve(mut wire: Wire, shared: Arc<Shared>) {
    while let Some(next) = exchange(wire, &shared).await {
        wire = next;
    }
}

/// One request and its answer; the connection, if it goes on.
async fn exchange(mut wire: Wire, shared: &Shared) -> Option<Wire> {
    let head = wire.head().await.ok()??;
    shared.unpaused().await;
    let target = head.start_line.split(' ').nth(1).unwrap_or_default().to_owned();
    if let Some(key) = target.strip_prefix("/by-ref/") {
        let acted = shared.truth.lock().effects.get(key).is_some_and(|effects| !effects.is_empty());
        let (delay, answer) = (shared.character.tells)(acted);
        tokio::time::sleep(delay).await;
        wire.send(&answer.bytes()).await.ok()?;
        return Some(wire);
    }
    if head.start_line.starts_with("GET ") {
        wire.send(&Answer::ok("here").bytes()).await.ok()?;
        return Some(wire);
    }
    let mut body = Body::default();
    wire.body(framing(&head), &mut body).await.ok()?;
    shared.unpaused().await;
    let key = head.headers.value("idempotency-key").unwrap_or_default().trim_matches('"').to_owned();
    let nth = {
        let mut truth = shared.truth.lock();
        let requests = truth.requests.entry(key.clone()).or_default();
        *requests += 1;
        *requests - 1
    };
    // A service that honours keys may fail to answer a repeat, but it does not decide otherwise.
    let mut behaviour = (shared.character.behaves)(&key, nth);
    if shared.character.honours_keys {
        let first = (shared.character.behaves)(&key, 0);
        if matches!(behaviour.says, Says::Made(_) | Says::MadeInChunks(_) | Says::Status(_)) {
            behaviour = first;
        } else if behaviour.acts != Acts::Never && first.acts == Acts::Never {
            behaviour.acts = Acts::Never;
        }
    }
    if behaviour.acts == Acts::AtOnce {
        shared.acts(&key);
    }
    tokio::time::sleep(behaviour.delay).await;
    if behaviour.acts == Acts::AtTheEnd {
        shared.acts(&key);
    }
    shared.unpaused().await;
    say(wire, &key, behaviour.says).await
}

fn framing(head: &Head) -> Framing {
    if head.headers.value("transfer-encoding").is_some() {
        return Framing::Chunked;
    }
    match head.headers.value("content-length").and_then(|value| value.parse().ok()) {
        None | Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
    }
}

/// A made thing's answer, the same for each request of its key.
fn made(key: &str, bytes: usize) -> Answer {
    let mut rng = fastrand::Rng::with_seed(mix(7, key, 0));
    let body: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();
    Answer::status(201)
        .header("Content-Type", "application/octet-stream")
        .header("Location", &format!("/payments/{key}"))
        .header("ETag", &format!("\"{:016x}\"", rng.u64(..)))
        .header("Set-Cookie", "a=b")
        .body(body)
}

async fn say(mut wire: Wire, key: &str, says: Says) -> Option<Wire> {
    match says {
        Says::Status(status) => wire.send(&Answer::status(status).bytes()).await.ok()?,
        Says::Made(bytes) => wire.send(&made(key, bytes).bytes()).await.ok()?,
        Says::MadeInChunks(bytes) => wire.send(&made(key, bytes).chunked().bytes()).await.ok()?,
        Says::Truncated => {
            let whole = made(key, 400).bytes();
            wire.send(&whole[..whole.len() - 200]).await.ok()?;
            wire.finish().await;
            return None;
        }
        Says::Reset => {
            wire.reset();
            return None;
        }
        Says::Nothing => {
            wire.until_closed().await;
            return None;
        }
    }
    Some(wire)
}
