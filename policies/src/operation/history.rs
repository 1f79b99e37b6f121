//! What has happened to an operation, as it is told to whoever looks at it later: the last events, each in a few octets. That
//! it was begun is told by its record itself, so the first event is never forgotten.

use std::sync::Arc;

use http::StatusCode;

use super::{Event, Operation, Source, State, event::UNREADABLE, policy::StepPolicy};
use crate::{
    clock::UnixMillis,
    evidence::{Evidence, Verdict},
};

/// Events that are kept beside the first one: with it sixteen, which tell a write that was lost, asked about, settled and
/// contradicted twice over.
pub const HISTORY_KEPT: usize = 15;

/// The phrases that say why, by their numbers in records: at the end a new one may be added.
const CAUSES: [&str; 23] = [
    "attempt_timeout",
    "timeout",
    "reset",
    "refused",
    "connect_error",
    "tls_error",
    "malformed",
    "request_body",
    "drain",
    "restart",
    "abandoned",
    "overdue",
    "owner_lost",
    "http_5xx",
    "http_no_proof",
    "grpc_status",
    FENCED,
    SETTLE_AFTER,
    UNREADABLE,
    "circuit-open",
    "ledger_unavailable",
    "draining",
    TOO_EARLY,
];
/// That a service does not know a write was believed, because it bars what would come late.
pub const FENCED: &str = "fenced";
/// That a service does not know a write was believed, because it can no longer be on its way.
pub const SETTLE_AFTER: &str = "settle_after";
/// That a service does not know a write was not believed: it may still be on its way.
pub const TOO_EARLY: &str = "too_early";

/// The number of a phrase in records; `None` for one that is not kept.
pub fn cause_number(cause: &str) -> Option<u8> {
    let at = CAUSES.iter().position(|known| *known == cause)?;
    u8::try_from(at + 1).ok()
}

/// The phrase of that number.
pub fn cause_of(number: u8) -> Option<&'static str> {
    CAUSES.get(usize::from(number).checked_sub(1)?).copied()
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Its first request came.
    Begun,
    /// An attempt was sent.
    Dispatched,
    /// An attempt was answered.
    Answer,
    /// Nobody will hear of an attempt any more, or it came to nothing.
    Lost,
    /// Its service was asked.
    Asked,
    /// It was sent again without its caller.
    Redispatched,
    /// An attempt was answered after its caller had been.
    LateAnswer,
    /// It became terminal.
    Settled,
    /// Something was heard against a terminal state.
    Contradicted,
    /// A person was called, because nothing else could settle it.
    Flagged,
    /// A person said what became of it.
    Acted,
}

impl EventKind {
    /// All of them, in the order of their numbers in records.
    pub const ALL: [Self; 11] = [
        Self::Begun,
        Self::Dispatched,
        Self::Answer,
        Self::Lost,
        Self::Asked,
        Self::Redispatched,
        Self::LateAnswer,
        Self::Settled,
        Self::Contradicted,
        Self::Flagged,
        Self::Acted,
    ];

    /// The name used in documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Dispatched => "dispatched",
            Self::Answer => "answer",
            Self::Lost => "lost",
            Self::Asked => "asked",
            Self::Redispatched => "redispatched",
            Self::LateAnswer => "late_answer",
            Self::Settled => "settled",
            Self::Contradicted => "contradicted",
            Self::Flagged => "flagged",
            Self::Acted => "acted",
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub kind: EventKind,
    /// By which status, where there was one.
    pub http_status: Option<StatusCode>,
    /// What it proves, where it is evidence.
    pub evidence: Option<Evidence>,
    /// Who says so.
    pub by: Option<Source>,
    /// Why, in a fixed phrase.
    pub cause: Option<&'static str>,
}

impl Entry {
    /// That this happened, then; nothing else is known.
    pub const fn new(at: UnixMillis, kind: EventKind) -> Self {
        Self { at, kind, http_status: None, evidence: None, by: None, cause: None }
    }
}

