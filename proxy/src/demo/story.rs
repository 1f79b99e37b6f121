//! The script: what is sent, what is shown, what must hold.

mod replicas;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::Instant;

use super::{
    client::{Answer, Call, CallError},
    screen::Screen,
};

/// Callers that send the same write at once.
const DUPLICATES: usize = 20;
/// How long a late answer may take to settle an operation.
const SETTLE: Duration = Duration::from_secs(5);

const PLAIN: &str = r#"{"amount":4200}"#;
const LOSE_ANSWER: &str = r#"{"amount":9900,"test":"lose-answer"}"#;
const WORK_LATE: &str = r#"{"amount":1500,"test":"work-late"}"#;
const DROP_CONNECTION: &str = r#"{"amount":100,"test":"drop-connection"}"#;

/// A step did not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{call}\n  got no answer: {source}")]
    NoAnswer { call: String, source: CallError },
    #[error("expected {expected}\n  but got {got}")]
    Unexpected { expected: String, got: String },
}

/// The story, while it is told.
pub(super) struct Story<'a> {
    proxy: SocketAddr,
    service: SocketAddr,
    screen: &'a mut Screen,
}

impl<'a> Story<'a> {
    pub(super) fn new(proxy: SocketAddr, service: SocketAddr, screen: &'a mut Screen) -> Self {
        Self { proxy, service, screen }
    }

    /// Tells all of it, up to the first step that does not hold.
    pub(super) async fn tell(&mut self) -> Result<(), Broken> {
        self.without_mainstay().await?;
        self.answered_and_repeated().await?;
        self.answer_lost().await?;
        self.work_done_late().await?;
        self.sent_by_many_at_once().await?;
        self.key_reused().await?;
        self.count().await
    }

    async fn without_mainstay(&mut self) -> Result<(), Broken> {
        self.screen.step("Without Mainstay: the answer is lost, the client repeats, the customer pays twice");
        let call = Call::pay(self.service, "direct-1", DROP_CONNECTION);
        for _ in 0..2 {
            self.screen.call(&call);
            match call.send().await {
                Ok(answer) => return Err(unexpected("a connection that dies without an answer", &answer)),
                Err(error) => self.screen.no_answer(&error.to_string()),
            }
        }
        self.effects_of("direct-1", 2).await
    }

    async fn answered_and_repeated(&mut self) -> Result<(), Broken> {
        self.screen.step("Through Mainstay: an ordinary payment, then the same request again");
        let call = Call::pay(self.proxy, "order-1001", PLAIN);
        let first = self.show(&call).await?;
        expect(first.status == StatusCode::CREATED, "201 from the service", &first)?;
        operation_of(&first)?;

        let repeat = self.show(&call).await?;
        let replayed = repeat.header("idempotent-replayed") == Some("true");
        expect(
            replayed && repeat.status == first.status && repeat.body == first.body,
            "the first answer again, with Idempotent-Replayed: true",
            &repeat,
        )?;
        self.screen.holds("the same answer, replayed");
        self.effects_of("order-1001", 1).await
    }

    async fn answer_lost(&mut self) -> Result<(), Broken> {
        self.screen.step("The service takes the money and its answer is lost");
        let call = Call::pay(self.proxy, "order-1002", LOSE_ANSWER);
        let operation = self.in_doubt(&call).await?;
        self.screen.holds("not \"failed\": 504 outcome-unknown, with an address for the truth");

        self.screen.note("What does the address say?");
        let read = self.show(&Call::get(self.proxy, &operation)).await?;
        let state = state_of(&read)?;
        expect(matches!(state.as_str(), "unknown" | "succeeded"), "state unknown, or settled already", &read)?;

        self.screen
            .note("The client repeats the same request. Mainstay sends no second payment: it asks the service's");
        self.screen.note("status endpoint, GET /payments/by-ref/order-1002.");
        let repeat = self.show(&call).await?;
        let settled = repeat.status.is_success();
        expect(settled && repeat.header("mainstay-error").is_none(), "an answer that is settled", &repeat)?;
        let read = self.show(&Call::get(self.proxy, &operation)).await?;
        expect(state_of(&read)? == "succeeded", "state succeeded", &read)?;
        self.screen.holds("settled by the service itself");
        self.effects_of("order-1002", 1).await
    }

    async fn work_done_late(&mut self) -> Result<(), Broken> {
        self.screen.step("The service is slow: it takes the money after the client was told 504");
        let operation = self.in_doubt(&Call::pay(self.proxy, "order-1003", WORK_LATE)).await?;
        self.screen.note("Mainstay keeps listening; the late answer settles the operation.");
        let read = Call::get(self.proxy, &operation).with("Prefer", "wait=5");
        self.screen.call(&read);
        let settled = self.until_settled(&read).await?;
        self.screen.answer(&settled);
        expect(state_of(&settled)? == "succeeded", "state succeeded", &settled)?;
        self.effects_of("order-1003", 1).await
    }

