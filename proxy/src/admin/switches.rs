//! Switches of the process: how much it logs, and whether traffic should come.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use serde_json::json;

use super::{
    act::Act,
    operators::{OperatorRequest, Operators},
};
use crate::{
    api::{Fault, reply::Reply},
    config::{model::Direction, parse_duration},
};

/// The longest time after which a level goes back by itself.
const LONGEST: Duration = Duration::from_hours(24);

/// `GET /log-level`, `PUT /log-level`: until the next reload, which goes back to what the configuration says, or for a time.
pub(super) async fn log_level(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    if asked.parts.method != Method::PUT {
        return Ok(Reply::json(&json!({ "level": asked.cx.logging.level() })).no_store());
    }
    let act = Act::anonymous(asked, "log-level", "telemetry.logs.level", &["level", "for"], &[("for", "0s")])?;
    let time = match parse_duration(act.member("for")) {
        Ok(time) if time <= LONGEST => time,
        _ => return Err(act.refused(None, Fault::bad("`for` is a duration such as 10m, and at most 24h.")).await),
    };
    let level = act.member("level");
    let change = match asked.cx.logging.set_level(level) {
        Ok(change) => change,
        Err(error) => return Err(act.refused(None, Fault::bad(format!("{error}."))).await),
    };
    if !time.is_zero() {
        tokio::spawn(go_back(Arc::clone(asked.cx), change, time));
    }
    act.done(None, Some(level)).await?;
    Ok(Reply::json(&json!({ "level": level })).no_store())
}

/// Goes back to the level that the configuration says by then. Ends with the process, which has no need of it any more.
async fn go_back(cx: Arc<Operators>, change: u64, time: Duration) {
    tokio::time::sleep(time).await;
    let level = cx.runtime.snapshot.load().config.telemetry.logs.level.clone();
    if let Err(error) = cx.logging.go_back(change, &level) {
        tracing::warn!(wanted = level, "the level of the log does not go back: {error}");
    }
}

/// `POST /drain`: readiness fails and clients are told to go elsewhere from now on. Nothing is refused or cut off, so what
/// still comes is served; SIGTERM does the rest, without waiting a second time for those who have turned away meanwhile.
pub(super) async fn drain(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    if asked.parts.method == Method::DELETE {
        return undo_drain(asked).await;
    }
    let act = Act::anonymous(asked, "drain", "readiness", &["scope"], &[("scope", "inbound")])?;
    let (scope, directions) = match act.member("scope") {
        scope @ "inbound" => (scope.to_owned(), &[Direction::Inbound][..]),
        scope @ "all" => (scope.to_owned(), &[Direction::Inbound, Direction::Outbound][..]),
        _ => return Err(act.refused(None, Fault::bad("`scope` is inbound or all.")).await),
    };
    let was_draining = asked.cx.runtime.begin_drain(&asked.cx.probes.readiness, directions);
    let before = if was_draining { "draining" } else { "ready" };
    act.done(Some(before), Some("draining")).await?;
    Ok(Reply::json(&json!({ "draining": true, "scope": scope })).no_store())
}

/// `DELETE /drain`: readiness comes back, and clients are no longer told to go elsewhere, unless the process ends.
async fn undo_drain(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let act = Act::anonymous(asked, "undrain", "readiness", &[], &[])?;
    let Ok(was_draining) = asked.cx.runtime.undo_drain(&asked.cx.probes.readiness) else {
        let fault = Fault::bad("The process ends: a drain that SIGTERM began is not taken back. Start another one.");
        let fault = fault.with(StatusCode::CONFLICT, "The process ends");
        return Err(act.refused(Some("draining"), fault).await);
    };
    let before = if was_draining { "draining" } else { "ready" };
    act.done(Some(before), Some("ready")).await?;
    Ok(Reply::json(&json!({ "draining": false })).no_store())
}
