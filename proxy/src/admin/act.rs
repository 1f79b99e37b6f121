//! One act of a person: who, why, on what, and what the audit trail says of it.

use http::{HeaderMap, StatusCode, header};
use mainstay_policies::{
    operation::{Operation, OperationId, audit::AuditEntry},
    problem::Problem,
};
use serde_json::{Map, Value};

use super::{
    guard::MAX_ACTOR,
    jobs::Job,
    operators::{OperatorRequest, Operators},
};
use crate::api::{
    Fault,
    listing::{NO_OPERATION, etag},
};

/// Characters of why.
const MAX_REASON: usize = 1000;
/// Who and why, where neither must be said.
const NOT_GIVEN: &str = "not given";

/// An act, before it is known what comes of it.
pub(super) struct Act<'a> {
    cx: &'a Operators,
    action: &'static str,
    target: String,
    operation: Option<OperationId>,
    actor: String,
    reason: String,
    /// What else the body says.
    more: Map<String, Value>,
}

impl<'a> Act<'a> {
    /// Reads an act on `target`: who and why, and the members that it `needs` beside them.
    pub(super) fn read(
        asked: &OperatorRequest<'a>,
        action: &'static str,
        target: &str,
        needs: &[&str],
    ) -> Result<Self, Fault> {
        Self::with(asked, action, target, needs, &[])
    }

    /// The same with the members `may` beside, if they are there.
    pub(super) fn with(
        asked: &OperatorRequest<'a>,
        action: &'static str,
        target: &str,
        needs: &[&str],
        may: &[&str],
    ) -> Result<Self, Fault> {
        Self::from(asked, members(asked)?, action, target, (needs, may))
    }

    /// What a job does with one operation.
    pub(super) fn of_job(cx: &'a Operators, job: &Job, id: OperationId) -> Self {
        let (target, more) = (id.to_string(), Map::new());
        let (actor, reason) = (job.actor.clone(), job.reason.clone());
        Self { cx, action: job.action, target, operation: Some(id), actor, reason, more }
    }

    /// An act that needs no reason, such as a look at what nobody else may see, and that may have the members `may` beside.
    pub(super) fn optional(
        asked: &OperatorRequest<'a>,
        action: &'static str,
        target: &str,
        needs: &[&str],
        may: &[&str],
    ) -> Result<Self, Fault> {
        let mut more = members(asked)?;
        named(asked, &mut more)?;
        for name in ["actor", "reason"] {
            more.entry(name).or_insert_with(|| NOT_GIVEN.into());
        }
        Self::from(asked, more, action, target, (needs, may))
    }

    fn from(
        asked: &OperatorRequest<'a>,
        mut more: Map<String, Value>,
        action: &'static str,
        target: &str,
        (needs, may): (&[&str], &[&str]),
    ) -> Result<Self, Fault> {
        named(asked, &mut more)?;
        let missing: Vec<String> = needs
            .iter()
            .chain(&["actor", "reason"])
            .filter(|name| more.get(**name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()))
            .map(|name| format!("`{name}`"))
            .collect();
        if !missing.is_empty() {
            return Err(Fault::bad(format!(
                "The body lacks {}: it is JSON with who does it (actor) and why (reason); both go to the audit trail.",
                missing.join(" and ")
            )));
        }
        let actor = text(&mut more, "actor", MAX_ACTOR)?;
        let reason = text(&mut more, "reason", MAX_REASON)?;
        let is_known = |name: &str| needs.contains(&name) || may.contains(&name);
        if let Some(unknown) = more.keys().find(|name| !is_known(name)) {
            let known = needs.iter().chain(may).chain(&["actor", "reason"]).copied().collect::<Vec<_>>().join(", ");
            return Err(Fault::bad(format!("`{}` is not known here; known: {known}.", printable(unknown))));
        }
        Ok(Self { cx: asked.cx, action, target: printable(target), operation: None, actor, reason, more })
    }

