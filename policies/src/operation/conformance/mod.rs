//! What every ledger must pass.
//!
//! ```
//! # use std::sync::Arc;
//! # use mainstay_policies::operation::{conformance, memory::MemoryLedger};
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! conformance::run(|clock| async move { Arc::new(MemoryLedger::new(clock, 1_000, 1 << 20)) as _ }).await;
//! # });
//! ```

mod keys;
mod reading;
mod shared;

pub use shared::run_shared;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::task::JoinSet;

use super::{
    Attention, AttentionReason, FingerprintVersion, KeptRequest, KeyHash, Operation, OperationId, Provenance, Retained,
    Source, State, StoredRequest, StoredResponse, TraceOrigin, UnixMillis,
    audit::AuditEntry,
    history::{Entry, EventKind, FENCED, HISTORY_KEPT, History},
    ledger::{Begun, Ledger, LedgerError},
};
use crate::{clock::WallClock, evidence::Evidence};

const START: UnixMillis = 1_700_000_000_000;
const RETENTION_MS: u64 = 24 * 3_600 * 1_000;
/// How long a draft may be pending.
const PATIENCE_MS: u64 = 60_000;
const TOMBSTONE_MS: u64 = 30 * RETENTION_MS;

/// Runs every check, each on a ledger of its own that `make` makes on the given clock, with room for 1 000 open operations.
///
/// # Panics
/// When the ledger breaks its contract.
pub async fn run<F, Made>(make: F)
where
    F: Fn(WallClock) -> Made,
    Made: Future<Output = Arc<dyn Ledger>>,
{
    let fresh = async || {
        let clock = WallClock::manual(START);
        Checks { ledger: make(clock.clone()).await, clock }
    };
    all(fresh).await;
}

async fn all(fresh: impl AsyncFn() -> Checks) {
    fresh().await.a_new_key_is_recorded_and_a_known_one_is_found().await;
    fresh().await.ids_are_in_arrival_order().await;
    fresh().await.one_of_many_concurrent_begins_is_new().await;
    fresh().await.one_of_many_concurrent_updates_wins().await;
    fresh().await.a_stale_update_changes_nothing().await;
    fresh().await.an_unknown_id_is_absent().await;
    fresh().await.not_executed_frees_the_key_and_keeps_the_record().await;
    fresh().await.a_contradicted_not_executed_keeps_the_key().await;
    fresh().await.no_other_state_frees_the_key().await;
    fresh().await.every_field_is_kept().await;
    fresh().await.what_was_sent_is_remembered_and_changes_no_revision().await;
    fresh().await.a_change_made_meanwhile_does_not_forget_what_was_sent().await;
    fresh().await.a_deferred_change_is_seen_at_once_and_a_released_one_soon().await;
    fresh().await.an_id_is_readable_until_its_tombstone().await;
    fresh().await.an_open_operation_never_expires().await;
    fresh().await.expiry_is_incremental().await;
    fresh().await.a_change_is_not_lost_on_its_waiters().await;
    fresh().await.a_change_before_the_wait_is_seen().await;
    fresh().await.what_is_due_is_found_soonest_first().await;
    fresh().await.nothing_settled_is_due_and_what_is_flagged_is_if_it_has_a_time().await;
    fresh().await.a_request_is_kept_until_it_is_dropped().await;
    fresh().await.a_listing_is_filtered_and_paged().await;
    fresh().await.what_is_asked_about_anothers_write_is_known().await;
    fresh().await.counts_follow_the_states().await;
    fresh().await.a_change_and_its_audit_entry_are_there_together().await;
    fresh().await.the_audit_trail_is_paged_from_its_end().await;
    fresh().await.the_secret_does_not_change().await;
    fresh().await.a_key_with_a_window_is_held_until_its_end().await;
    fresh().await.reserved_times_never_overlap().await;
    fresh().await.a_note_is_kept_by_whoever_has_seen_the_last_one().await;
}

struct Checks {
    ledger: Arc<dyn Ledger>,
    clock: WallClock,
}

