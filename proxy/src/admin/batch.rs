//! `POST /operations:batch`: one order about many operations. First it is asked how many there are (`dry_run`); the order itself
//! names that number, so that nobody acts on more than they have seen.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use http::StatusCode;
use mainstay_policies::{
    evidence::Evidence,
    operation::{Operation, OperationId, State},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{
    act::Act,
    ask, filters,
    filters::FILTERS,
    jobs::{Job, Progress},
    operations::matching,
    operators::{OperatorRequest, Operators},
    resolve,
};
use crate::api::{Fault, query::Params, reply::Reply};

/// Operations of one order.
const MAX_MATCHED: usize = 10_000;
/// Ids that are shown of those that match.
const SAMPLE: usize = 5;
/// How long one question waits for its turn: a hundred thousand may wait before it.
const TURN_WITHIN: Duration = Duration::from_mins(10);

/// What is to be done with each.
#[derive(Clone, Copy, Debug)]
enum What {
    Query,
    Redispatch,
    Resolve(State, Evidence),
}

/// `POST /operations:batch`
pub(super) async fn batch(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let may = ["as", "filter", "ids", "dry_run", "expect"];
    let is_dry = serde_json::from_slice::<Value>(&asked.body).is_ok_and(|body| body["dry_run"] == true);
    let act = if is_dry {
        Act::optional(asked, "batch", "operations", &["action"], &may)?
    } else {
        Act::with(asked, "batch", "operations", &["action"], &may)?
    };
    let what = what(&act)?;
    let found = match (act.value("filter"), act.value("ids")) {
        (Value::Object(filter), Value::Null) => by_filter(asked, filter).await?,
        (filter, Value::Array(ids)) if !ids.is_empty() && is_nothing(filter) => by_ids(asked, ids).await?,
        _ => {
            return Err(Fault::bad(
                "Say which: `filter`, an object of the parameters of GET /operations, or `ids`, a list.",
            ));
        }
    };
    if is_dry {
        return Ok(Reply::json(&preview(&found)).no_store());
    }
    if act.value("expect").as_u64() != Some(found.len() as u64) {
        let detail = format!("{} match now: look with `dry_run`, and say that number as `expect`.", found.len());
        let fault = Fault::bad(detail).with(StatusCode::PRECONDITION_FAILED, "Other operations match than were seen");
        return Err(act.refused(None, fault).await);
    }
    if matches!(what, What::Resolve(State::NotExecuted, _)) && !asked.cx.settings().bulk_not_executed {
        let detail = "Each key that is freed lets a repeat execute: say `not_executed` of one write at a time, or allow it by \
                      `admin.bulk_not_executed: true`.";
        return Err(act.refused(None, super::act::conflict(detail)).await);
    }
    begin(asked, &act, what, found).await
}

fn is_nothing(filter: &Value) -> bool {
    filter.is_null() || filter.as_object().is_some_and(Map::is_empty)
}

fn what(act: &Act<'_>) -> Result<What, Fault> {
    let decided = act.value("as").as_str();
    match (act.member("action"), decided) {
        ("query", None) => Ok(What::Query),
        ("redispatch", None) => Ok(What::Redispatch),
        ("resolve", Some(label)) => {
            let (state, evidence) =
                resolve::decided(label).ok_or_else(|| Fault::bad("`as` is one of succeeded, failed, not_executed."))?;
            Ok(What::Resolve(state, evidence))
        }
        ("resolve", None) => Err(Fault::bad("`as` says what became of them: succeeded, failed, not_executed.")),
        ("query" | "redispatch", Some(_)) => Err(Fault::bad("`as` belongs to resolve.")),
        _ => Err(Fault::bad("`action` is one of query, resolve, redispatch.")),
    }
}

/// By the parameters of a listing, which stand in an object here.
async fn by_filter(asked: &OperatorRequest<'_>, filter: &Map<String, Value>) -> Result<Vec<Operation>, Fault> {
    if filter.is_empty() {
        return Err(Fault::bad("`filter` is empty: say which operations."));
    }
    let mut query = String::new();
    for (name, value) in filter {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC).to_string().replace("%5F", "_");
        // Writing to a String does not fail.
        let _ = write!(query, "{name}={}&", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    }
    let resources = &asked.cx.runtime.resources;
    let params = Params::read(Some(&query), &FILTERS)?;
    let (filter, prefix) = filters::read(&params, resources.clock.now())?;
    let found = matching(resources.ledger.as_ref(), &filter, prefix.as_ref(), None, MAX_MATCHED + 1).await;
    let found = found.map_err(|_| Fault::ledger())?;
    if found.len() > MAX_MATCHED {
        return Err(Fault::bad(format!("More than {MAX_MATCHED} match: narrow it down.")));
    }
    Ok(found)
}

async fn by_ids(asked: &OperatorRequest<'_>, ids: &[Value]) -> Result<Vec<Operation>, Fault> {
    if ids.len() > MAX_MATCHED {
        return Err(Fault::bad(format!("At most {MAX_MATCHED} ids.")));
    }
    let mut found = BTreeMap::new();
    for id in ids {
        let id: OperationId = id
            .as_str()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Fault::bad("Each of `ids` is an id: 32 hex digits."))?;
        let operation = asked.cx.runtime.resources.ledger.read(id).await.map_err(|_| Fault::ledger())?;
        found.extend(operation.map(|operation| (id, operation)));
    }
    Ok(found.into_values().collect())
}

