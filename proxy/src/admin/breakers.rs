//! Seeing, forcing and releasing circuit breakers. A forced breaker stays forced over reloads, until it is released or the
//! process ends.

use std::collections::BTreeMap;

use http::StatusCode;
use mainstay_policies::{
    circuit_breaker::{Breaker, Forced, State},
    clock::UnixMillis,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    act::Act,
    operators::{OperatorRequest, Operators},
};
use crate::{
    api::{Fault, document::time, reply::Reply},
    runtime::{
        named::{NamedBreaker, forced},
        told::why,
    },
};

/// Who holds which breaker, by its name. As many as there are breakers at most.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<BTreeMap<String, Holder>>);

/// Whoever forced a breaker last.
#[derive(Clone, Debug)]
struct Holder {
    actor: String,
    reason: String,
    at: UnixMillis,
}

impl Holders {
    /// `act` has moved a breaker, of those that there are.
    fn note(&self, name: &str, act: &Act<'_>, at: UnixMillis, breakers: &[NamedBreaker<'_>]) {
        let mut holders = self.0.lock();
        holders.retain(|known, _| breakers.iter().any(|named| named.name == *known));
        holders.insert(name.to_owned(), Holder { actor: act.actor().into(), reason: act.reason().into(), at });
    }

    /// Who holds it, as a document.
    fn of(&self, name: &str) -> Option<Value> {
        let holders = self.0.lock();
        holders.get(name).map(|it| json!({ "actor": it.actor, "reason": it.reason, "at": time(it.at) }))
    }
}

/// `GET /breakers`
pub(super) fn list(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let breakers: Vec<Value> = snapshot.breakers().iter().map(|named| of_breaker(asked.cx, named)).collect();
    Reply::json(&json!({ "breakers": breakers })).no_store()
}

/// `POST /breakers/{name}:force`
pub(super) async fn force(asked: &OperatorRequest<'_>, name: &str) -> Result<Reply, Fault> {
    let act = Act::read(asked, "force", name, &["state"])?;
    let forced = match act.member("state") {
        "open" => Forced::Open,
        "closed" => Forced::Closed,
        "disabled" => Forced::Disabled,
        _ => return Err(Fault::bad("`state` is one of open, closed, disabled.")),
    };
    move_it(asked, name, &act, |breaker| breaker.force(forced)).await
}

/// `POST /breakers/{name}:release`
pub(super) async fn release(asked: &OperatorRequest<'_>, name: &str) -> Result<Reply, Fault> {
    let act = Act::read(asked, "release", name, &[])?;
    move_it(asked, name, &act, Breaker::release).await
}

async fn move_it(
    asked: &OperatorRequest<'_>,
    name: &str,
    act: &Act<'_>,
    how: impl FnOnce(&Breaker),
) -> Result<Reply, Fault> {
    let snapshot = asked.cx.runtime.snapshot.load_full();
    let breakers = snapshot.breakers();
    let Some(named) = breakers.iter().find(|named| named.name == name) else {
        let known = breakers.iter().map(|named| named.name.as_str()).collect::<Vec<_>>().join(", ");
        let detail = if known.is_empty() {
            "There is no circuit breaker in this configuration.".to_owned()
        } else {
            format!("There is no breaker of that name; there is {known}.")
        };
        let fault = Fault::no_route(&detail).with(StatusCode::NOT_FOUND, "There is no such breaker");
        return Err(act.refused(None, fault).await);
    };
    let before = state(named);
    how(named.breaker);
    asked.cx.holders.note(name, act, asked.cx.runtime.resources.clock.now(), &breakers);
    act.done(Some(before), Some(state(named))).await?;
    Ok(Reply::json(&of_breaker(asked.cx, named)).no_store())
}

fn state(named: &NamedBreaker<'_>) -> &'static str {
    named.breaker.snapshot(Instant::now()).state.label()
}

/// The document of one breaker.
pub(super) fn of_breaker(cx: &Operators, named: &NamedBreaker<'_>) -> Value {
    let now = Instant::now();
    let seen = named.breaker.snapshot(now);
    let is_held = forced(named.breaker).is_some();
    let since = seen.since.map(|since| {
        let ago = now.saturating_duration_since(since).as_millis() as u64;
        time(cx.runtime.resources.clock.now().saturating_sub(ago))
    });
    let probes_in = seen.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    json!({
        "name": named.name,
        "policy": &*named.policy,
        "upstream": &*named.upstream,
        "endpoint": named.endpoint,
        "route": named.route.as_deref(),
        "state": seen.state.label(),
        "since": since,
        "why": named.breaker.trip().filter(|_| matches!(seen.state, State::Open | State::HalfOpen)).map(why),
        "probes_in_ms": probes_in.filter(|_| seen.state == State::Open),
        "forced": forced(named.breaker),
        "forced_by": cx.holders.of(&named.name).filter(|_| is_held),
        "requests": seen.requests,
        "errors": seen.errors,
        "slow": seen.slow,
        "consecutive_errors": seen.consecutive_errors,
        "retry_after_ms": probes_in,
        "opened": seen.transitions.opened,
        "half_opened": seen.transitions.half_opened,
        "closed": seen.transitions.closed,
    })
}
