//! What is told to those who watch what happens. Nothing of it is computed as long as nobody does.

use std::collections::HashMap;

use mainstay_policies::{
    circuit_breaker::{State as BreakerState, Transitions, Trip},
    operation::{
        Operation, Source, State,
        ledger::{Health, Ledger},
    },
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Runtime, snapshot::Snapshot};
use crate::telemetry::events::{Kind, time};

/// How things stood at the last look.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    breakers: HashMap<String, (BreakerState, Transitions)>,
    health: Option<&'static str>,
}

/// Which condition opened a breaker, and with what.
pub(crate) fn why(trip: Trip) -> Value {
    json!({ "condition": trip.condition, "value": trip.value, "threshold": trip.threshold, "requests": trip.requests })
}

/// Whether the ledger takes writes whose keys it has no record of.
pub(crate) fn takes_new_keys(ledger: &dyn Ledger) -> bool {
    ledger.health() == Health::Writable && ledger.quarantined_until().is_none()
}

/// The ledger's health in a word.
pub(crate) fn health(ledger: &dyn Ledger) -> &'static str {
    match ledger.health() {
        Health::Writable if !takes_new_keys(ledger) => "quarantined",
        Health::Writable => "writable",
        Health::Full => "full",
        Health::Failed => "failed",
        Health::Unreachable { .. } => "unreachable",
        Health::Lossy => "lossy",
    }
}

impl Runtime {
    /// An operation came to another state, or needs a person, or does no longer.
    pub(super) fn tell_operation(&self, before: &Operation, after: &Operation) {
        if !self.events.wants(Kind::Operation) {
            return;
        }
        let flag = |operation: &Operation| operation.attention.map(|flag| flag.reason.label());
        if before.state == after.state && flag(before) == flag(after) {
            return;
        }
        let now = self.resources.clock.now();
        let is_usual = before.state == State::Pending && after.state.is_terminal() && flag(after).is_none();
        let sample = if is_usual { &self.events.settled } else { &self.events.troubled };
        let Some(left_out) = sample.takes(now) else { return };
        let document = json!({
            "at": time(now),
            "operation": after.id.to_string(),
            "route": &*after.route,
            "upstream": &*after.upstream,
            "policy": &*after.provenance.policy,
            "before": before.state.label(),
            "state": after.state.label(),
            "reason": Some(&*after.reason).filter(|reason| !reason.is_empty()),
            "source": after.source.map(Source::label),
            "attention": flag(after),
            "trace_id": after.provenance.trace_id.map(|id| format!("{:032x}", u128::from_be_bytes(id))),
            "left_out": left_out,
        });
        self.events.tell(Kind::Operation, &document);
    }

    /// Looks how breakers and the ledger stand; to be called now and then, so that no request pays for it.
    pub(crate) fn look_for_changes(&self, snapshot: &Snapshot, now: Instant) {
        let known = &mut *self.standing.0.lock();
        let at = || time(self.resources.clock.now());
        let breakers = snapshot.breakers();
        known.breakers.retain(|name, _| breakers.iter().any(|named| named.name == *name));
        for named in &breakers {
            let seen = named.breaker.snapshot(now);
            let stands = (seen.state, seen.transitions);
            let before = known.breakers.insert(named.name.clone(), stands);
            if before.is_none_or(|before| before == stands) || !self.events.wants(Kind::Breaker) {
                continue;
            }
            let is_tripped = matches!(seen.state, BreakerState::Open | BreakerState::HalfOpen);
            let why = named.breaker.trip().filter(|_| is_tripped).map(why);
            let document = json!({ "at": at(), "breaker": named.name, "state": seen.state.label(), "why": why });
            self.events.tell(Kind::Breaker, &document);
        }
        let health = health(self.resources.ledger.as_ref());
        let before = known.health.replace(health);
        if before.is_some_and(|before| before != health) && self.events.wants(Kind::Ledger) {
            self.events.tell(Kind::Ledger, &json!({ "at": at(), "health": health }));
        }
    }
}
