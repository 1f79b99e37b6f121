use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use super::*;
use crate::{
    evidence::Evidence,
    operation::{
        AttentionReason, FingerprintVersion, InstanceId, KeptRequest, KeyHash, Observation, OperationId, Provenance,
        Question, Redispatch, Retained, Source, State, StoredRequest, UnixMillis,
        audit::Audited,
        history::History,
        ledger::{Begun, Due, Filter, LedgerFuture},
        memory::MemoryLedger,
    },
};

const NOW: UnixMillis = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_mins(1);
const POLICY: StepPolicy =
    StepPolicy { patience: PATIENCE, late_response: Duration::from_secs(30), asking: None, redispatch: None };

/// A memory ledger that remembers how it was written to, and can be told to fail or to show an older view.
struct Spied {
    inner: MemoryLedger,
    writes: Mutex<Vec<&'static str>>,
    failing: Mutex<Option<&'static str>>,
    published: Mutex<Option<Operation>>,
    /// It is out of reach: durable changes wait until it is back.
    away: watch::Sender<bool>,
}

impl Spied {
    fn wrote(&self, how: &'static str) -> Result<(), LedgerError> {
        if self.failing.lock().is_some_and(|failing| failing == "all" || failing == how) {
            return Err(LedgerError::Unavailable("no room".into()));
        }
        self.writes.lock().push(how);
        Ok(())
    }
}

impl Spied {
    async fn is_back(&self) {
        let _ = self.away.subscribe().wait_for(|away| !away).await;
    }
}