    /// An act that needs nobody to answer for it; `Act::read` if somebody does. `defaults` are what it needs and may be left
    /// out.
    pub(super) fn anonymous(
        asked: &OperatorRequest<'a>,
        action: &'static str,
        target: &str,
        needs: &[&str],
        defaults: &[(&str, &str)],
    ) -> Result<Self, Fault> {
        let mut body = members(asked)?;
        for (name, default) in [("reason", NOT_GIVEN)].iter().chain(defaults) {
            body.entry(*name).or_insert_with(|| (*default).into());
        }
        named(asked, &mut body)?;
        body.entry("actor").or_insert_with(|| NOT_GIVEN.into());
        Self::from(asked, body, action, target, (needs, &[]))
    }

    /// Reads an act on an operation.
    pub(super) fn on(
        asked: &OperatorRequest<'a>,
        action: &'static str,
        id: OperationId,
        needs: &[&str],
    ) -> Result<Self, Fault> {
        Ok(Self { operation: Some(id), ..Self::read(asked, action, &id.to_string(), needs)? })
    }

    /// A member that the act needs.
    pub(super) fn member(&self, name: &str) -> &str {
        self.more.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A member that may be anything; null if it is not there.
    pub(super) fn value(&self, name: &str) -> &Value {
        self.more.get(name).unwrap_or(&Value::Null)
    }

    /// Who does it.
    pub(super) fn actor(&self) -> &str {
        &self.actor
    }

    /// Why.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// What the audit trail says of it.
    pub(super) fn entry(&self, before: Option<&str>, after: Option<&str>, result: &str) -> AuditEntry {
        AuditEntry {
            at: self.cx.runtime.resources.clock.now(),
            actor: self.actor.clone(),
            action: self.action.into(),
            target: self.target.clone(),
            operation: self.operation,
            reason: self.reason.clone(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            result: result.into(),
        }
    }

    /// Writes down that it begins, so that it is known who began it even if nobody is left to say how it ended.
    ///
    /// # Errors
    /// It cannot be written, so it must not begin.
    pub(super) async fn begins(&self, before: &str) -> Result<(), Fault> {
        self.log("begun");
        let entry = self.entry(Some(before), Some(before), "begun");
        self.cx.runtime.resources.ledger.append(entry).await.map(drop).map_err(|_| Fault::ledger())
    }

    /// Writes down that it was done. What is only in memory, such as a forced breaker, was done before.
    pub(super) async fn done(&self, before: Option<&str>, after: Option<&str>) -> Result<(), Fault> {
        self.came_to(before, after, "done").await
    }

    /// Writes down what came of it.
    pub(super) async fn came_to(&self, before: Option<&str>, after: Option<&str>, result: &str) -> Result<(), Fault> {
        self.log(result);
        let entry = self.entry(before, after, result);
        self.cx.runtime.resources.ledger.append(entry).await.map(drop).map_err(|error| {
            tracing::error!(%error, "an act was done and is missing in the audit trail");
            let mut fault = Fault::ledger();
            fault.detail = "It was done, and could not be written to the audit trail.".into();
            fault
        })
    }

    /// Writes down that somebody looked.
    ///
    /// # Errors
    /// It cannot be written, so nothing may be shown.
    pub(super) async fn looked(&self, result: &str) -> Result<(), Fault> {
        self.log(result);
        let entry = self.entry(None, None, result);
        self.cx.runtime.resources.ledger.append(entry).await.map(drop).map_err(|error| {
            tracing::warn!(%error, "a look is missing in the audit trail, and nothing was shown");
            let mut fault = Fault::ledger();
            fault.detail = format!(
                "Nothing is shown, as the look could not be written to the audit trail: the ledger takes no writes ({error}). \
                 Make room, or mend it, first."
            );
            fault
        })
    }

    /// Writes down that it was refused; gives back why.
    pub(super) async fn refused(&self, before: Option<&str>, fault: Fault) -> Fault {
        self.log("refused");
        let entry = self.entry(before, None, &format!("refused: {}", fault.detail));
        if let Err(error) = self.cx.runtime.resources.ledger.append(entry).await {
            tracing::warn!(%error, "a refused act is missing in the audit trail");
        }
        fault
    }

    pub(super) fn log(&self, result: &str) {
        tracing::info!(
            actor = %self.actor, action = self.action, subject = %self.target, reason = %self.reason, result,
            "an operator's act"
        );
    }

    /// The operation as it stands, if the caller has seen it like this.
    pub(super) async fn operation(&self, id: OperationId, headers: &HeaderMap) -> Result<Operation, Fault> {
        let Some(if_match) = headers.get(header::IF_MATCH) else {
            let fault = Fault::bad("Send `If-Match` with the ETag of the operation as you have read it.");
            let fault = fault.with(StatusCode::PRECONDITION_REQUIRED, "The request must be conditional");
            return Err(self.refused(None, fault).await);
        };
        let found = self.cx.runtime.resources.ledger.read(id).await.map_err(|_| Fault::ledger())?;
        let Some(operation) = found else { return Err(self.refused(None, Fault::absent(NO_OPERATION)).await) };
        if names(if_match.as_bytes(), &etag(&operation)) {
            return Ok(operation);
        }
        Err(self.refused(Some(operation.state.label()), stale(&operation)).await)
    }
}

/// Somebody, or something, was quicker.
pub(super) fn stale(current: &Operation) -> Fault {
    let detail = format!("It has changed since you read it, and is {} now: read it again.", current.state.label());
    let mut fault = Fault::bad(detail).with(StatusCode::PRECONDITION_FAILED, "The operation has changed");
    fault.header = Some((header::ETAG, etag(current)));
    fault
}

/// What may be said of an operation that is not in the state for it.
pub(super) fn conflict(detail: impl Into<String>) -> Fault {
    Fault::bad(detail).with(StatusCode::CONFLICT, "The operation is not in a state for this")
}

/// Whether `If-Match` names `etag` (RFC 9110 section 13.1.1, strong comparison).
fn names(if_match: &[u8], etag: &str) -> bool {
    if_match.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || tag == etag.as_bytes())
}

fn members(asked: &OperatorRequest<'_>) -> Result<Map<String, Value>, Fault> {
    if asked.body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&asked.body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Fault::bad("The body is not a JSON object.")),
    }
}

