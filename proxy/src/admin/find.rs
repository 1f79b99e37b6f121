//! `POST /operations:find`: from a customer's key to its writes. The key stands in the body, so that no log has it, and the audit
//! trail says that somebody looked and not for what.

use std::{collections::BTreeMap, time::Duration};

use mainstay_policies::{
    idempotency::{Key, principal_hash, query::target},
    operation::{
        Operation, OperationId, Question,
        ledger::{Filter, Order},
    },
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{act::Act, documents::of_operation, operators::OperatorRequest};
use crate::api::{Fault, reply::Reply};

/// How many records are looked at where no index leads to a key, and for how long.
const MAX_SCANNED: usize = 100_000;
const SCAN_TIME: Duration = Duration::from_secs(2);
const STRETCH: usize = 512;

/// What is looked for.
struct Wanted {
    text: String,
    keys: [Key; 2],
    /// Of the caller, where somebody knows it.
    principal: Option<String>,
    upstreams: Vec<std::sync::Arc<str>>,
}

/// `POST /operations:find`
pub(super) async fn find(asked: &OperatorRequest<'_>) -> Result<Reply, Fault> {
    let act = Act::optional(asked, "find", "operations", &["key"], &["principal", "upstream"])?;
    let text = act.member("key").to_owned();
    let no_key = |_| Fault::bad("`key` is no idempotency key: 1 to 255 printable characters, without its quotes.");
    let keys = [Key::from_text(text.clone()).map_err(no_key)?, Key::derived(text.clone()).map_err(no_key)?];
    let snapshot = asked.cx.runtime.snapshot.load_full();
    let upstream = act.member("upstream");
    let known = snapshot.config.upstreams.iter().map(|upstream| upstream.name.clone());
    let upstreams: Vec<_> = known.filter(|name| upstream.is_empty() || **name == *upstream).collect();
    if upstreams.is_empty() {
        return Err(Fault::bad("`upstream` names none of this configuration: see GET /upstreams."));
    }
    let principal = Some(act.member("principal")).filter(|text| !text.is_empty()).map(str::to_owned);
    let wanted = Wanted { text, keys, principal, upstreams };
    let mut found = wanted.under_keys(asked).await?;
    found.extend(wanted.under_questions(asked).await?);
    let mut is_complete = true;
    if found.is_empty() && wanted.principal.is_none() {
        is_complete = wanted.scan(asked, &mut found).await?;
    }
    act.looked(&format!("found {}", found.len())).await?;
    let operations: Vec<Value> = found.values().map(|operation| of_operation(asked.cx, operation)).collect();
    Ok(Reply::json(&json!({ "operations": operations, "next_cursor": null, "complete": is_complete })).no_store())
}

type Found = BTreeMap<OperationId, Operation>;

impl Wanted {
    /// The latest operation under the key, of the caller that is named; of nobody, if none is.
    async fn under_keys(&self, asked: &OperatorRequest<'_>) -> Result<Found, Fault> {
        let ledger = &asked.cx.runtime.resources.ledger;
        let mut found = Found::new();
        for upstream in &self.upstreams {
            for key in &self.keys {
                let hash = key.hash(self.principal.as_deref().map(str::as_bytes), upstream);
                let operation = ledger.find(hash).await.map_err(|_| Fault::ledger())?;
                found.extend(operation.map(|operation| (operation.id, operation)));
            }
        }
        Ok(found)
    }

    /// All about which the service is asked by this key: whoever wrote them, and those before the latest, too.
    async fn under_questions(&self, asked: &OperatorRequest<'_>) -> Result<Found, Fault> {
        let snapshot = asked.cx.runtime.snapshot.load_full();
        let mut found = Found::new();
        for route in snapshot.config.routes.iter().filter(|route| self.upstreams.contains(&route.upstream.name)) {
            let status = route.policy.idempotency.as_ref().and_then(|idempotency| idempotency.status.as_ref());
            let Some(target) = status
                .filter(|status| names_key(&status.path))
                .and_then(|status| target::target(&status.path, &self.text, &[]))
            else {
                continue;
            };
            let question = Question::new(&route.upstream.name, &target);
            let asked_by = asked.cx.runtime.resources.ledger.asked_by(question).await.map_err(|_| Fault::ledger())?;
            let whose = self.principal.as_deref().map(|principal| principal_hash(Some(principal.as_bytes())));
            let theirs = asked_by.into_iter().filter(|found| whose.is_none_or(|whose| whose == found.principal));
            found.extend(theirs.map(|operation| (operation.id, operation)));
        }
        Ok(found)
    }

    /// Looks at the latest operations one by one; whether none can have been missed.
    async fn scan(&self, asked: &OperatorRequest<'_>, found: &mut Found) -> Result<bool, Fault> {
        let until = Instant::now() + SCAN_TIME;
        let filter = Filter { order: Order::Newest, ..Filter::default() };
        let nobody = principal_hash(None);
        let (mut looked_at, mut after, mut is_complete) = (0, None, true);
        loop {
            let stretch = asked.cx.runtime.resources.ledger.list(filter.clone(), after, STRETCH).await;
            let stretch = stretch.map_err(|_| Fault::ledger())?;
            for operation in stretch.iter().filter(|operation| self.upstreams.contains(&operation.upstream)) {
                match operation.status_target.as_deref() {
                    Some(target) if self.is_in(target) => {
                        found.insert(operation.id, operation.clone());
                    }
                    Some(_) => {}
                    // Its key is known as a hash with a caller's name in it, which nobody has told.
                    None => is_complete &= operation.principal == nobody,
                }
            }
            looked_at += stretch.len();
            after = stretch.last().map(|last| last.id);
            if stretch.len() < STRETCH {
                return Ok(is_complete);
            }
            if looked_at >= MAX_SCANNED || Instant::now() >= until {
                return Ok(false);
            }
        }
    }

    /// Whether the key is a whole part of a path or query.
    fn is_in(&self, target: &str) -> bool {
        let parts = target.split(['/', '?', '&', '=']);
        parts.filter_map(|part| percent_decode_str(part).decode_utf8().ok()).any(|part| part == self.text)
    }
}

fn names_key(template: &str) -> bool {
    target::placeholders(template).any(|name| name == "key")
}
