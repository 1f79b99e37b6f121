//! Seeing, forcing and releasing circuit breakers. A forced breaker stays forced over reloads, until it is released or the
//! process ends.

use http::StatusCode;
use mainstay_policies::circuit_breaker::{Breaker, Forced};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{act::Act, operators::OperatorRequest};
use crate::{
    api::{Fault, reply::Reply},
    runtime::named::{NamedBreaker, forced},
};

/// `GET /breakers`
pub(super) fn list(asked: &OperatorRequest<'_>) -> Reply {
    let snapshot = asked.cx.runtime.snapshot.load();
    let breakers: Vec<Value> = snapshot.breakers().iter().map(of_breaker).collect();
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
    act.done(Some(before), Some(state(named))).await?;
    Ok(Reply::json(&of_breaker(named)).no_store())
}

fn state(named: &NamedBreaker<'_>) -> &'static str {
    named.breaker.snapshot(Instant::now()).state.label()
}

pub(super) fn of_breaker(named: &NamedBreaker<'_>) -> Value {
    let seen = named.breaker.snapshot(Instant::now());
    json!({
        "name": named.name,
        "policy": &*named.policy,
        "upstream": &*named.upstream,
        "endpoint": named.endpoint,
        "route": named.route.as_deref(),
        "state": seen.state.label(),
        "forced": forced(named.breaker),
        "requests": seen.requests,
        "errors": seen.errors,
        "slow": seen.slow,
        "consecutive_errors": seen.consecutive_errors,
        "retry_after_ms": seen.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        "opened": seen.transitions.opened,
        "half_opened": seen.transitions.half_opened,
        "closed": seen.transitions.closed,
    })
}
