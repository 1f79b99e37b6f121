//! Times on record follow a wall clock that jumps. The module above says why.

use std::time::Duration;

use futures_util::future::try_join_all;
use mainstay_policies::{
    idempotency::QueryGate,
    operation::{Event, Operation, OperationId, Recorder, StepPolicy, UnixMillis, ledger::LedgerError, step::after},
};

use super::open::{self, PAGE};
use crate::telemetry::metrics::ClockJump;

/// Both clocks are read a little apart; what was sent in between counts as sent before the jump, which waits longer.
const APART_MS: u64 = 500;

/// Makes all times on record agree with the wall clock, which reads `now`. `longest` is how long an operation waits at most.
/// Returns whether it had jumped.
pub(super) async fn follow(
    recorder: &Recorder,
    gate: &QueryGate,
    now: UnixMillis,
    longest: impl Fn(&Operation) -> Duration,
) -> Result<Option<ClockJump>, LedgerError> {
    let mut jump = None;
    if let Some(by) = gate.put_forward(now) {
        jump = Some(ClockJump::Forward);
        tracing::warn!(by_ms = by.as_millis() as u64, "the clock was put forward");
        gate.clock_jumped();
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let agreed_for = u64::try_from(gate.agreed_for().as_millis()).unwrap_or(u64::MAX);
        let jumped = Jump {
            by,
            now,
            before: now.saturating_sub(by_ms).saturating_add(APART_MS),
            earliest: now.saturating_sub(agreed_for).saturating_sub(APART_MS),
        };
        // The ledger writes what comes together in one go.
        for due in open::open(recorder.ledger().as_ref()).await?.chunks(PAGE) {
            try_join_all(due.iter().map(|due| put_forward(recorder, due.id, jumped, &longest))).await?;
        }
    } else if gate.was_put_back(now) {
        jump = Some(ClockJump::Back);
        tracing::warn!("the clock was put back");
        for due in open::open(recorder.ledger().as_ref()).await? {
            let Some(operation) = recorder.ledger().read(due.id).await? else { continue };
            let at = after(now, longest(&operation));
            recorder.apply(operation, &Event::DueBy { at }, &StepPolicy::NONE).await?;
        }
    }
    gate.clock_agrees(now);
    Ok(jump)
}

/// A clock that was put forward.
#[derive(Clone, Copy)]
struct Jump {
    by: Duration,
    /// What it reads now, and what it would read if it had not been.
    now: UnixMillis,
    before: UnixMillis,
    /// Nothing that was sent after the jump was sent earlier, by the new time.
    earliest: UnixMillis,
}

impl Jump {
    /// By how much the times of what was sent at `sent` are off.
    fn of(self, sent: UnixMillis) -> Option<Duration> {
        if sent <= self.before {
            return Some(self.by);
        }
        // The clock had been put back before: it was sent at a time that the old one had not reached again. How long ago that
        // was nobody can tell any more, so it counts from now.
        (sent < self.earliest).then(|| Duration::from_millis(self.now - sent))
    }
}

