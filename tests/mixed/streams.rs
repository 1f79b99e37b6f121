//! Clients over HTTP/2: many streams on one connection, `RST_STREAM`s, and connections that end with streams on them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use http_body_util::{BodyExt, channel::Channel};
use hyper::{Response, body::Incoming};
use mainstay_tests::{
    h2c::{H2Client, Outgoing, full},
    within,
};
use tokio::time::sleep;

use crate::{
    clients::{Errand, Manner, Verdict, class},
    rules::MIXED,
    world::{Visit, World},
};

/// Streams at once on one connection.
const STREAMS: usize = 3;
/// Rounds before the connection is left.
const ROUNDS: u32 = 60;

/// A client over HTTP/2.
pub(crate) struct Http2 {
    pub(crate) world: Arc<World>,
    pub(crate) addr: SocketAddr,
    pub(crate) rng: Rng,
    /// Between two requests, on average.
    pub(crate) pause: Duration,
}

impl Http2 {
    /// Makes requests until it is stopped.
    pub(crate) async fn run(mut self) {
        while !self.world.is_over() {
            let client = H2Client::connect(self.addr).await;
            for _ in 0..ROUNDS {
                if self.world.is_over() {
                    return;
                }
                sleep(self.pause.mul_f64(self.rng.f64() * 2.0 * STREAMS as f64)).await;
                let errands: Vec<_> = (0..STREAMS).map(|_| self.choose()).collect();
                join_all(errands.iter().map(|errand| self.make(&client, errand))).await;
            }
            self.abandon(client).await;
        }
    }

    fn choose(&mut self) -> Errand {
        let policies = ["streams", "streams", MIXED[0], MIXED[1], MIXED[2], MIXED[3], "bulk"];
        let errand = Errand::choose(&mut self.rng, &policies);
        let manner = match errand.manner {
            Manner::SlowRead | Manner::SlowUpload => Manner::Whole,
            manner => manner,
        };
        Errand { manner, ..errand }
    }

    async fn make(&self, client: &H2Client, errand: &Errand) {
        let visit = self.world.visit();
        let (upload, body) = body(errand);
        let request = request(client, errand, &visit, body);
        let answered = client.start(request);
        let response = if matches!(errand.manner, Manner::LeaveHeld | Manner::HalfUpload) {
            tokio::select! {
                biased;
                response = answered => response,
                // What is dropped here ends with RST_STREAM.
                () = visit.arrived() => {
                    self.world.note(errand.policy, |tally| tally.leave(errand.manner, true));
                    return;
                }
            }
        } else {
            answered.await
        };
        drop(upload);
        match response {
            Ok(response) => self.judge(response, errand, &visit).await,
            Err(_) if errand.plan == "truncate" && visit.has_arrived() => self.world.note(errand.policy, |tally| {
                tally.sent += 1;
                tally.admitted += 1;
                tally.torn += 1;
            }),
            Err(error) => {
                self.world.condemn(format!("no answer: {error:?}, arrived {}, {errand:?}", visit.has_arrived()));
            }
        }
    }

    async fn judge(&self, response: Response<Incoming>, errand: &Errand, visit: &Visit) {
        let (head, body) = response.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let status = head.status.as_u16();
        let verdict = Verdict { status, slug: text("mainstay-error"), replayed: false };
        verdict.count(&self.world, errand, visit);
        if errand.manner == Manner::LeaveBody {
            self.world.note(errand.policy, |tally| tally.left_body += 1);
            return;
        }
        let whole = within("the rest of a body", body.collect()).await.is_ok();
        self.world.note(errand.policy, |tally| {
            class(tally, status);
            tally.truncated += u64::from(!whole);
        });
        if !whole && errand.plan != "truncate" {
            self.world.condemn(format!("broken off: {errand:?}"));
        }
    }

    /// Ends a connection while a service has its streams.
    async fn abandon(&self, client: H2Client) {
        let errand =
            Errand { policy: "streams", manner: Manner::LeaveHeld, plan: "hold".to_owned(), user: 0, upload: 0 };
        let visits: Vec<_> = (0..STREAMS).map(|_| self.world.visit()).collect();
        let held = join_all(visits.iter().map(|visit| async {
            let mut answered = Box::pin(client.start(request(&client, &errand, visit, full(""))));
            tokio::select! {
                biased;
                response = &mut answered => {
                    match response {
                        Ok(response) => self.judge(response, &errand, visit).await,
                        Err(error) => self.world.condemn(format!("no answer: {error:?}, {errand:?}")),
                    }
                    None
                }
                () = visit.arrived() => Some(answered),
            }
        }))
        .await;
        let left = held.iter().flatten().count() as u64;
        self.world.note(errand.policy, |tally| {
            tally.sent += left;
            tally.admitted += left;
            tally.left_held += left;
            tally.reset_held += left;
        });
        drop(held);
    }
}

/// Keeps a body open that is not to be whole.
type Upload = Option<http_body_util::channel::Sender<Bytes, std::convert::Infallible>>;

fn body(errand: &Errand) -> (Upload, Outgoing) {
    if errand.manner != Manner::HalfUpload {
        return (None, full(vec![b'u'; errand.upload]));
    }
    let (mut sender, body) = Channel::new(1);
    let part = vec![b'u'; errand.upload / 2];
    sender.try_send(http_body::Frame::data(part.into())).ok();
    (Some(sender), body.boxed())
}

fn request(client: &H2Client, errand: &Errand, visit: &Visit, body: Outgoing) -> hyper::Request<Outgoing> {
    client
        .request(errand.method(), &format!("/{}/{}", errand.policy, visit.id))
        .header("x-plan", &errand.plan)
        .header("x-id", visit.id)
        .header("x-user", errand.user)
        .body(body)
        .expect("every part of it is valid")
}
