//! A scripted raw-TCP HTTP/1.1 upstream that counts what it was made to do.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    net::loopback,
    script::{Accept, Answer, Seen, Step},
    wire::{Body, Framing, Wire},
    within,
};

type OnAccept = dyn Fn(usize) -> Accept + Send + Sync;
type OnRequest = dyn Fn(&Seen) -> Vec<Step> + Send + Sync;

/// What the upstream has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Connections accepted.
    pub connections: usize,
    /// Connections that the peer ended, seen while the upstream was waiting on them.
    pub peer_closed: usize,
    /// Requests whose head was read, in order.
    pub requests: Vec<Seen>,
    /// Requests read whole, per `Idempotency-Key` as sent; nothing is deduplicated.
    pub effects: HashMap<String, usize>,
    /// Requests read whole, with or without a key.
    pub completed: usize,
}

struct Shared {
    log: Mutex<Log>,
    changed: watch::Sender<u64>,
    on_accept: Box<OnAccept>,
    on_request: Box<OnRequest>,
}

impl Shared {
    fn note<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let value = change(&mut self.log.lock());
        self.changed.send_modify(|n| *n += 1);
        value
    }
}

/// A running upstream; it ends when dropped.
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    /// Serves every connection by `on_request`.
    pub async fn start(on_request: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(|_| Accept::Serve, on_request).await
    }

    /// Gives every request the same answer.
    pub async fn answering(answer: Answer) -> Self {
        Self::start(move |_| answer.steps()).await
    }

    /// Treats connection `n` as `on_accept(n)` says.
    pub async fn with(
        on_accept: impl Fn(usize) -> Accept + Send + Sync + 'static,
        on_request: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            changed: watch::channel(0).0,
            on_accept: Box::new(on_accept),
            on_request: Box::new(on_request),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, accepting }
    }

    /// Closes the listener and every connection; new connections are refused.
    pub fn stop(&self) {
        self.accepting.abort();
    }

    /// A copy of the log.
    pub fn log(&self) -> Log {
        self.shared.log.lock().clone()
    }

    /// Requests seen.
    pub fn requests(&self) -> Vec<Seen> {
        self.log().requests
    }

    /// How many requests were seen.
    pub fn count(&self) -> usize {
        self.shared.log.lock().requests.len()
    }

    /// Effects under that key, in either spelling (bare or quoted).
    pub fn effects(&self, key: &str) -> usize {
        let log = self.shared.log.lock();
        let quoted = format!("\"{key}\"");
        [key, quoted.as_str()].iter().filter_map(|k| log.effects.get(*k)).sum()
    }

    /// The only request that was seen.
    pub fn only(&self) -> Seen {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "the upstream should have seen one request: {requests:#?}");
        requests.remove(0)
    }

    /// Waits until the log satisfies `condition`.
    pub async fn wait(&self, what: &str, condition: impl Fn(&Log) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(what, async {
            while !condition(&self.shared.log.lock()) {
                changed.changed().await.expect("the log outlives the upstream");
            }
        })
        .await;
    }

    /// Waits until `n` requests were seen.
    pub async fn wait_requests(&self, n: usize) {
        self.wait(&format!("{n} requests upstream"), |log| log.requests.len() >= n).await;
    }

    /// Waits until `n` requests were read whole.
    pub async fn wait_completed(&self, n: usize) {
        self.wait(&format!("{n} whole requests upstream"), |log| log.completed >= n).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = shared.note(|log| {
            log.connections += 1;
            log.connections - 1
        });
        connections.spawn(connection(stream, number, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    match (shared.on_accept)(number) {
        Accept::Serve => serve(wire, number, &shared).await,
        Accept::Reset => wire.reset(),
        Accept::Close => wire.finish().await,
        Accept::ResetAfter(n) => {
            wire.take(n).await.ok();
            wire.reset();
        }
        Accept::CloseAfter(n) => {
            wire.take(n).await.ok();
            wire.finish().await;
        }
        Accept::Stall => std::future::pending().await,
        Accept::Say(bytes) => {
            wire.send(&bytes).await.ok();
            wire.finish().await;
        }
    }
}

/// What becomes of the connection after a request.
enum Next {
    Serve(Wire),
    Gone,
}

async fn serve(mut wire: Wire, number: usize, shared: &Shared) {
    for nth in 0.. {
        let Ok(Some(head)) = wire.head().await else {
            shared.note(|log| log.peer_closed += 1);
            return;
        };
        let mut words = head.start_line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let mut seen = Seen { index: 0, connection: number, nth, method, target, head, body: Body::default() };
        seen.index = shared.note(|log| {
            let index = log.requests.len();
            log.requests.push(Seen { index, ..seen.clone() });
            index
        });
        let mut request = InFlight { shared, seen: &seen, body: Body::default(), done: false };
        if seen.framing() == Framing::None {
            request.completed();
        }
        match request.play(wire, (shared.on_request)(&seen)).await {
            Next::Serve(kept) => wire = kept,
            Next::Gone => return,
        }
    }
}

struct InFlight<'a> {
    shared: &'a Shared,
    seen: &'a Seen,
    body: Body,
    done: bool,
}

impl InFlight<'_> {
    /// The whole request was read: this is where the service acts.
    fn completed(&mut self) {
        self.done = true;
        self.body.complete = true;
        self.record(true);
    }

    fn record(&self, effect: bool) {
        self.shared.note(|log| {
            log.requests[self.seen.index].body = self.body.clone();
            if effect {
                log.completed += 1;
                if let Some(key) = self.seen.header("idempotency-key") {
                    *log.effects.entry(key.to_owned()).or_default() += 1;
                }
            }
        });
    }

    async fn play(&mut self, mut wire: Wire, steps: Vec<Step>) -> Next {
        for step in steps {
            let result = match step {
                Step::Body if self.done => Ok(()),
                Step::Body => match wire.body(self.seen.framing(), &mut self.body).await {
                    Ok(()) => {
                        self.completed();
                        Ok(())
                    }
                    Err(error) => {
                        self.record(false);
                        Err(error)
                    }
                },
                Step::BodyBytes(n) => wire.take(n).await.map(|_| ()),
                Step::Send(bytes) => wire.send(&bytes).await,
                Step::Repeat(bytes, times) => repeat(&mut wire, &bytes, times).await,
                Step::Delay(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Step::Gate(gate) => {
                    gate.passed().await;
                    Ok(())
                }
                Step::Stall => {
                    wire.until_closed().await;
                    self.shared.note(|log| log.peer_closed += 1);
                    return Next::Gone;
                }
                Step::Reset => {
                    wire.reset();
                    return Next::Gone;
                }
                Step::ResetOnNextByte => {
                    wire.readable().await;
                    wire.reset();
                    return Next::Gone;
                }
                Step::Close => {
                    wire.finish().await;
                    self.shared.note(|log| log.peer_closed += 1);
                    return Next::Gone;
                }
                Step::Echo => {
                    echo(wire).await;
                    return Next::Gone;
                }
            };
            if result.is_err() {
                self.shared.note(|log| log.peer_closed += 1);
                return Next::Gone;
            }
        }
        if self.done { Next::Serve(wire) } else { Next::Gone }
    }
}

async fn repeat(wire: &mut Wire, bytes: &[u8], times: usize) -> std::io::Result<()> {
    for _ in 0..times {
        wire.send(bytes).await?;
    }
    Ok(())
}

async fn echo(mut wire: Wire) {
    loop {
        match wire.some().await {
            Ok(bytes) if !bytes.is_empty() => {
                if wire.send(&bytes).await.is_err() {
                    return;
                }
            }
            _ => return wire.finish().await,
        }
    }
}
