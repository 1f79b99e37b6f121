//! Acts on many operations, which go on when whoever ordered them has left: `GET /jobs`, `GET /jobs/{id}`,
//! `POST /jobs/{id}:cancel`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use mainstay_policies::operation::{State, UnixMillis};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{act::Act, operators::OperatorRequest};
use crate::api::{Fault, document::time, reply::Reply};

/// Jobs that are remembered, and those that run at once.
const KEPT: usize = 32;
const RUNNING: usize = 4;
/// Results that are told apart.
const RESULTS: usize = 32;

/// The jobs of this process.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<Arc<Job>>>);

/// One order, and how far it has come.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) action: &'static str,
    pub(super) decided: Option<&'static str>,
    pub(super) actor: String,
    pub(super) reason: String,
    pub(super) matched: usize,
    pub(super) began_at: UnixMillis,
    pub(super) progress: Progress,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: AtomicUsize,
    succeeded: AtomicUsize,
    results: Mutex<BTreeMap<String, u64>>,
    /// What those have become that were not refused.
    states: Mutex<BTreeMap<&'static str, u64>>,
    is_cancelled: AtomicBool,
    ended_at: Mutex<Option<UnixMillis>>,
}

impl Job {
    /// One operation was dealt with; `after` is the state that it has since, unless the act was refused.
    pub(super) fn counts(&self, result: String, after: Option<State>) {
        let mut results = self.progress.results.lock();
        let result = if results.len() < RESULTS || results.contains_key(&result) { result } else { "other".into() };
        *results.entry(result).or_default() += 1;
        drop(results);
        self.progress.done.fetch_add(1, Relaxed);
        if let Some(state) = after {
            *self.progress.states.lock().entry(state.label()).or_default() += 1;
            self.progress.succeeded.fetch_add(1, Relaxed);
        }
    }

    /// Whether it is to go on.
    pub(super) fn is_wanted(&self) -> bool {
        !self.progress.is_cancelled.load(Relaxed)
    }

    pub(super) fn ends(&self, now: UnixMillis) {
        *self.progress.ended_at.lock() = Some(now);
    }

    fn runs(&self) -> bool {
        self.progress.ended_at.lock().is_none()
    }

    fn document(&self) -> Value {
        let Progress { done, succeeded, results, states, is_cancelled, ended_at } = &self.progress;
        let (done, succeeded, ended_at) = (done.load(Relaxed), succeeded.load(Relaxed), *ended_at.lock());
        let state = match (ended_at, is_cancelled.load(Relaxed)) {
            (None, _) => "running",
            (Some(_), true) if done < self.matched => "cancelled",
            (Some(_), _) => "done",
        };
        json!({
            "id": self.id,
            "action": self.action,
            "as": self.decided,
            "actor": self.actor,
            "reason": self.reason,
            "state": state,
            "matched": self.matched,
            "done": done,
            "succeeded": succeeded,
            "refused": done.saturating_sub(succeeded),
            "by_result": *results.lock(),
            "by_state": *states.lock(),
            "began_at": time(self.began_at),
            "ended_at": ended_at.map(time),
        })
    }
}

impl Jobs {
    /// Takes a job, if there is room: those that ended are forgotten, the oldest first.
    pub(super) fn add(&self, job: Arc<Job>) -> Result<(), Fault> {
        let mut jobs = self.0.lock();
        if jobs.iter().filter(|job| job.runs()).count() >= RUNNING {
            return Err(super::act::conflict("As many jobs run as may at once: see GET /jobs."));
        }
        while jobs.len() >= KEPT
            && let Some(at) = jobs.iter().position(|job| !job.runs())
        {
            jobs.remove(at);
        }
        jobs.push(job);
        Ok(())
    }

    fn of(&self, id: &str) -> Result<Arc<Job>, Fault> {
        let found = self.0.lock().iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| {
            Fault::absent("There is no such job: those of a process end with it, and few are remembered.")
        })
    }
}

/// `GET /jobs`
pub(super) fn list(asked: &OperatorRequest<'_>) -> Reply {
    let jobs: Vec<Value> = asked.cx.jobs.0.lock().iter().rev().map(|job| job.document()).collect();
    Reply::json(&json!({ "jobs": jobs })).no_store()
}

/// `GET /jobs/{id}`
pub(super) fn show(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    Ok(Reply::json(&asked.cx.jobs.of(id)?.document()).no_store())
}

/// `POST /jobs/{id}:cancel`: what is done stays done.
pub(super) async fn cancel(asked: &OperatorRequest<'_>, id: &str) -> Result<Reply, Fault> {
    let act = Act::read(asked, "cancel", &format!("job {id}"), &[])?;
    let job = match asked.cx.jobs.of(id) {
        Ok(job) => job,
        Err(fault) => return Err(act.refused(None, fault).await),
    };
    job.progress.is_cancelled.store(true, Relaxed);
    act.done(Some("running"), Some("cancelled")).await?;
    Ok(Reply::json(&job.document()).no_store())
}