fn preview(found: &[Operation]) -> Value {
    let mut by_state: BTreeMap<&str, u64> = BTreeMap::new();
    for operation in found {
        *by_state.entry(operation.state.label()).or_default() += 1;
    }
    let sample: Vec<String> = found.iter().take(SAMPLE).map(|operation| operation.id.to_string()).collect();
    json!({ "matched": found.len(), "by_state": by_state, "sample": sample })
}

async fn begin(asked: &OperatorRequest<'_>, act: &Act<'_>, what: What, found: Vec<Operation>) -> Result<Reply, Fault> {
    let (action, decided) = match what {
        What::Query => ("query", None),
        What::Redispatch => ("redispatch", None),
        What::Resolve(state, _) => ("resolve", Some(state.label())),
    };
    let job = Arc::new(Job {
        id: uuid::Uuid::new_v4().simple().to_string(),
        action,
        decided,
        actor: act.actor().to_owned(),
        reason: act.reason().to_owned(),
        matched: found.len(),
        began_at: asked.cx.runtime.resources.clock.now(),
        progress: Progress::default(),
    });
    if let Err(fault) = asked.cx.jobs.add(Arc::clone(&job)) {
        return Err(act.refused(None, fault).await);
    }
    act.came_to(None, None, &format!("{action} of {} begun as job {}", found.len(), job.id)).await?;
    let ids = found.into_iter().map(|operation| operation.id).collect();
    // Ends with its list, when it is cancelled, or with the process.
    tokio::spawn(run(Arc::clone(asked.cx), Arc::clone(&job), what, ids));
    Ok(Reply::accepted(&json!({ "job": job.id, "matched": job.matched }), format!("/jobs/{}", job.id)).no_store())
}

async fn run(cx: Arc<Operators>, job: Arc<Job>, what: What, ids: Vec<OperationId>) {
    for id in ids {
        if !job.is_wanted() {
            break;
        }
        match one(&cx, &job, what, id).await {
            Ok((after, result)) => job.counts(result, Some(after)),
            Err(fault) => job.counts(format!("refused: {}", fault.detail), None),
        }
    }
    job.ends(cx.runtime.resources.clock.now());
}

/// The same as for one operation that is named, but that it is taken as it stands: what it is since, and what came of the act.
async fn one(cx: &Arc<Operators>, job: &Job, what: What, id: OperationId) -> Result<(State, String), Fault> {
    let act = Act::of_job(cx, job, id);
    let operation = cx.runtime.resources.ledger.read(id).await.map_err(|_| Fault::ledger())?;
    let Some(operation) = operation else {
        return Err(act.refused(None, Fault::absent(crate::api::listing::NO_OPERATION)).await);
    };
    let (after, heard) = match what {
        What::Query => {
            let (after, heard) = ask::query_as(cx, &act, &operation, TURN_WITHIN).await?;
            (after, Some(heard))
        }
        What::Redispatch => (ask::redispatch_as(cx, &act, &operation).await?.0, None),
        What::Resolve(state, evidence) => (resolve::settle_as(cx, &act, operation, state, evidence).await?, None),
    };
    Ok((after.state, heard.unwrap_or_else(|| after.state.label().into())))
}
