//! Switches of the process: how much it logs, and whether traffic should come.

use http::{Method, StatusCode};
use serde_json::json;

use super::{act::Act, operators::OperatorRequest};
use crate::{
    api::{Fault, reply::Reply},
    config::model::Direction,
};

/// `GET /log-level`, `PUT /log-level`: until the next reload, which goes back to what the configuration says.
pub(super) async fn log_level(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    if asked.parts.method != Method::PUT {
        return Ok(Reply::json(&json!({ "level": asked.cx.logging.level() })).no_store());
    }
    let act = Act::anonymous(asked, "log-level", "telemetry.logs.level", &["level"], &[])?;
    let level = act.member("level");
    if let Err(error) = asked.cx.logging.set_level(level) {
        return Err(act.refused(None, Fault::bad(format!("{error}."))).await);
    }
    act.done(None, Some(level)).await?;
    Ok(Reply::json(&json!({ "level": level })).no_store())
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