    async fn sent_by_many_at_once(&mut self) -> Result<(), Broken> {
        self.screen.step(&format!("{DUPLICATES} callers send the same new payment at the same moment"));
        let call = Call::pay(self.proxy, "order-1004", PLAIN);
        self.screen.call(&call);
        let answers = join_all((0..DUPLICATES).map(|_| call.send())).await;
        let mut tally: BTreeMap<String, usize> = BTreeMap::new();
        for answer in answers {
            let answer = answer.map_err(|source| Broken::NoAnswer { call: call.curl(), source })?;
            let kind = match (answer.status, answer.header("mainstay-error")) {
                (StatusCode::CREATED, _) if answer.header("idempotent-replayed") == Some("true") => "201, replayed",
                (StatusCode::CREATED, _) => "201",
                (StatusCode::CONFLICT, Some("in-progress")) => "409 in-progress",
                _ => return Err(unexpected("201, or 409 in-progress", &answer)),
            };
            *tally.entry(kind.to_owned()).or_default() += 1;
        }
        for (kind, times) in &tally {
            self.screen.note(&format!("  {times:2} × {kind}"));
        }
        if tally.get("201") != Some(&1) {
            return Err(Broken::Unexpected {
                expected: "one 201 that is not a replay".into(),
                got: format!("{tally:?}"),
            });
        }
        self.effects_of("order-1004", 1).await
    }

    async fn key_reused(&mut self) -> Result<(), Broken> {
        self.screen.step("A known key with another body is a mistake, and is told so");
        let answer = self.show(&Call::pay(self.proxy, "order-1001", r#"{"amount":5}"#)).await?;
        let told =
            answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.header("mainstay-error") == Some("key-reused");
        expect(told, "422 key-reused", &answer)?;
        self.effects_of("order-1001", 1).await
    }

    async fn count(&mut self) -> Result<(), Broken> {
        self.screen.step("The service's own count of payments taken, by key");
        let call = Call::get(self.service, "/effects");
        let answer = self.show(&call).await?;
        let effects: BTreeMap<String, u64> =
            serde_json::from_str(&answer.body).map_err(|_| unexpected("a count for each key", &answer))?;
        let through: Vec<_> = effects.iter().filter(|(key, _)| key.starts_with("order-")).collect();
        expect(through.len() == 4 && through.iter().all(|(_, times)| **times == 1), "each order paid once", &answer)?;
        self.screen.holds("through Mainstay every order was paid exactly once; without it, one was paid twice");
        Ok(())
    }

    /// Sends a payment whose outcome Mainstay cannot know in time; returns the operation's address.
    async fn in_doubt(&mut self, call: &Call) -> Result<String, Broken> {
        let answer = self.show(call).await?;
        let unknown = answer.status == StatusCode::GATEWAY_TIMEOUT
            && answer.header("mainstay-error") == Some("outcome-unknown")
            && answer.json("/safe_to_use_new_key") == Some(false.into());
        expect(unknown, "504 outcome-unknown with \"safe_to_use_new_key\": false", &answer)?;
        operation_of(&answer)
    }

    /// Reads an operation until it is settled, or for [`SETTLE`].
    async fn until_settled(&self, read: &Call) -> Result<Answer, Broken> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let answer = self.send(read).await?;
            let open = matches!(state_of(&answer)?.as_str(), "pending" | "unknown");
            if !open || Instant::now() >= deadline {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks the service itself how often it was paid under `key`.
    async fn effects_of(&mut self, key: &str, expected: u64) -> Result<(), Broken> {
        let answer = self.send(&Call::get(self.service, "/effects")).await?;
        let times = answer.json(&format!("/{key}")).and_then(|times| times.as_u64()).unwrap_or(0);
        if times != expected {
            let expected = format!("{expected} payment(s) under {key} in the service");
            return Err(Broken::Unexpected { expected, got: times.to_string() });
        }
        match times {
            1 => self.screen.holds(&format!("payments under {key}: 1")),
            _ => self.screen.note(&format!("payments under {key}: {times}")),
        }
        Ok(())
    }

    async fn show(&mut self, call: &Call) -> Result<Answer, Broken> {
        self.screen.call(call);
        let answer = self.send(call).await?;
        self.screen.answer(&answer);
        Ok(answer)
    }

    async fn send(&self, call: &Call) -> Result<Answer, Broken> {
        call.send().await.map_err(|source| Broken::NoAnswer { call: call.curl(), source })
    }
}

/// The address of the operation that an answer names.
fn operation_of(answer: &Answer) -> Result<String, Broken> {
    match answer.header("operation-location") {
        Some(address) if address.starts_with("/_mainstay/operations/") => Ok(address.to_owned()),
        _ => Err(unexpected("Operation-Location: /_mainstay/operations/…", answer)),
    }
}

fn state_of(answer: &Answer) -> Result<String, Broken> {
    match answer.json("/state") {
        Some(serde_json::Value::String(state)) if answer.status == StatusCode::OK => Ok(state),
        _ => Err(unexpected("200 with the operation's state", answer)),
    }
}

fn expect(held: bool, expected: &str, got: &Answer) -> Result<(), Broken> {
    if held { Ok(()) } else { Err(unexpected(expected, got)) }
}

fn unexpected(expected: &str, got: &Answer) -> Broken {
    let got = format!("{}, {:?}\n  {}", got.status, got.headers, got.body.trim_end());
    Broken::Unexpected { expected: expected.to_owned(), got }
}
