//! Clients over HTTP/1.1, patient ones, slow ones and ones that leave. One that leaves does so only when it is certain that the
//! proxy has its request, so that the counts on both sides can be compared to the last one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use fastrand::Rng;
use mainstay_tests::{
    client::{Client, Reply, Request},
    wire::{Head, Wire},
};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    rules::MIXED,
    world::{Tally, Visit, World},
};

const USERS: u64 = 6;
const BIG: usize = 200_000;
/// Repeats of a keyed write whose answer did not come.
const REPEATS: u32 = 3;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Whole,
    /// Leaves when a service has the request.
    LeaveHeld,
    /// Leaves inside the answer's body.
    LeaveBody,
    /// Leaves inside its own body.
    HalfUpload,
    SlowRead,
    SlowUpload,
}

/// One request to be made.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    pub(crate) policy: &'static str,
    pub(crate) manner: Manner,
    pub(crate) plan: String,
    pub(crate) user: u64,
    pub(crate) upload: usize,
}

impl Errand {
    pub(crate) fn choose(rng: &mut Rng, policies: &[&'static str]) -> Self {
        let policy = policies[rng.usize(..policies.len())];
        let manner = match rng.u32(..20) {
            0 | 1 => Manner::LeaveHeld,
            2 => Manner::LeaveBody,
            3 => Manner::HalfUpload,
            4 if policy == "bulk" => Manner::SlowRead,
            5 if policy == "bulk" => Manner::SlowUpload,
            _ => Manner::Whole,
        };
        let plan = match (manner, policy) {
            (Manner::LeaveHeld, _) => "hold".to_owned(),
            (Manner::LeaveBody | Manner::SlowRead, _) => format!("big:{BIG}"),
            (_, "bulk") => ["ok", "trickle", "big:200000", "big:30000"][rng.usize(..4)].to_owned(),
            _ => match rng.u32(..24) {
                0 => "reset".to_owned(),
                1 => "close".to_owned(),
                2 => "truncate".to_owned(),
                3 => "trickle".to_owned(),
                4..8 => format!("slow:{}", rng.u64(10..300)),
                _ => "ok".to_owned(),
            },
        };
        let upload = match (manner, policy) {
            (Manner::HalfUpload | Manner::SlowUpload, _) => 40_000,
            (_, "bulk") if rng.bool() => rng.usize(1..100_000),
            (_, "write") => 20,
            _ => 0,
        };
        Self { policy, manner, plan, user: rng.u64(..USERS), upload }
    }

    pub(crate) fn method(&self) -> &'static str {
        if self.upload > 0 { "POST" } else { "GET" }
    }

    fn request(&self, visit: &Visit, key: Option<&str>) -> Request {
        let request = Request::new(self.method(), &format!("/{}/{}", self.policy, visit.id))
            .header("X-Plan", &self.plan)
            .header("X-Id", &visit.id.to_string())
            .header("X-User", &self.user.to_string());
        let request = if self.upload > 0 { request.body(vec![b'u'; self.upload]) } else { request };
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }
}

/// What an answer's head says.
#[derive(Clone, Debug)]
pub(crate) struct Verdict<'a> {
    pub(crate) status: u16,
    pub(crate) slug: Option<&'a str>,
    pub(crate) replayed: bool,
}

impl<'a> Verdict<'a> {
    fn of(head: &'a Head) -> Self {
        let status = head.start_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let slug = head.headers.value("mainstay-error");
        Self { status, slug, replayed: head.headers.has("idempotent-replayed") }
    }

    /// Counts it, and holds it against what the services know.
    pub(crate) fn count(&self, world: &World, errand: &Errand, visit: &Visit) {
        world.note(errand.policy, |tally| {
            tally.sent += 1;
            match self.slug {
                Some("rate-limited") => tally.rate_limited += 1,
                Some("overloaded") => tally.overloaded += 1,
                Some("circuit-open") => tally.circuit_open += 1,
                _ => tally.admitted += 1,
            }
        });
        match self.slug {
            Some(slug @ ("rate-limited" | "overloaded" | "circuit-open")) if visit.has_arrived() => {
                world.condemn(format!("refused as {slug}, but a service had it: {errand:?}"));
            }
            None if !visit.has_arrived() && !self.replayed => {
                world.condemn(format!("{} without a service: {errand:?}", self.status));
            }
            _ => {}
        }
    }
}

pub(crate) fn class(tally: &mut Tally, status: u16) {
    if let Some(count) = tally.classes.get_mut(usize::from(status / 100).wrapping_sub(1)) {
        *count += 1;
    }
}

/// A client over HTTP/1.1.
pub(crate) struct Http1 {
    pub(crate) world: Arc<World>,
    pub(crate) addr: SocketAddr,
    pub(crate) rng: Rng,
    /// Between two requests, on average.
    pub(crate) pause: Duration,
    pub(crate) kept: Option<Client>,
}

impl Http1 {
    /// Makes requests until it is stopped.
    pub(crate) async fn run(mut self) {
        while !self.world.is_over() {
            sleep(self.pause.mul_f64(self.rng.f64() * 2.0)).await;
            let errand = Errand::choose(&mut self.rng, &MIXED[..6]);
            if errand.policy == "write" {
                self.write(errand).await;
            } else {
                self.make(&errand, None).await;
            }
        }
    }