/// The last events of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: Arc<[Entry]>,
    /// Earlier ones that are not kept.
    folded: u32,
    /// Dispatches that are among them. That an attempt is about to be sent is kept in memory only, so it is written with what
    /// comes next.
    dispatches: u32,
}

impl History {
    /// As it was written down. Of more than [`HISTORY_KEPT`] entries the last are kept.
    pub fn of(entries: &[Entry], folded: u32, dispatches: u32) -> Self {
        Self { entries: Arc::default(), folded, dispatches }.with(entries)
    }

    /// The events that are kept, the oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Events that are counted only.
    pub const fn folded(&self) -> u32 {
        self.folded
    }

    /// Attempts that are told of, here or among those that are counted.
    pub const fn dispatches(&self) -> u32 {
        self.dispatches
    }

    /// The same with what happened since. Where there is no room, of two questions in a row the earlier one goes first: the
    /// service's last word matters more than how often it said the same.
    #[must_use]
    pub fn with(&self, since: &[Entry]) -> Self {
        let mut entries: Vec<Entry> = self.entries.iter().chain(since).copied().collect();
        let mut folded = self.folded;
        while entries.len() > HISTORY_KEPT {
            let repeated = entries.windows(2).position(|two| two.iter().all(|entry| entry.kind == EventKind::Asked));
            entries.remove(repeated.unwrap_or(0));
            folded = folded.saturating_add(1);
        }
        Self { entries: entries.into(), folded, dispatches: self.dispatches }
    }
}

impl Operation {
    /// What has happened to it: the first event, those that are kept, and the attempt that is under way.
    pub fn events(&self) -> Vec<Entry> {
        let begun = Entry::new(self.created_at, EventKind::Begun);
        let kept = self.history.entries.iter().copied();
        std::iter::once(begun).chain(kept).chain(untold_dispatch(self)).collect()
    }

    /// When it had last been sent by then, as far as that is known still.
    pub fn sent_by(&self, then: UnixMillis) -> UnixMillis {
        let is_sent = |entry: &&Entry| matches!(entry.kind, EventKind::Dispatched | EventKind::Redispatched);
        let sent = self.history.entries.iter().filter(is_sent).map(|entry| entry.at).chain(self.dispatched_at);
        sent.filter(|sent| *sent <= then).max().unwrap_or(self.created_at)
    }
}

/// The last attempt, if it is not told of yet.
fn untold_dispatch(operation: &Operation) -> Option<Entry> {
    let at = operation.dispatched_at.filter(|_| operation.attempts > operation.history.dispatches)?;
    Some(Entry::new(at, EventKind::Dispatched))
}

/// Adds to `after` what `event`, which made it of `before` at `now`, is told as. Without a change there is nothing to tell.
pub(super) fn tell(before: &Operation, after: &mut Operation, event: &Event, policy: &StepPolicy, now: UnixMillis) {
    let is_told_later =
        matches!(event, Event::Dispatched | Event::PutOff { .. } | Event::DueBy { .. } | Event::ClockPutForward { .. });
    if is_told_later || after == before {
        return;
    }
    let is_redispatch = after.redispatches > before.redispatches;
    let mut since: Vec<Entry> = untold_dispatch(after).into_iter().filter(|_| !is_redispatch).collect();
    since.extend(what(before, after, event, policy, now));
    let by = after.source;
    if after.state.is_terminal() && !before.state.is_terminal() {
        since.push(Entry { evidence: after.last_evidence, by, ..Entry::new(now, EventKind::Settled) });
    }
    if before.attention.is_none()
        && let Some(flag) = after.attention
    {
        since.push(match flag.heard {
            Some(heard) => Entry {
                http_status: heard.status,
                evidence: Some(heard.evidence),
                by: Some(heard.source),
                ..Entry::new(now, EventKind::Contradicted)
            },
            None => Entry::new(now, EventKind::Flagged),
        });
    }
    if !since.is_empty() {
        after.history = History { dispatches: after.attempts, ..after.history.with(&since) };
    }
}

