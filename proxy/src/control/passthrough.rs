//! Asking the service itself about a key that the ledger does not know.

use http::Method;
use mainstay_policies::{
    access::ClientAddress,
    evidence::Evidence,
    idempotency::{Key, StatusQuery, Verdict, query, template},
    operation::{Question, State},
    path::normalise,
    problem::Problem,
};

use super::{CallerRequest, NO_OPERATION_WITH_KEY};
use crate::{
    api::{Fault, document, reply::Reply},
    config::model::Route,
};

/// The verdict of the upstream behind `path` about `key`.
pub(super) async fn ask(
    asked: &CallerRequest<'_>,
    key: &Key,
    path: &str,
    upstream: Option<&str>,
) -> Result<Reply, Fault> {
    let absent = || Fault::absent("There is no operation with this key, and no service to ask about it.");
    let path = normalise(path.split('?').next().unwrap_or_default());
    let (route, captured) = write_route(asked, &path).ok_or_else(absent)?;
    if upstream.is_some_and(|name| *name != *route.upstream.name) {
        return Err(absent());
    }
    let status = route.policy.idempotency.as_ref().and_then(|policy| policy.status.as_ref()).ok_or_else(absent)?;
    // Who may not write there may not ask there.
    if !may_write(asked, route, &path) {
        return Err(Fault::new(Problem::Forbidden, "An access list of this proxy does not admit writes to this path."));
    }
    // Whoever knows a key could ask about it: where writes need a known caller, so do questions.
    let is_known = asked.principal.is_some_and(|principal| !principal.is_empty());
    if !is_known && route.policy.idempotency.as_ref().is_some_and(|policy| policy.principal_required) {
        let detail = "The service is asked about a key for an identified caller only. Nothing was asked.";
        return Err(Fault::new(Problem::PrincipalMissing, detail));
    }
    let upstream_client = asked.cx.asker.as_deref().ok_or_else(absent)?;
    // An operation that is not recorded has no name to put in.
    let target = template::target(&status.path, key.as_str(), &captured);
    let target = target.filter(|_| !template::placeholders(&status.path).any(|name| name == "operation"));
    let target = target.ok_or_else(absent)?;
    let question = Question::new(&route.upstream.name, &target);
    bar_anothers(asked, question).await?;
    asked
        .cx
        .gate
        .enter_unnamed(&route.upstream.name, status.rate_per_sec)
        .await
        .map_err(|_| Fault::new(Problem::RateLimited, "The service has been asked often enough for now."))?;
    let heard = query::ask(upstream_client, &route.upstream.name, status, &target, None, asked.cx.clock.now()).await;
    // Once more: what the answer is about may have been recorded since, but was so before it was sent.
    bar_anothers(asked, question).await?;
    let (state, reason, evidence) = view(heard.verdict, status);
    let key_hash = key.hash(asked.principal, &route.upstream.name);
    let document = document::of_upstream(key_hash, &route.name, state, reason, evidence);
    Ok(Reply::json(&document).private())
}

/// An answer about a write of another principal is none for this caller: that write is absent, whatever the service has under
/// the key.
async fn bar_anothers(asked: &CallerRequest<'_>, question: Question) -> Result<(), Fault> {
    let is_anothers = asked.cx.ledger.is_anothers(question, asked.principal_hash).await.map_err(|_| Fault::ledger())?;
    if is_anothers { Err(Fault::absent(NO_OPERATION_WITH_KEY)) } else { Ok(()) }
}

/// The state of a write that was never seen here. That the service does not know it proves nothing, unless the question
/// itself bars it: the write may be under way past us.
fn view(verdict: Option<Verdict>, status: &StatusQuery) -> (State, &'static str, Option<Evidence>) {
    match verdict {
        Some(Verdict::Evidence(evidence)) => {
            let state = match evidence {
                Evidence::Succeeded => State::Succeeded,
                Evidence::Failed => State::Failed,
                Evidence::NotExecuted => State::NotExecuted,
                Evidence::Ongoing | Evidence::Ambiguous => State::Unknown,
            };
            (state, "status_query", Some(evidence))
        }
        Some(Verdict::NotFound) if status.fenced => (State::NotExecuted, "status_query", Some(Evidence::NotExecuted)),
        Some(Verdict::NotFound) => (State::Unknown, "not_found", None),
        None => (State::Unknown, "no_evidence", None),
    }
}

/// The first route that takes keyed writes on `path` where this is asked, with its path parameters. Those of other listeners are
/// nobody's here: a caller of the service must not have others asked with the service's credentials.
fn write_route<'c, 'p>(asked: &'c CallerRequest<'_>, path: &'p str) -> Option<(&'c Route, Vec<(&'c str, &'p str)>)> {
    asked.routes_here().find_map(|route| {
        let policy = route.policy.idempotency.as_ref()?;
        let takes = |method: &Method| route.matches.methods.is_empty() || route.matches.methods.contains(method);
        let takes_writes = policy.methods.iter().any(takes);
        let params = route.matches.path.captures(path).filter(|_| takes_writes)?;
        Some((&**route, params))
    })
}

/// Whether the access list of the route would let a write of the caller's pass.
fn may_write(asked: &CallerRequest<'_>, route: &Route, path: &str) -> bool {
    let (Some(access), Some(idempotency)) = (&route.policy.access, &route.policy.idempotency) else { return true };
    let Some(ClientAddress(client)) = asked.parts.extensions.get() else { return false };
    let takes = |method: &&Method| route.matches.methods.is_empty() || route.matches.methods.contains(method);
    idempotency
        .methods
        .iter()
        .filter(takes)
        .any(|method| access.admits_caller((*client, asked.principal), method, path))
}