    /// A keyed write, and its repeats until there is an answer.
    async fn write(&mut self, mut errand: Errand) {
        let key = format!("key-{:016x}", self.rng.u64(..));
        errand.upload = errand.upload.max(20);
        for _ in 0..REPEATS {
            let status = self.make(&errand, Some(&key)).await;
            if status == Some(200) {
                let effects = self.world.effects(&key);
                if effects != 1 {
                    self.world.condemn(format!("{effects} effects of a write that was answered: {errand:?}"));
                }
            }
            if status.is_some_and(|status| status < 500) {
                return;
            }
            (errand.manner, errand.plan) = (Manner::Whole, "ok".to_owned());
            sleep(Duration::from_millis(self.rng.u64(..400))).await;
        }
    }

    /// The status, if there was an answer.
    async fn make(&mut self, errand: &Errand, key: Option<&str>) -> Option<u16> {
        let visit = self.world.visit();
        let mut client = match self.kept.take() {
            Some(client) => client,
            None => match TcpStream::connect(self.addr).await {
                Ok(stream) => Client { wire: Wire::new(stream) },
                Err(error) => {
                    self.world.condemn(format!("no connection: {error}"));
                    return None;
                }
            },
        };
        let request = errand.request(&visit, key);
        if let Err(error) = send(&mut client, errand, &request).await {
            // Whoever is refused before its body is read may find the connection closed; the answer is there all the same.
            if errand.upload == 0 {
                self.world.condemn(format!("not taken: {error}, {errand:?}"));
            }
        }
        match errand.manner {
            Manner::LeaveHeld | Manner::HalfUpload => self.leave(client, errand, &visit).await,
            Manner::LeaveBody | Manner::SlowRead => self.read_slowly(client, errand, &visit).await,
            Manner::Whole | Manner::SlowUpload => {
                let reply = client.try_reply().await;
                let status = self.judge(reply, errand, &visit)?;
                self.kept = status.1.then_some(client);
                Some(status.0)
            }
        }
    }

    /// The status, and whether the connection can be used again.
    fn judge(&self, reply: io::Result<Reply>, errand: &Errand, visit: &Visit) -> Option<(u16, bool)> {
        match reply {
            Ok(reply) => {
                Verdict::of(&reply.head).count(&self.world, errand, visit);
                self.world.note(errand.policy, |tally| {
                    class(tally, reply.status);
                    tally.truncated += u64::from(!reply.body.complete);
                });
                if !reply.body.complete && errand.plan != "truncate" {
                    self.world.condemn(format!("broken off: {errand:?}"));
                }
                let keeps = reply.body.complete && reply.header("connection") != Some("close");
                Some((reply.status, keeps))
            }
            Err(error) => {
                self.world.condemn(format!("no answer: {error}, arrived {}, {errand:?}", visit.has_arrived()));
                None
            }
        }
    }

    /// Leaves as soon as a service has the request, if it is not answered before.
    async fn leave(&mut self, mut client: Client, errand: &Errand, visit: &Visit) -> Option<u16> {
        let reply = tokio::select! {
            biased;
            reply = client.try_reply() => reply,
            () = visit.arrived() => {
                let resets = self.rng.bool();
                if resets {
                    client.reset();
                }
                self.world.note(errand.policy, |tally| tally.leave(errand.manner, resets));
                return None;
            }
        };
        self.judge(reply, errand, visit).map(|(status, _)| status)
    }

    /// Reads the answer a bit at a time, or only the first bit.
    async fn read_slowly(&mut self, mut client: Client, errand: &Errand, visit: &Visit) -> Option<u16> {
        let head = match client.wire.head().await {
            Ok(Some(head)) => head,
            outcome => {
                self.world.condemn(format!("no head: {outcome:?}, {errand:?}"));
                return None;
            }
        };
        let verdict = Verdict::of(&head);
        verdict.count(&self.world, errand, visit);
        let status = verdict.status;
        if errand.manner == Manner::LeaveBody {
            self.world.note(errand.policy, |tally| tally.left_body += 1);
            client.reset();
            return Some(status);
        }
        let length: usize = head.headers.value("content-length").and_then(|it| it.parse().ok()).unwrap_or_default();
        let mut read = 0;
        while read < length {
            match client.wire.some().await {
                Ok(bytes) if !bytes.is_empty() => read += bytes.len(),
                _ => break,
            }
            sleep(Duration::from_millis(15)).await;
        }
        if read < length {
            self.world.condemn(format!("broken off at {read} of {length}: {errand:?}"));
        }
        self.world.note(errand.policy, |tally| class(tally, status));
        Some(status)
    }
}

async fn send(client: &mut Client, errand: &Errand, request: &Request) -> io::Result<()> {
    let bytes = request.bytes();
    match errand.manner {
        Manner::HalfUpload => client.wire.send(&bytes[..bytes.len() - errand.upload / 2]).await,
        Manner::SlowUpload => {
            for part in bytes.chunks(8 * 1024) {
                client.wire.send(part).await?;
                sleep(Duration::from_millis(30)).await;
            }
            Ok(())
        }
        _ => client.wire.send(&bytes).await,
    }
}