/// The event itself.
fn what(before: &Operation, after: &Operation, event: &Event, policy: &StepPolicy, now: UnixMillis) -> Option<Entry> {
    let is_lost = before.state == State::Pending && after.state == State::Unknown;
    let lost = |cause: &str| Entry { cause: phrase(cause), ..Entry::new(now, EventKind::Lost) };
    match event {
        Event::Redispatched if after.redispatches > before.redispatches => {
            Some(Entry::new(now, EventKind::Redispatched))
        }
        Event::Observed(seen) => {
            let kind = match (seen.status, seen.source) {
                (None, _) => EventKind::Lost,
                (Some(_), Source::LateResponse) => EventKind::LateAnswer,
                (Some(_), _) => EventKind::Answer,
            };
            Some(Entry {
                http_status: seen.status,
                evidence: Some(seen.evidence),
                by: Some(seen.source),
                cause: phrase(&seen.reason),
                ..Entry::new(now, kind)
            })
        }
        Event::Queried { verdict, too_early, http_status, .. } => {
            let was_open = !before.state.is_terminal();
            let is_believed = after.state == State::NotExecuted && was_open;
            let (evidence, cause) = match verdict {
                Some(Verdict::Evidence(evidence)) => (Some(*evidence), None),
                Some(Verdict::NotFound) if is_believed => {
                    let is_fenced = policy.asking.is_some_and(|asking| asking.fenced);
                    (Some(Evidence::NotExecuted), Some(if is_fenced { FENCED } else { SETTLE_AFTER }))
                }
                Some(Verdict::NotFound) => (None, was_open.then_some(TOO_EARLY)),
                None => (None, Some(TOO_EARLY).filter(|_| *too_early && was_open)),
            };
            let by = Some(Source::StatusQuery);
            Some(Entry { http_status: *http_status, evidence, by, cause, ..Entry::new(now, EventKind::Asked) })
        }
        Event::OwnerLost { reason } if is_lost => Some(lost(reason)),
        Event::Due if is_lost => Some(lost(&after.reason)),
        Event::Resolved { evidence, .. } => {
            Some(Entry { evidence: Some(*evidence), by: Some(Source::Operator), ..Entry::new(now, EventKind::Acted) })
        }
        _ => None,
    }
}

fn phrase(cause: &str) -> Option<&'static str> {
    cause_number(cause).and_then(cause_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_has_a_number_that_leads_back_to_it() {
        for cause in CAUSES {
            assert_eq!(cause_number(cause).and_then(cause_of), Some(cause));
        }
        assert_eq!((cause_number("what nobody says"), cause_of(0), cause_of(u8::MAX)), (None, None, None));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_repeated_questions_go_first() {
        let at = |at: u64, kind| Entry::new(at, kind);
        let mut history = History::default().with(&[at(1, EventKind::Dispatched), at(2, EventKind::Lost)]);
        for n in 0..100 {
            history = history.with(&[at(10 + n, EventKind::Asked)]);
        }
        let kinds = |history: &History| history.entries().iter().map(|entry| entry.kind).collect::<Vec<_>>();
        assert_eq!(history.entries().len(), HISTORY_KEPT);
        assert_eq!(
            kinds(&history)[..2],
            [EventKind::Dispatched, EventKind::Lost],
            "what began it outlives the questions"
        );
        assert_eq!(history.entries().last().map(|entry| entry.at), Some(109));
        assert_eq!(history.folded(), 102 - u32::try_from(HISTORY_KEPT).unwrap());
        for n in 0..100 {
            history = history.with(&[at(200 + n, EventKind::Redispatched), at(200 + n, EventKind::Answer)]);
        }
        assert!(history.entries().iter().all(|entry| entry.at >= 290), "without questions the oldest go");
        assert_eq!(history.folded(), 302 - u32::try_from(HISTORY_KEPT).unwrap());
    }
}