/// A token with a name says who it is, and so does a certificate: nobody acts in the name of another.
fn named(asked: &OperatorRequest<'_>, members: &mut Map<String, Value>) -> Result<(), Fault> {
    let Some(name) = asked.caller.name.as_deref() else { return Ok(()) };
    match members.get("actor").map(|actor| actor.as_str()) {
        None => {
            members.insert("actor".into(), name.into());
            Ok(())
        }
        Some(Some(actor)) if actor == name => Ok(()),
        Some(_) => {
            let detail = format!("You are known here as {name}: leave `actor` out, or say the same.");
            Err(Fault::new(Problem::Forbidden, detail))
        }
    }
}

/// Takes a text of 1 to `max` printable characters: it is shown on terminals.
fn text(members: &mut Map<String, Value>, name: &str, max: usize) -> Result<String, Fault> {
    let text =
        members.remove(name).and_then(|text| text.as_str().map(|text| text.trim().to_owned())).unwrap_or_default();
    if text.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
        return Err(Fault::bad(format!("`{name}` is a text of 1 to {max} characters on one line.")));
    }
    Ok(text)
}

/// What a caller wrote, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().take(MAX_ACTOR).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_strongly() {
        for (if_match, matches) in
            [("\"3\"", true), ("\"1\", \"3\"", true), ("*", true), ("W/\"3\"", false), ("\"4\"", false), ("3", false)]
        {
            assert_eq!(names(if_match.as_bytes(), "\"3\""), matches, "{if_match}");
        }
    }
}
