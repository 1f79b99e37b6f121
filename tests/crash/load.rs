//! Clients: many at once, new keys and repeats, patient ones and ones that leave; of several replicas, each request at any.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::join_all;
use mainstay_tests::{
    client::{Client, Reply, Request},
    wire::Wire,
};
use parking_lot::Mutex;
use tokio::{net::TcpStream, time::timeout};

use crate::{disk::Position, history::History};

/// Clients at once.
const CLIENTS: u64 = 16;
/// Keys from which a repeat is chosen.
const RECENT: usize = 64;
/// No answer of the proxy may take longer, whatever its upstream does.
const PATIENCE: Duration = Duration::from_secs(8);

/// One run of clients against one proxy, or several replicas of it.
pub(crate) struct Load<'a> {
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) history: &'a History,
    pub(crate) position: &'a Position,
    /// Begins every key.
    pub(crate) prefix: String,
    pub(crate) seed: u64,
    recent: Mutex<Vec<String>>,
    next: AtomicUsize,
    stop: AtomicBool,
    clients: u64,
    max_keys: usize,
}

impl<'a> Load<'a> {
    pub(crate) fn new(
        addrs: &[SocketAddr],
        history: &'a History,
        position: &'a Position,
        prefix: String,
        seed: u64,
    ) -> Self {
        let (recent, next, stop) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let (clients, max_keys) = (CLIENTS, usize::MAX);
        Self { addrs: addrs.to_vec(), history, position, prefix, seed, recent, next, stop, clients, max_keys }
    }

    /// With so many clients, and at most so many keys: after those only repeats.
    pub(crate) const fn of(mut self, clients: u64, max_keys: usize) -> Self {
        (self.clients, self.max_keys) = (clients, max_keys);
        self
    }

    /// No client begins another request.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&self) {
        join_all((0..self.clients).map(|number| self.client(Rng::with_seed(self.seed.wrapping_add(number))))).await;
    }

    async fn client(&self, mut rng: Rng) {
        let mut kept: Option<(SocketAddr, Client)> = None;
        // What was not done the first time is asked for again, as clients are told to: wherever they come to then.
        let mut again = None;
        while !self.stop.load(Ordering::Relaxed) {
            let key = again.take().unwrap_or_else(|| self.choose(&mut rng));
            let addr = self.addrs[rng.usize(..self.addrs.len())];
            let connection = match kept.take().filter(|(there, _)| *there == addr) {
                Some((_, connection)) => Ok(connection),
                None => TcpStream::connect(addr).await.map(|stream| Client { wire: Wire::new(stream) }),
            };
            let Ok(mut connection) = connection else {
                tokio::time::sleep(Duration::from_millis(3)).await;
                continue;
            };
            self.history.sends(&key, self.position.now());
            if connection.wire.send(&named(&write(&key))).await.is_err() {
                continue;
            }
            match rng.u32(0..20) {
                0 => connection.reset(),
                1 => tokio::time::sleep(Duration::from_millis(rng.u64(0..15))).await,
                _ => {
                    let reply = self.answer(&key, &mut connection).await;
                    let is_done = reply.as_ref().is_some_and(|reply| reply.status < 300);
                    again = (!is_done && self.addrs.len() > 1 && rng.bool()).then(|| key.clone());
                    if let Some(reply) = reply {
                        if rng.u32(0..10) == 0 {
                            self.read(addr, &key, &reply).await;
                        }
                        if reply.status == 503 {
                            // Refusals come fast; a few of each are enough.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        kept = Some((addr, connection)).filter(|_| reply.header("connection") != Some("close"));
                    }
                }
            }
        }
    }

    fn choose(&self, rng: &mut Rng) -> String {
        let mut recent = self.recent.lock();
        let is_enough = self.next.load(Ordering::Relaxed) >= self.max_keys;
        if is_enough || (recent.len() > 4 && rng.u32(0..10) < 3) {
            return recent[rng.usize(..recent.len())].clone();
        }
        let key = format!("{}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        if recent.len() == RECENT {
            recent.swap_remove(rng.usize(..RECENT));
        }
        recent.push(key.clone());
        key
    }

    async fn answer(&self, key: &str, connection: &mut Client) -> Option<Reply> {
        let reply = timeout(PATIENCE, connection.try_reply()).await.ok()?.ok()?;
        let position = self.position.now();
        self.history.saw(key, &reply, position);
        reply.body.complete.then_some(reply)
    }

    /// Reads the operation that the answer names.
    async fn read(&self, addr: SocketAddr, key: &str, reply: &Reply) {
        let Some(path) = reply.header("operation-location") else { return };
        // Others read it at the same time: one of them may have seen later what it tells earlier.
        let overlaps = self.history.known(key).terminal.is_empty();
        if let Some(reply) = ask(addr, &Request::get(path)).await
            && reply.status == 200
            && reply.body.complete
        {
            self.history.read(key, &reply.json(), self.position.now(), overlaps);
        }
    }
}

/// The one request that is made with that key.
pub(crate) fn write(key: &str) -> Request {
    Request::keyed("/pay", key, format!("pay for {key}"))
}

/// A request on the wire, with the name of its caller: only who is named may list operations.
fn named(request: &Request) -> Vec<u8> {
    request.clone().header("X-Caller", "load").bytes()
}

/// Sends on a connection of its own; `None` if no whole answer came.
pub(crate) async fn ask(addr: SocketAddr, request: &Request) -> Option<Reply> {
    let exchange = async {
        let mut client = Client { wire: Wire::new(TcpStream::connect(addr).await.ok()?) };
        client.wire.send(&named(request)).await.ok()?;
        client.try_reply().await.ok().filter(|reply| reply.body.complete)
    };
    timeout(PATIENCE, exchange).await.ok().flatten()
}
