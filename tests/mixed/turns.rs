//! Two queues, played step by step: who waits, who leaves, who gets the place; each step only when the one before it is certain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mainstay_tests::{
    client::{Client, Reply, Request},
    eventually,
    proxy::metric_in,
};
use tokio::time::sleep;

use crate::{
    rules::{PLACE, TURN},
    world::{Visit, World},
};

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(300);

/// Plays with the queue of one policy.
pub(crate) struct Turns {
    pub(crate) world: Arc<World>,
    pub(crate) addr: SocketAddr,
    pub(crate) probes: SocketAddr,
}

struct Sent {
    client: Client,
    visit: Visit,
}

impl Turns {
    /// Both queues, until they are stopped.
    pub(crate) async fn run(self) {
        while !self.world.is_over() {
            self.place().await;
            self.turn().await;
            sleep(PAUSE).await;
        }
    }

    /// One place, two who wait for it, one too many, and one who leaves the queue.
    async fn place(&self) {
        let mut holder = self.send(PLACE, "hold").await;
        self.unless_arrived(&holder).await;
        let leaver = self.send(PLACE, "well").await;
        let mut patient = self.send(PLACE, "well").await;
        self.is_known(PLACE).await;
        let mut refused = self.send(PLACE, "well").await;
        let reply = refused.client.reply().await;
        self.answered(PLACE, &reply);
        if reply.slug() != Some("overloaded") || refused.visit.has_arrived() {
            self.world.condemn(format!("a queue of 2 took a third: {} {:?}", reply.status, reply.slug()));
        }
        self.leave(PLACE, leaver).await;
        holder.visit.release();
        for sent in [&mut holder, &mut patient] {
            let reply = sent.client.reply().await;
            self.answered(PLACE, &reply);
            if reply.status != 200 {
                self.world.condemn(format!("{} for one who waited for a place: {:?}", reply.status, reply.slug()));
            }
        }
    }

    /// Slots a fifth of a second apart; the last of three leaves.
    async fn turn(&self) {
        let mut first = self.send(TURN, "well").await;
        let mut second = self.send(TURN, "well").await;
        let mut third = self.send(TURN, "well").await;
        let last = self.send(TURN, "well").await;
        self.is_known(TURN).await;
        self.leave(TURN, last).await;
        for sent in [&mut first, &mut second, &mut third] {
            let reply = sent.client.reply().await;
            self.answered(TURN, &reply);
            if reply.status != 200 || !sent.visit.has_arrived() {
                self.world.condemn(format!("{} for one who waited for a slot: {:?}", reply.status, reply.slug()));
            }
        }
    }

    async fn send(&self, policy: &'static str, plan: &str) -> Sent {
        let visit = self.world.visit();
        let request = Request::get(&format!("/{policy}/{}", visit.id))
            .header("X-Plan", plan)
            .header("X-Id", &visit.id.to_string());
        let mut client = Client::connect(self.addr).await;
        client.write(&request.bytes()).await;
        self.world.note(policy, |tally| tally.sent += 1);
        Sent { client, visit }
    }

    async fn unless_arrived(&self, sent: &Sent) {
        mainstay_tests::within("the first in an empty queue arrives", sent.visit.arrived()).await;
    }

    fn answered(&self, policy: &'static str, reply: &Reply) {
        self.world.note(policy, |tally| {
            crate::clients::class(tally, reply.status);
            match reply.slug() {
                Some("rate-limited") => tally.rate_limited += 1,
                Some("overloaded") => tally.overloaded += 1,
                _ => tally.admitted += 1,
            }
        });
    }

    /// Leaves the queue, and waits until the proxy has seen it: who waits behind it cannot take its place before.
    async fn leave(&self, policy: &'static str, sent: Sent) {
        let before = self.cancelled(policy).await;
        let had_arrived = sent.visit.has_arrived();
        sent.client.reset();
        eventually("one who left is gone", || async {
            let gone = self.cancelled(policy).await > before || sent.visit.has_arrived();
            gone.then_some(())
        })
        .await;
        self.world.note(policy, |tally| tally.left_queued += 1);
        // A slot may come while it leaves; a place cannot, its holder is held.
        if policy == PLACE && (had_arrived || sent.visit.has_arrived()) {
            self.world.condemn("one who left the queue had been let through".to_owned());
        }
    }

    async fn cancelled(&self, policy: &str) -> f64 {
        metric_in(&self.metrics().await, "mainstay_requests_cancelled_total", &[("policy", policy)]).unwrap_or_default()
    }

    /// Waits until the proxy has seen every request that was sent under this policy.
    async fn is_known(&self, policy: &str) {
        let sent = self.world.tally(policy).sent;
        eventually("the proxy has what was sent", || async {
            let begun = begun(&self.metrics().await, policy);
            (begun >= sent).then_some(())
        })
        .await;
    }

    async fn metrics(&self) -> String {
        Request::get("/metrics").send(self.probes).await.text()
    }
}

/// Requests that the proxy has seen under this policy, ended or not.
pub(crate) fn begun(metrics: &str, policy: &str) -> u64 {
    let names = ["mainstay_requests_total", "mainstay_requests_cancelled_total", "mainstay_requests_in_flight"];
    names.iter().map(|name| metric_in(metrics, name, &[("policy", policy)]).unwrap_or_default() as u64).sum()
}