impl Checks {
    fn advance(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    async fn begin(&self, key: u8) -> Operation {
        match self.ledger.begin(draft(key, self.clock.now()), self.clock.now()).await {
            Ok(Begun::New(operation)) => operation,
            other => panic!("a new operation was expected: {other:?}"),
        }
    }

    async fn begin_known(&self, key: u8) -> Operation {
        match self.ledger.begin(draft(key, self.clock.now()), self.clock.now()).await {
            Ok(Begun::Known(operation)) => operation,
            other => panic!("a known operation was expected: {other:?}"),
        }
    }

    async fn update(&self, next: Operation) -> Operation {
        self.ledger.update(next).await.expect("the update is not stale")
    }

    async fn settle(&self, operation: Operation, state: State) -> Operation {
        let settled_at = Some(self.clock.now());
        self.update(Operation { state, settled_at, next_check_at: None, ..operation }).await
    }

    async fn read(&self, id: OperationId) -> Option<Operation> {
        self.ledger.read(id).await.expect("the ledger reads")
    }

    async fn find(&self, key: u8) -> Option<Operation> {
        self.ledger.find(key_hash(key)).await.expect("the ledger finds")
    }

    async fn expire_all(&self) -> usize {
        let mut all = 0;
        loop {
            let done = self.ledger.expire(self.clock.now(), 8).await.expect("the ledger expires");
            all += done;
            if done < 8 {
                return all;
            }
        }
    }

    async fn one_of_many_concurrent_updates_wins(self) {
        let operation = self.begin(1).await;
        let mut updates = JoinSet::new();
        for attempts in 1..=50 {
            let (ledger, next) = (Arc::clone(&self.ledger), Operation { attempts, ..operation.clone() });
            updates.spawn(async move { ledger.update(next).await });
        }
        let results = updates.join_all().await;
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(self.read(operation.id).await.as_ref(), Some(won[0]));
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(LedgerError::Stale(_)))));
    }

    async fn a_stale_update_changes_nothing(self) {
        let first = self.begin(1).await;
        let second = self.update(Operation { attempts: 1, ..first.clone() }).await;
        assert_eq!(second.revision, first.revision + 1);
        for stale in [
            Operation { attempts: 9, ..first.clone() },
            Operation { attempts: 9, epoch: second.epoch + 1, ..second.clone() },
            Operation { attempts: 9, owner: super::InstanceId(!second.owner.0), ..second.clone() },
        ] {
            match self.ledger.update(stale).await {
                Err(LedgerError::Stale(current)) => assert_eq!(*current, second),
                other => panic!("a stale update was taken: {other:?}"),
            }
        }
        assert_eq!(self.read(first.id).await, Some(second));
    }

    async fn every_field_is_kept(self) {
        let operation = self.begin(1).await;
        let full = Operation {
            state: State::Failed,
            reason: "http_422".into(),
            source: Some(Source::LateResponse),
            http_status: Some(StatusCode::UNPROCESSABLE_ENTITY),
            attempts: 3,
            dispatched_at: Some(START + 1),
            settled_at: Some(START + 2),
            next_check_at: None,
            checks: 4,
            attention: Some(Attention::new(START + 3, AttentionReason::Conflict)),
            last_evidence: Some(Evidence::Succeeded),
            retained: stored(b"\x00\xff body"),
            redispatches: 5,
            origin: Some(TraceOrigin { trace_id: [1; 16], span_id: [2; 8] }),
            provenance: Provenance {
                trace_id: Some([3; 16]),
                policy: "write".into(),
                listener: "inbound".into(),
                method: Some(Method::PATCH),
            },
            history: History::of(&whole_history(), 7, 3),
            window_ms: Some(10_000),
            ..operation
        };
        let written = self.update(full.clone()).await;
        assert_eq!(written, Operation { revision: full.revision + 1, ..full });
        assert_eq!(self.read(written.id).await, Some(written));
    }

    async fn a_request_is_kept_until_it_is_dropped(self) {
        let headers = [("authorization", "Bearer x"), ("x-a", "1"), ("x-b", ""), ("x-a", "2")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let request = Arc::new(StoredRequest {
            method: Method::PATCH,
            target: "/payments/7?x=%20".into(),
            headers: HeaderMap::from_iter(headers),
            body: Bytes::from_static(b"\x00\xff body"),
        });
        let draft = Operation { request: KeptRequest::Given(Arc::clone(&request)), ..draft(1, START) };
        let Ok(Begun::New(operation)) = self.ledger.begin(draft, START).await else { panic!("a new operation") };
        assert_eq!(operation.request, KeptRequest::Kept);
        let bare = self.begin(2).await;
        let kept = async |id| self.ledger.request(id).await.expect("the ledger reads");
        assert_eq!(kept(bare.id).await, None);
        assert_eq!(kept(operation.id).await.as_ref(), Some(&request));
        let unknown = self.update(Operation { state: State::Unknown, ..operation }).await;
        assert_eq!((&unknown.request, kept(unknown.id).await.as_ref()), (&KeptRequest::Kept, Some(&request)));
        assert_eq!(kept(OperationId { tag: !unknown.id.tag, ..unknown.id }).await, None, "another name");
        let settled = self.settle(Operation { request: KeptRequest::None, ..unknown }, State::Succeeded).await;
        assert_eq!((&settled.request, kept(settled.id).await), (&KeptRequest::None, None));
    }

    async fn what_was_sent_is_remembered_and_changes_no_revision(self) {
        let operation = self.begin(1).await;
        assert!(self.ledger.may_dispatch(&operation).is_ok(), "whoever has begun it may send");
        let next = Operation { attempts: 1, dispatched_at: Some(START + 5), ..operation.clone() };
        assert_eq!(self.ledger.sent(next.clone()).expect("nothing has changed"), next);
        assert_eq!(self.read(operation.id).await, Some(next.clone()));
        let settled = self.settle(next, State::Succeeded).await;
        assert_eq!((settled.attempts, settled.dispatched_at), (1, Some(START + 5)));
        let late = Operation { attempts: 2, ..operation };
        assert!(matches!(self.ledger.sent(late), Err(LedgerError::Stale(current)) if *current == settled));
    }

    async fn a_change_made_meanwhile_does_not_forget_what_was_sent(self) {
        let operation = self.begin(1).await;
        let sent = Operation { attempts: 3, dispatched_at: Some(START + 5), ..operation.clone() };
        self.ledger.sent(sent).expect("nothing has changed");
        // Made of the record as it was before: its revision is the same.
        let unknown = self.update(Operation { state: State::Unknown, ..operation }).await;
        assert_eq!((unknown.attempts, unknown.dispatched_at), (3, Some(START + 5)));
        assert_eq!(self.read(unknown.id).await, Some(unknown));
    }

    async fn a_deferred_change_is_seen_at_once_and_a_released_one_soon(self) {
        let operation = self.begin(1).await;
        let next = Operation { state: State::Unknown, checks: 1, ..operation.clone() };
        let deferred = self.ledger.defer(next).await.expect("it is not stale");
        assert_eq!((deferred.checks, deferred.revision), (1, operation.revision + 1));
        assert_eq!(self.read(operation.id).await, Some(deferred.clone()));
        assert!(matches!(self.ledger.defer(operation.clone()).await, Err(LedgerError::Stale(_))));
        assert!(matches!(self.ledger.release(operation), Err(LedgerError::Stale(_))));
        let released = self.ledger.release(Operation { checks: 2, ..deferred.clone() }).expect("it is not stale");
        assert_eq!((released.checks, released.revision), (2, deferred.revision + 1));
        let seen = self.ledger.changed(released.id, deferred.revision).await;
        assert_eq!(seen.expect("it is there"), released);
    }

    async fn an_id_is_readable_until_its_tombstone(self) {
        let operation = self.begin(1).await;
        let settled = Operation { retained: stored(b"body"), ..operation };
        let settled = self.settle(settled, State::Succeeded).await;
        self.advance(RETENTION_MS - 1);
        self.expire_all().await;
        assert_eq!(self.read(settled.id).await, Some(settled.clone()), "within retention, all of it");

        self.advance(1);
        self.expire_all().await;
        let bare = self.read(settled.id).await.expect("past retention, the record");
        assert_eq!((bare.state, bare.retained), (State::Succeeded, Retained::StatusOnly));
        assert_eq!(self.begin_known(1).await.id, settled.id, "its key is remembered");

        self.advance(TOMBSTONE_MS - RETENTION_MS - 1);
        self.expire_all().await;
        assert!(self.read(settled.id).await.is_some());

        self.advance(1);
        assert_eq!(self.read(settled.id).await, None, "whether it was swept or not");
        assert_eq!(self.find(1).await, None);
        let next = self.begin(1).await;
        self.expire_all().await;
        assert_eq!(self.find(1).await, Some(next), "sweeping the old one leaves the new one's key");
    }

    async fn an_open_operation_never_expires(self) {
        let pending = self.begin(1).await;
        let unknown = self.begin(2).await;
        let unknown = self.update(Operation { state: State::Unknown, ..unknown }).await;
        self.advance(TOMBSTONE_MS * 100);
        assert_eq!(self.expire_all().await, 0);
        assert_eq!(self.begin_known(1).await, pending);
        assert_eq!(self.begin_known(2).await, unknown);
    }

    async fn expiry_is_incremental(self) {
        for key in 0..20 {
            let operation = self.begin(key).await;
            self.settle(operation, State::Failed).await;
        }
        // A ledger may look at each only so long after it was begun.
        self.advance(TOMBSTONE_MS + PATIENCE_MS);
        let expire = async || self.ledger.expire(self.clock.now(), 8).await.expect("the ledger expires");
        assert_eq!([expire().await, expire().await, expire().await, expire().await], [8, 8, 4, 0]);
        assert_eq!(self.ledger.owned(), [0, 0]);
    }

    async fn a_change_is_not_lost_on_its_waiters(self) {
        for round in 0..50 {
            let operation = self.begin(round).await;
            let mut waits = JoinSet::new();
            for _ in 0..8 {
                let (ledger, id, seen) = (Arc::clone(&self.ledger), operation.id, operation.revision);
                waits.spawn(async move { ledger.changed(id, seen).await.expect("the operation is there") });
            }
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let settled = self.settle(operation, State::Succeeded).await;
            let all = tokio::time::timeout(Duration::from_secs(10), waits.join_all()).await;
            let all = all.expect("every waiter is woken");
            assert!(all.iter().all(|seen| *seen == settled));
        }
    }

    async fn a_change_before_the_wait_is_seen(self) {
        let operation = self.begin(1).await;
        let settled = self.settle(operation.clone(), State::Failed).await;
        let changed = self.ledger.changed(operation.id, operation.revision).await;
        assert_eq!(changed.expect("the operation is there"), settled);
    }

    async fn a_change_and_its_audit_entry_are_there_together(self) {
        let operation = self.begin(1).await;
        let entry = entry(START, "resolve", Some(operation.id));
        let settled = Operation { state: State::Succeeded, settled_at: Some(START), ..operation.clone() };
        let updated = self.ledger.update_with(settled.clone(), entry.clone()).await.expect("it is not stale");
        assert_eq!(updated.revision, operation.revision + 1);
        let late = self.ledger.update_with(settled, entry.clone()).await;
        assert!(matches!(&late, Err(LedgerError::Stale(current)) if **current == updated), "{late:?}");
        let trail = self.ledger.audit(Some(operation.id), None, 10).await.expect("the trail is read");
        assert_eq!(trail.iter().map(|audited| &audited.entry).collect::<Vec<_>>(), [&entry]);
    }
}