impl Ledger for Spied {
    fn begin(&self, draft: Operation, now: UnixMillis) -> LedgerFuture<'_, Begun> {
        self.inner.begin(draft, now)
    }

    fn update(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            self.wrote("durable")?;
            self.is_back().await;
            self.inner.update(next).await
        })
    }

    fn patience(&self) -> Option<Duration> {
        self.away.borrow().then_some(Duration::from_secs(2))
    }

    fn update_with(&self, next: Operation, entry: AuditEntry) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            self.wrote("with entry")?;
            self.is_back().await;
            self.inner.update_with(next, entry).await
        })
    }

    fn append(&self, entry: AuditEntry) -> LedgerFuture<'_, u64> {
        self.inner.append(entry)
    }

    fn audit(&self, of: Option<OperationId>, before: Option<u64>, limit: usize) -> LedgerFuture<'_, Vec<Audited>> {
        self.inner.audit(of, before, limit)
    }

    fn sent(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.wrote("remembered")?;
        self.inner.sent(next)
    }

    fn defer(&self, next: Operation) -> LedgerFuture<'_, Operation> {
        Box::pin(async move {
            self.wrote("deferred")?;
            self.inner.defer(next).await
        })
    }

    fn release(&self, next: Operation) -> Result<Operation, LedgerError> {
        self.wrote("released")?;
        self.inner.release(next)
    }

    fn read(&self, id: OperationId) -> LedgerFuture<'_, Option<Operation>> {
        Box::pin(async move {
            let published = self.published.lock().clone();
            if published.is_some() { Ok(published) } else { self.inner.read(id).await }
        })
    }

    fn find(&self, key: KeyHash) -> LedgerFuture<'_, Option<Operation>> {
        self.inner.find(key)
    }

    fn is_anothers(&self, question: Question, principal: [u8; 32]) -> LedgerFuture<'_, bool> {
        self.inner.is_anothers(question, principal)
    }

    fn asked_by(&self, question: Question) -> LedgerFuture<'_, Vec<Operation>> {
        self.inner.asked_by(question)
    }

    fn list(&self, filter: Filter, after: Option<OperationId>, limit: usize) -> LedgerFuture<'_, Vec<Operation>> {
        self.inner.list(filter, after, limit)
    }

    fn due(&self, now: UnixMillis, after: Option<(UnixMillis, u64)>, limit: usize) -> LedgerFuture<'_, Vec<Due>> {
        self.inner.due(now, after, limit)
    }

    fn next_due(&self) -> Option<UnixMillis> {
        self.inner.next_due()
    }

    fn request(&self, id: OperationId) -> LedgerFuture<'_, Option<Arc<StoredRequest>>> {
        self.inner.request(id)
    }

    fn changed(&self, id: OperationId, seen: u64) -> LedgerFuture<'_, Operation> {
        self.inner.changed(id, seen)
    }

    fn expire(&self, now: UnixMillis, limit: usize) -> LedgerFuture<'_, usize> {
        self.inner.expire(now, limit)
    }

    fn reserve(&self, from: UnixMillis, span: u64) -> LedgerFuture<'_, UnixMillis> {
        self.inner.reserve(from, span)
    }

    fn note(&self, name: &'static str) -> LedgerFuture<'_, Option<Vec<u8>>> {
        self.inner.note(name)
    }

    fn keep_note(&self, name: &'static str, seen: Option<Vec<u8>>, value: Vec<u8>) -> LedgerFuture<'_, bool> {
        self.inner.keep_note(name, seen, value)
    }

    fn owned(&self) -> [u64; 2] {
        self.inner.owned()
    }

    fn flagged(&self) -> LedgerFuture<'_, [u64; 2]> {
        self.inner.flagged()
    }

    fn instance(&self) -> InstanceId {
        self.inner.instance()
    }

    fn clock(&self) -> &WallClock {
        self.inner.clock()
    }

    fn fingerprint_secret(&self) -> Option<&[u8; 32]> {
        self.inner.fingerprint_secret()
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Notebook(Mutex<Vec<(Operation, Operation, Vec<Action>)>>);

impl Notebook {
    /// The states before and after each change.
    fn states(&self) -> Vec<(State, State)> {
        self.0.lock().iter().map(|(before, after, _)| (before.state, after.state)).collect()
    }
}

impl Witness for Notebook {
    fn changed(&self, before: &Operation, after: &Operation, actions: &[Action]) {
        self.0.lock().push((before.clone(), after.clone(), actions.to_vec()));
    }
}

struct Kit {
    ledger: Arc<Spied>,
    clock: WallClock,
    recorder: Recorder,
    told: Arc<Notebook>,
}

impl Kit {
    fn new() -> Self {
        let clock = WallClock::manual(NOW);
        let ledger = Arc::new(Spied {
            inner: MemoryLedger::new(clock.clone(), 100, 1 << 20),
            writes: Mutex::default(),
            failing: Mutex::default(),
            published: Mutex::default(),
            away: watch::Sender::new(false),
        });
        let recorder = Recorder::new(Arc::clone(&ledger) as _, clock.clone());
        let told = Arc::new(Notebook::default());
        recorder.tell(Arc::downgrade(&told) as _);
        Self { ledger, clock, recorder, told }
    }

    async fn pending(&self) -> Operation {
        match self.ledger.begin(draft(), NOW).await.unwrap() {
            Begun::New(operation) => operation,
            Begun::Known(operation) => panic!("it is new: {operation:?}"),
        }
    }

    async fn unknown(&self) -> Operation {
        let pending = self.pending().await;
        let unknown = self.recorder.apply(pending, &ended(Evidence::Ambiguous), &POLICY).await.unwrap().operation;
        self.told.0.lock().clear();
        self.ledger.writes.lock().clear();
        unknown
    }
}

fn draft() -> Operation {
    Operation {
        id: OperationId { seq: 0, tag: 1 },
        key_hash: KeyHash([0; 32]),
        principal: [0; 32],
        fingerprint: [0; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "r".into(),
        upstream: "u".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: NOW,
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(NOW + 60_000),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: None,
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: 1_000_000,
        tombstone_ms: 1_000_000,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

fn ended(evidence: Evidence) -> Event {
    Event::Observed(Observation {
        evidence,
        source: Source::Response,
        reason: "said".into(),
        status: None,
        retained: Retained::None,
    })
}

fn entry(after: &Operation) -> AuditEntry {
    AuditEntry {
        at: NOW,
        actor: "ann".into(),
        action: "resolve".into(),
        target: after.id.to_string(),
        operation: Some(after.id),
        reason: "looked".into(),
        before: None,
        after: Some(after.state.label().into()),
        result: "done".into(),
    }
}

fn resolved() -> Event {
    Event::Resolved { evidence: Evidence::Succeeded, reason: "operator".into() }
}

#[tokio::test]
async fn each_change_is_told_once_as_it_is_recorded() {
    let kit = Kit::new();
    let pending = kit.pending().await;
    let sent = kit.recorder.apply(pending.clone(), &Event::Dispatched, &POLICY).await.unwrap();
    let settled = kit.recorder.apply(sent.operation.clone(), &ended(Evidence::Succeeded), &POLICY).await.unwrap();
    let told = kit.told.0.lock().clone();
    let expected = [(pending, sent.operation.clone()), (sent.operation, settled.operation.clone())];
    assert_eq!(told, expected.map(|(before, after)| (before, after, vec![Action::Record])));
    assert_eq!(kit.ledger.read(settled.operation.id).await.unwrap(), Some(settled.operation));
}

#[tokio::test]
async fn a_call_for_a_person_is_told_with_the_change_that_raises_it() {
    let kit = Kit::new();
    let unknown = kit.unknown().await;
    kit.clock.advance(Duration::from_mins(5));
    let applied = kit.recorder.apply(unknown, &Event::Due, &POLICY).await.unwrap();
    let alert = Action::Alert(AttentionReason::ResolveExhausted);
    assert!(applied.asks_for(alert));
    assert_eq!(kit.told.0.lock()[0].2, [Action::Record, alert]);
}

#[tokio::test]
async fn a_lost_race_is_told_with_what_was_really_before() {
    let kit = Kit::new();
    let seen = kit.pending().await;
    let meanwhile = kit.recorder.apply(seen.clone(), &ended(Evidence::Ambiguous), &POLICY).await.unwrap().operation;
    let settled = kit.recorder.apply(seen, &ended(Evidence::Succeeded), &POLICY).await.unwrap().operation;
    assert_eq!(kit.told.states(), [(State::Pending, State::Unknown), (State::Unknown, State::Succeeded)]);
    let last = kit.told.0.lock()[1].clone();
    assert_eq!((last.0, last.1), (meanwhile, settled));
}

#[tokio::test]
async fn what_changes_nothing_is_not_told_also_after_a_lost_race() {
    let kit = Kit::new();
    let seen = kit.pending().await;
    kit.recorder.apply(seen.clone(), &Event::Due, &POLICY).await.unwrap();
    assert!(kit.told.states().is_empty(), "it is not due");
    kit.recorder.apply(seen.clone(), &ended(Evidence::Succeeded), &POLICY).await.unwrap();
    kit.recorder.apply(seen.clone(), &Event::OwnerLost { reason: "abandoned" }, &POLICY).await.unwrap();
    kit.recorder.abandon(seen, &POLICY).unwrap();
    assert_eq!(kit.told.states(), [(State::Pending, State::Succeeded)]);
}

#[tokio::test]
async fn a_ledger_that_takes_nothing_lets_nothing_be_told() {
    let kit = Kit::new();
    let unknown = kit.unknown().await;
    *kit.ledger.failing.lock() = Some("all");
    for event in [Event::Dispatched, ended(Evidence::Succeeded), Event::ClockPutForward { by: PATIENCE }] {
        kit.recorder.apply(unknown.clone(), &event, &POLICY).await.unwrap_err();
    }
    kit.recorder.apply_as(unknown, &resolved(), &StepPolicy::NONE, entry).await.unwrap_err();
    kit.recorder.abandon(Operation { id: OperationId { seq: 7, tag: 7 }, ..draft() }, &POLICY).unwrap_err();
    assert!(kit.told.states().is_empty());
}

#[tokio::test]
async fn an_owner_that_leaves_is_told_of_without_a_wait() {
    let kit = Kit::new();
    let pending = kit.pending().await;
    let abandoned = kit.recorder.abandon(pending, &POLICY).unwrap().operation;
    assert_eq!((abandoned.state, &*abandoned.reason), (State::Unknown, "abandoned"));
    assert_eq!(kit.told.states(), [(State::Pending, State::Unknown)]);
    assert_eq!(*kit.ledger.writes.lock(), ["released"]);
}

#[tokio::test]
async fn a_persons_word_comes_with_its_entry_or_not_at_all() {
    let kit = Kit::new();
    let seen = kit.unknown().await;
    let before = kit.recorder.apply(seen.clone(), &Event::PutOff { until: NOW + 9 }, &POLICY).await.unwrap().operation;
    kit.told.0.lock().clear();
    let late = kit.recorder.apply_as(seen, &resolved(), &StepPolicy::NONE, entry).await;
    assert!(matches!(late, Err(LedgerError::Stale(current)) if *current == before));
    assert!(kit.told.states().is_empty());
    assert_eq!(kit.ledger.audit(None, None, 9).await.unwrap(), []);
    let after = kit.recorder.apply_as(before, &resolved(), &StepPolicy::NONE, entry).await.unwrap().operation;
    assert_eq!(kit.told.states(), [(State::Unknown, State::Succeeded)]);
    let trail = kit.ledger.audit(Some(after.id), None, 9).await.unwrap();
    assert_eq!(trail.iter().map(|audited| audited.entry.after.as_deref()).collect::<Vec<_>>(), [Some("succeeded")]);
}

#[tokio::test]
async fn what_a_restart_assumes_anyway_is_noted_and_the_rest_is_durable() {
    let redispatch = Some(Redispatch { attempts: 2, ..Redispatch::default() });
    let policy = StepPolicy { redispatch, ..POLICY };
    let (later, overdue) = (NOW + 90_000, Duration::from_mins(5));
    for (event, wait, written) in [
        (Event::Dispatched, Duration::ZERO, "remembered"),
        (Event::PutOff { until: later }, Duration::ZERO, "deferred"),
        (Event::DueBy { at: NOW }, Duration::ZERO, "deferred"),
        (
            Event::Queried {
                verdict: None,
                too_early: false,
                http_status: None,
                asked_at: NOW,
                retry_after: None,
                answer: None,
            },
            Duration::ZERO,
            "deferred",
        ),
        (Event::ClockPutForward { by: PATIENCE }, Duration::ZERO, "durable"),
        (Event::Redispatched, Duration::ZERO, "durable"),
        (ended(Evidence::Ongoing), Duration::ZERO, "durable"),
        (ended(Evidence::Succeeded), Duration::ZERO, "durable"),
        (Event::Due, overdue, "durable"),
        (resolved(), Duration::ZERO, "durable"),
    ] {
        let kit = Kit::new();
        let unknown = kit.unknown().await;
        kit.clock.advance(wait);
        kit.recorder.apply(unknown, &event, &policy).await.unwrap();
        assert_eq!(*kit.ledger.writes.lock(), [written], "{event:?}");
    }
}

#[tokio::test]
async fn where_the_disk_has_no_room_a_jump_of_the_clock_is_at_least_noted() {
    let kit = Kit::new();
    let unknown = kit.unknown().await;
    *kit.ledger.failing.lock() = Some("durable");
    kit.recorder.apply(unknown.clone(), &Event::ClockPutForward { by: PATIENCE }, &POLICY).await.unwrap();
    assert_eq!(*kit.ledger.writes.lock(), ["deferred"]);
    assert_eq!(kit.told.states().len(), 1);
    kit.recorder.apply(unknown, &ended(Evidence::Succeeded), &POLICY).await.unwrap_err();
}

#[tokio::test]
async fn others_changes_are_given_back_as_they_can_be_read_but_to_who_executes_as_they_are() {
    let kit = Kit::new();
    let seen = kit.pending().await;
    let settled = kit.recorder.apply(seen.clone(), &ended(Evidence::Succeeded), &POLICY).await.unwrap().operation;
    *kit.ledger.published.lock() = Some(seen.clone());
    let read = kit.recorder.apply(seen.clone(), &Event::Dispatched, &POLICY).await.unwrap().operation;
    assert_eq!(read, seen, "what was settled is not durable yet");
    let latest = kit.recorder.apply_to_latest(seen, &Event::Dispatched, &POLICY).await.unwrap().operation;
    assert_eq!(latest, settled);
}

#[tokio::test]
async fn the_first_witness_stays_as_long_as_it_is_there() {
    let kit = Kit::new();
    let other = Arc::new(Notebook::default());
    kit.recorder.tell(Arc::downgrade(&other) as _);
    let unknown = kit.unknown().await;
    assert!(other.states().is_empty());
    let Kit { recorder, told, .. } = kit;
    drop(told);
    recorder.apply(unknown, &ended(Evidence::Succeeded), &POLICY).await.unwrap();
}

/// Whoever waits is told that nobody knows, and what was heard is recorded and told all the same: once, over what others wrote
/// meanwhile.
#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_waits_for_any_more_is_written_and_told_once() {
    for has_left in [false, true] {
        let kit = Kit::new();
        let pending = kit.pending().await;
        kit.ledger.away.send_replace(true);
        let event = ended(Evidence::Succeeded);
        let change = kit.recorder.apply(pending.clone(), &event, &POLICY);
        if has_left {
            timeout(Duration::from_millis(10), change).await.expect_err("it is not taken");
        } else {
            let told = change.await;
            assert!(matches!(told, Err(LedgerError::Delayed)), "{told:?}");
        }
        assert_eq!((kit.recorder.unrecorded(), kit.told.states()), (1, vec![]));
        // Another process has taken it over meanwhile.
        let taken = kit.ledger.inner.update(Operation { state: State::Unknown, ..pending.clone() }).await.unwrap();
        kit.ledger.away.send_replace(false);
        let settled = kit.ledger.inner.changed(pending.id, taken.revision).await.unwrap();
        assert_eq!(settled.state, State::Succeeded);
        while kit.recorder.unrecorded() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(kit.told.states(), [(State::Unknown, State::Succeeded)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_persons_word_that_the_ledger_takes_late_is_told_once() {
    let kit = Kit::new();
    let unknown = kit.unknown().await;
    kit.ledger.away.send_replace(true);
    kit.recorder.apply_as(unknown.clone(), &resolved(), &StepPolicy::NONE, entry).await.unwrap_err();
    kit.ledger.away.send_replace(false);
    kit.ledger.inner.changed(unknown.id, unknown.revision).await.unwrap();
    while kit.recorder.unrecorded() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kit.told.states().len(), 1);
}

/// What is on its way already is not left in doubt on top of it.
#[tokio::test(start_paused = true)]
async fn what_is_left_while_the_ledger_is_away_is_told_when_it_is_on_record() {
    let kit = Kit::new();
    let pending = kit.pending().await;
    kit.ledger.away.send_replace(true);
    kit.recorder.apply(pending.clone(), &ended(Evidence::Succeeded), &POLICY).await.unwrap_err();
    kit.recorder.abandon(pending.clone(), &POLICY).unwrap();
    assert_eq!(kit.told.states(), []);
    kit.ledger.away.send_replace(false);
    while kit.recorder.unrecorded() > 0 {
        tokio::task::yield_now().await;
    }
    let settled = kit.ledger.inner.read(pending.id).await.unwrap().unwrap();
    assert_eq!(settled.state, State::Succeeded);
    assert!(kit.told.states().last().is_some_and(|(_, after)| *after == State::Succeeded));
}
