//! The script with several replicas: a repeat lands on another one, and one is killed in between.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{Broken, Call, DUPLICATES, LOSE_ANSWER, PLAIN, Story, WORK_LATE, expect, state_of, unexpected};
use crate::demo::replicas::Replica;

/// The work of a write that is late has been asked for by then, and not been done.
const BEGUN: Duration = Duration::from_millis(200);
/// A death is noticed within the lease of two seconds; this leaves room for a slow machine.
const TAKEN_OVER: Duration = Duration::from_secs(20);

impl Story<'_> {
    /// Tells all of it, up to the first step that does not hold.
    pub(in crate::demo) async fn tell_of(&mut self, replicas: &mut [Replica]) -> Result<(), Broken> {
        self.repeated_elsewhere(replicas).await?;
        self.lost_and_repeated_elsewhere(replicas).await?;
        self.everywhere_at_once(replicas).await?;
        self.killed_in_between(replicas).await?;
        self.count_of(&["order-2001", "order-2002", "order-2003", "order-2004"]).await
    }

    async fn repeated_elsewhere(&mut self, replicas: &[Replica]) -> Result<(), Broken> {
        self.screen.step("An ordinary payment at one replica, then the same request at another");
        let first = self.show(&Call::pay(replicas[0].address, "order-2001", PLAIN)).await?;
        expect(first.status == StatusCode::CREATED, "201 from the service", &first)?;
        let repeat = self.show(&Call::pay(replicas[1].address, "order-2001", PLAIN)).await?;
        let is_replayed = repeat.header("idempotent-replayed") == Some("true") && repeat.body == first.body;
        expect(is_replayed && repeat.status == first.status, "the first answer again, replayed", &repeat)?;
        self.screen.holds("the same answer, replayed by a replica that has never seen the write");
        self.effects_of("order-2001", 1).await
    }

    async fn lost_and_repeated_elsewhere(&mut self, replicas: &[Replica]) -> Result<(), Broken> {
        self.screen.step("The service takes the money, its answer is lost, and the repeat comes to another replica");
        let operation = self.in_doubt(&Call::pay(replicas[0].address, "order-2002", LOSE_ANSWER)).await?;
        let elsewhere = replicas[replicas.len() - 1].address;
        self.screen.note(
            "The client repeats; the load balancer chooses another replica. It sends no second payment: it asks.",
        );
        let repeat = self.show(&Call::pay(elsewhere, "order-2002", LOSE_ANSWER)).await?;
        let is_settled = repeat.status.is_success() && repeat.header("mainstay-error").is_none();
        expect(is_settled, "an answer that is settled", &repeat)?;
        for replica in replicas {
            let read = self.send(&Call::get(replica.address, &operation)).await?;
            expect(state_of(&read)? == "succeeded", "state succeeded at every replica", &read)?;
        }
        self.screen.holds("settled by the service itself, and readable at every replica");
        self.effects_of("order-2002", 1).await
    }

    async fn everywhere_at_once(&mut self, replicas: &[Replica]) -> Result<(), Broken> {
        self.screen
            .step(&format!("{DUPLICATES} callers send the same new payment at the same moment, to all replicas"));
        let calls: Vec<_> = (0..DUPLICATES)
            .map(|caller| Call::pay(replicas[caller % replicas.len()].address, "order-2003", PLAIN))
            .collect();
        self.screen.call(&calls[0]);
        let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
        for (answer, call) in join_all(calls.iter().map(Call::send)).await.into_iter().zip(&calls) {
            let answer = answer.map_err(|source| Broken::NoAnswer { call: call.curl(), source })?;
            let kind = match (answer.status, answer.header("mainstay-error")) {
                (StatusCode::CREATED, _) if answer.header("idempotent-replayed") == Some("true") => "201, replayed",
                (StatusCode::CREATED, _) => "201",
                (StatusCode::CONFLICT, Some("in-progress")) => "409 in-progress",
                _ => return Err(unexpected("201, or 409 in-progress", &answer)),
            };
            *tally.entry(kind).or_default() += 1;
        }
        for (kind, times) in &tally {
            self.screen.note(&format!("  {times:2} × {kind}"));
        }
        if tally.get("201") != Some(&1) {
            let expected = "one 201 that is not a replay".into();
            return Err(Broken::Unexpected { expected, got: format!("{tally:?}") });
        }
        self.effects_of("order-2003", 1).await
    }

    async fn killed_in_between(&mut self, replicas: &mut [Replica]) -> Result<(), Broken> {
        self.screen
            .step("The service is slow, and the replica that has sent the payment is killed before the answer comes");
        let call = Call::pay(replicas[0].address, "order-2004", WORK_LATE);
        self.screen.call(&call);
        let sending = tokio::spawn(async move { call.send().await });
        sleep(BEGUN).await;
        self.screen.note(&format!("kill -9 {}", replicas[0].pid()));
        replicas[0].kill();
        match sending.await {
            Ok(Err(error)) => self.screen.no_answer(&error.to_string()),
            Ok(Ok(answer)) => return Err(unexpected("a connection that dies without an answer", &answer)),
            Err(_) => return Err(Broken::Unexpected { expected: "a call that ends".into(), got: "a panic".into() }),
        }
        self.screen
            .note("The client repeats at another replica. That one does not send: nobody knows whether the money was");
        self.screen
            .note("taken. It waits until the dead one's lease is over, takes the write over, and asks the service.");
        let repeat = Call::pay(replicas[1].address, "order-2004", WORK_LATE);
        let first = self.show(&repeat).await?;
        let is_held = matches!(first.header("mainstay-error"), Some("in-progress" | "outcome-unknown"));
        expect(is_held || first.status.is_success(), "409 while nobody knows, or an answer that is settled", &first)?;
        let until = Instant::now() + TAKEN_OVER;
        let settled = loop {
            let answer = self.send(&repeat).await?;
            if answer.status.is_success() || Instant::now() > until {
                break answer;
            }
            sleep(Duration::from_millis(200)).await;
        };
        self.screen.call(&repeat);
        self.screen.answer(&settled);
        expect(settled.status.is_success(), "an answer that is settled, within the lease", &settled)?;
        self.screen.holds("taken over, asked about, settled: not sent again");
        self.effects_of("order-2004", 1).await
    }

    async fn count_of(&mut self, keys: &[&str]) -> Result<(), Broken> {
        self.screen.step("The service's own count of payments taken, by key");
        let answer = self.show(&Call::get(self.service, "/effects")).await?;
        let effects: BTreeMap<String, u64> =
            serde_json::from_str(&answer.body).map_err(|_| unexpected("a count for each key", &answer))?;
        let is_once = effects.len() == keys.len() && keys.iter().all(|key| effects.get(*key) == Some(&1));
        expect(is_once, "each order paid once", &answer)?;
        self.screen.holds("whichever replica was asked, and though one was killed: every order was paid exactly once");
        Ok(())
    }
}