/// As many events as are kept, with all that one may have and with nothing.
fn whole_history() -> Vec<Entry> {
    let kinds = EventKind::ALL.iter().cycle().take(HISTORY_KEPT);
    let entries = kinds.zip(START..).map(|(kind, at)| Entry::new(at, *kind));
    let told = |entry: Entry| Entry {
        http_status: Some(StatusCode::NOT_FOUND),
        evidence: Some(Evidence::NotExecuted),
        by: Some(Source::StatusQuery),
        cause: Some(FENCED),
        ..entry
    };
    entries.map(|entry| if entry.at % 2 == 0 { told(entry) } else { entry }).collect()
}

fn entry(at: UnixMillis, action: &str, operation: Option<OperationId>) -> AuditEntry {
    AuditEntry {
        at,
        actor: "ana@desk".into(),
        action: action.into(),
        target: operation.map_or_else(|| "write@app".into(), |id| id.to_string()),
        operation,
        reason: "the bank says \u{201c}booked\u{201d}".into(),
        before: Some("unknown".into()),
        after: None,
        result: "done".into(),
    }
}

fn key_hash(key: u8) -> KeyHash {
    KeyHash([key; 32])
}

fn stored(body: &'static [u8]) -> Retained {
    let mut headers = HeaderMap::new();
    for link in ["</a>; rel=next, </b>; rel=prev", "</c>"] {
        headers.append(header::LINK, http::HeaderValue::from_static(link));
    }
    Retained::Stored(Arc::new(StoredResponse { status: StatusCode::CREATED, headers, body: Bytes::from_static(body) }))
}

fn draft(key: u8, now: UnixMillis) -> Operation {
    Operation {
        id: OperationId { seq: 0, tag: 0xfeed_0000 + u64::from(key) },
        key_hash: key_hash(key),
        principal: [key % 2; 32],
        fingerprint: [7; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: Some([9; 32]),
        route: "payments".into(),
        upstream: "app".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 0,
        created_at: now,
        dispatched_at: None,
        settled_at: None,
        next_check_at: Some(now + PATIENCE_MS),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: Some("/by-ref/x".into()),
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: RETENTION_MS,
        tombstone_ms: TOMBSTONE_MS,
        window_ms: None,
        owner: super::InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}
