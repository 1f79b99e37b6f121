//! Seeing, forcing and releasing circuit breakers. A forced breaker stays forced over reloads, until it is released, its time is
//! over or the process ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use mainstay_policies::{
    circuit_breaker::{Breaker, Forced, State},
    clock::UnixMillis,
    operation::audit::AuditEntry,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::Instant};

use super::{
    act::Act,
    operators::{OperatorRequest, Operators},
};
use crate::{
    api::{Fault, document::time, reply::Reply},
    config::parse_duration,
    runtime::{
        named::{NamedBreaker, forced},
        told::why,
    },
};

/// The longest time after which a breaker is released by itself: for longer, a configuration is the place.
const LONGEST: Duration = Duration::from_hours(24);

/// Who holds which breaker, by its name. As many as there are breakers at most.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    of: BTreeMap<String, Holder>,
    /// How often any of them was moved: whoever releases one later knows by it that nobody came between.
    moves: u64,
}

/// Whoever forced a breaker last.
#[derive(Clone, Debug)]
struct Holder {
    actor: String,
    reason: String,
    at: UnixMillis,
    /// When it is released, if it is by itself.
    until: Option<UnixMillis>,
    /// Which move it was.
    moves: u64,
    /// What waits to release it.
    waiting: Option<AbortHandle>,
}

impl Holder {
    /// Somebody else has moved it, or it is gone.
    fn is_over(&self) {
        self.waiting.iter().for_each(AbortHandle::abort);
    }
}

impl Holders {
    /// `act` moves a breaker, of those that there are, for a time or until somebody else does; the number of the move. To be called
    /// before it is moved: what is to release it later either has done so by now, or finds out that it must not.
    fn note(
        &self,
        name: &str,
        act: &Act<'_>,
        (at, until): (UnixMillis, Option<UnixMillis>),
        breakers: &[NamedBreaker<'_>],
    ) -> u64 {
        let mut known = self.0.lock();
        known.of.retain(|known, holder| {
            let is_there = breakers.iter().any(|named| named.name == *known);
            if !is_there || known == name {
                holder.is_over();
            }
            is_there
        });
        known.moves += 1;
        let (actor, reason, moves) = (act.actor().into(), act.reason().into(), known.moves);
        known.of.insert(name.to_owned(), Holder { actor, reason, at, until, moves, waiting: None });
        moves
    }

    /// Something waits to take that move back; so there are never more of them than breakers.
    fn wait(&self, name: &str, moves: u64, waiting: AbortHandle) {
        match self.0.lock().of.get_mut(name).filter(|holder| holder.moves == moves) {
            Some(holder) => holder.waiting = Some(waiting),
            None => waiting.abort(),
        }
    }

    /// Takes a move back, unless somebody has moved the breaker since; whose it was.
    fn take_back(&self, name: &str, moves: u64, release: impl FnOnce()) -> Option<Holder> {
        let mut known = self.0.lock();
        let holder = known.of.get_mut(name).filter(|holder| holder.moves == moves)?;
        holder.waiting = None;
        release();
        Some(holder.clone())
    }

    /// Who holds it, as a document.
    fn of(&self, name: &str) -> Option<Value> {
        self.0
            .lock()
            .of
            .get(name)
            .map(|it| json!({ "actor": it.actor, "reason": it.reason, "at": time(it.at), "until": it.until.map(time) }))
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
    let act = Act::with(asked, "force", name, &["state"], &["for"])?;
    let forced = match act.member("state") {
        "open" => Forced::Open,
        "closed" => Forced::Closed,
        "disabled" => Forced::Disabled,
        _ => return Err(Fault::bad("`state` is one of open, closed, disabled.")),
    };
    let within = match act.value("for") {
        Value::Null => None,
        text => match text.as_str().map(parse_duration) {
            Some(Ok(within)) if !within.is_zero() && within <= LONGEST => Some(within),
            _ => {
                let detail = "`for` is a duration such as 10m, and at most 24h; without it the breaker is held until it is released.";
                return Err(act.refused(None, Fault::bad(detail)).await);
            }
        },
    };
    move_it(asked, name, &act, within, |breaker| breaker.force(forced)).await
}

/// `POST /breakers/{name}:release`
pub(super) async fn release(asked: &OperatorRequest<'_>, name: &str) -> Result<Reply, Fault> {
    let act = Act::read(asked, "release", name, &[])?;
    move_it(asked, name, &act, None, Breaker::release).await
}

/// Releases a breaker when its time is over, unless somebody has moved it since. Ends with the process, as does all that is held.
async fn let_go(cx: Arc<Operators>, name: String, moves: u64, within: Duration) {
    tokio::time::sleep(within).await;
    // A reload may have taken it away, or given the name to another object that is held as this one was.
    let Some((holder, before, after)) = ({
        let snapshot = cx.runtime.snapshot.load_full();
        let breakers = snapshot.breakers();
        let held = breakers.iter().find(|named| named.name == name && forced(named.breaker).is_some());
        held.and_then(|named| {
            let before = state(named);
            let holder = cx.holders.take_back(&name, moves, || named.breaker.release())?;
            Some((holder, before, state(named)))
        })
    }) else {
        return;
    };
    tracing::info!(actor = holder.actor, action = "release", subject = name, "a breaker's time is over");
    let entry = AuditEntry {
        at: cx.runtime.resources.clock.now(),
        actor: holder.actor,
        action: "release".into(),
        target: name,
        operation: None,
        reason: format!("its time is over; held because: {}", holder.reason).chars().take(1000).collect(),
        before: Some(before.into()),
        after: Some(after.into()),
        result: "done".into(),
    };
    if let Err(error) = cx.runtime.resources.ledger.append(entry).await {
        tracing::error!(%error, "a breaker was released when its time was over, which is missing in the audit trail");
    }
}

async fn move_it(
    asked: &OperatorRequest<'_>,
    name: &str,
    act: &Act<'_>,
    within: Option<Duration>,
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
    let now = asked.cx.runtime.resources.clock.now();
    let until = within.map(|within| now.saturating_add(within.as_millis() as u64));
    let moves = asked.cx.holders.note(name, act, (now, until), &breakers);
    how(named.breaker);
    if let Some(within) = within {
        let waiting = tokio::spawn(let_go(Arc::clone(asked.cx), name.to_owned(), moves, within));
        asked.cx.holders.wait(name, moves, waiting.abort_handle());
    }
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
    let buckets = named
        .breaker
        .buckets(now)
        .map(|bucket| json!({ "requests": bucket.requests, "errors": bucket.errors, "slow": bucket.slow }));
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
        "window_ms": u64::try_from(named.breaker.params().window.as_millis()).unwrap_or(u64::MAX),
        "window": buckets,
        "consecutive_errors": seen.consecutive_errors,
        "retry_after_ms": probes_in,
        "opened": seen.transitions.opened,
        "half_opened": seen.transitions.half_opened,
        "closed": seen.transitions.closed,
    })
}