/// Puts an operation's times forward, if they are of before.
async fn put_forward(
    recorder: &Recorder,
    id: OperationId,
    jump: Jump,
    longest: &impl Fn(&Operation) -> Duration,
) -> Result<(), LedgerError> {
    let Some(operation) = recorder.ledger().read(id).await? else { return Ok(()) };
    let Some(by) = jump.of(operation.dispatched_at.unwrap_or(operation.created_at)) else { return Ok(()) };
    // Later than anything waits by the old time: a question after the jump has said so by the new one.
    let is_new = |due: &UnixMillis| *due > after(jump.before, longest(&operation));
    let due = operation.due_at().filter(is_new);
    let moved = recorder.apply(operation, &Event::ClockPutForward { by }, &StepPolicy::NONE).await?;
    if let Some(at) = due {
        recorder.apply(moved.operation, &Event::DueBy { at }, &StepPolicy::NONE).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use mainstay_policies::{
        clock::WallClock,
        operation::{
            FingerprintVersion, InstanceId, KeptRequest, KeyHash, Provenance, Retained, State,
            history::History,
            ledger::{Begun, Ledger as _, Settle},
        },
    };

    use super::*;
    use crate::ledger::{DiskLedger, Options};

    const NOW: UnixMillis = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    struct Home(PathBuf);

    impl Home {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("mainstay-clock-{}", uuid::Uuid::new_v4())))
        }

        fn open(&self, now: UnixMillis) -> Arc<DiskLedger> {
            let options = Options { max_open: 10, max_bytes: 1 << 20, settle: Settle::Durable, key_file: None };
            Arc::new(DiskLedger::open(&self.0, WallClock::manual(now), &options).expect("the ledger opens"))
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    /// An operation that was sent at `sent_at`, is unknown, and is looked at again an hour later.
    async fn unknown(ledger: &DiskLedger, key: u8, sent_at: UnixMillis) -> OperationId {
        let draft = Operation {
            id: OperationId { seq: 0, tag: u64::from(key) },
            key_hash: KeyHash([key; 32]),
            principal: [0; 32],
            fingerprint: [0; 32],
            fingerprint_version: FingerprintVersion::CURRENT,
            credentials: None,
            route: "r".into(),
            upstream: "app".into(),
            state: State::Pending,
            reason: "in_flight".into(),
            source: None,
            http_status: None,
            attempts: 1,
            created_at: sent_at,
            dispatched_at: Some(sent_at),
            settled_at: None,
            next_check_at: Some(sent_at + HOUR_MS),
            checks: 0,
            attention: None,
            last_evidence: None,
            retained: Retained::None,
            status_target: Some("/by-ref/k".into()),
            request: KeptRequest::None,
            redispatches: 0,
            origin: None,
            provenance: Provenance::default(),
            history: History::default(),
            retention_ms: HOUR_MS,
            tombstone_ms: HOUR_MS,
            window_ms: None,
            owner: InstanceId(0),
            epoch: 0,
            revision: 0,
        };
        let Ok(Begun::New(begun)) = ledger.begin(draft, sent_at).await else { panic!("it is new") };
        ledger.update(Operation { state: State::Unknown, ..begun }).await.expect("it is unknown").id
    }

    async fn sent_and_due(ledger: &DiskLedger, id: OperationId) -> (UnixMillis, UnixMillis) {
        let operation = ledger.read(id).await.expect("it reads").expect("it is there");
        (operation.dispatched_at.expect("it was sent"), operation.next_check_at.expect("it is due"))
    }

    fn two_hours(_: &Operation) -> Duration {
        Duration::from_hours(2)
    }

    /// Else a kill just after the jump would make the write look an hour older, and a `not_found` be believed too early.
    #[tokio::test]
    async fn a_clock_that_is_put_forward_makes_no_write_look_older_even_after_a_kill() {
        let home = Home::new();
        let ledger = home.open(NOW);
        let recorder = Recorder::new(ledger.clone(), WallClock::manual(NOW));
        let gate = QueryGate::default();
        gate.clock_starts(NOW);
        let id = unknown(&ledger, 1, NOW - 10_000).await;
        let later = NOW + HOUR_MS;
        let since = unknown(&ledger, 2, later - 1).await;
        assert_eq!(follow(&recorder, &gate, later, two_hours).await.expect("it follows"), Some(ClockJump::Forward));
        assert_eq!(gate.put_forward(later), None, "the times agree again");
        assert_eq!(follow(&recorder, &gate, later, two_hours).await.expect("it follows"), None);
        let jumped = |(sent, due): (u64, u64)| (sent.abs_diff(later - 10_000) < 2_000, due - sent);
        assert_eq!(jumped(sent_and_due(&ledger, id).await), (true, HOUR_MS));
        let (sent, _) = sent_and_due(&ledger, since).await;
        assert_eq!(sent, later - 1, "what was sent after the jump has the new time already");
        drop((recorder, ledger));
        let ledger = home.open(later);
        let (sent, _) = sent_and_due(&ledger, id).await;
        assert!(sent.abs_diff(later - 10_000) < 2_000, "it is on the disk");
    }

    /// Else what was sent just before the clock was put back would look older than it is when it is put forward again.
    #[tokio::test]
    async fn a_clock_that_was_put_back_and_is_put_forward_again_makes_no_write_look_older() {
        let home = Home::new();
        let ledger = home.open(NOW);
        let recorder = Recorder::new(ledger.clone(), WallClock::manual(NOW));
        let gate = QueryGate::default();
        gate.clock_starts(NOW);
        let id = unknown(&ledger, 1, NOW + HOUR_MS).await;
        let later = NOW + 3 * HOUR_MS;
        follow(&recorder, &gate, later, two_hours).await.expect("it follows");
        assert_eq!(sent_and_due(&ledger, id).await, (later, later + HOUR_MS), "it counts from now");
    }

    /// Somebody may ask after the jump and before it is followed: when it asks next is said by the new time already.
    #[tokio::test]
    async fn what_is_due_by_the_new_time_already_is_not_put_off() {
        let home = Home::new();
        let ledger = home.open(NOW);
        let recorder = Recorder::new(ledger.clone(), WallClock::manual(NOW));
        let gate = QueryGate::default();
        gate.clock_starts(NOW);
        let id = unknown(&ledger, 1, NOW - 10_000).await;
        let later = NOW + 6 * HOUR_MS;
        let asked = ledger.read(id).await.expect("it reads").expect("it is there");
        ledger.update(Operation { next_check_at: Some(later + 200), ..asked }).await.expect("it is taken");
        follow(&recorder, &gate, later, two_hours).await.expect("it follows");
        let (sent, due) = sent_and_due(&ledger, id).await;
        assert!(sent.abs_diff(later - 10_000) < 2_000 && due == later + 200, "{sent} {due}");
    }

    #[tokio::test]
    async fn a_clock_that_is_put_back_makes_no_wait_longer_than_the_longest() {
        let home = Home::new();
        let ledger = home.open(NOW);
        let recorder = Recorder::new(ledger.clone(), WallClock::manual(NOW));
        let gate = QueryGate::default();
        gate.clock_starts(NOW);
        let id = unknown(&ledger, 1, NOW).await;
        let earlier = NOW - 24 * HOUR_MS;
        assert_eq!(follow(&recorder, &gate, earlier, two_hours).await.expect("it follows"), Some(ClockJump::Back));
        let (sent, due) = sent_and_due(&ledger, id).await;
        assert_eq!((sent, due), (NOW, earlier + 2 * HOUR_MS), "how old it is stays on the safe side");
        assert!(!gate.was_put_back(earlier));
    }
}
