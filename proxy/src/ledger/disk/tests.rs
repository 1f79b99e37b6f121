//! The ledger's contract, on real files.

use std::{fs, os::unix::fs::PermissionsExt};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use mainstay_policies::{
    evidence::Evidence,
    operation::{FingerprintVersion, Provenance, Retained, Source, StoredResponse, conformance, history::History},
};

use rusqlite::Connection;

use super::*;

mod faults_and_shares;
mod records;

pub(super) const NOW: UnixMillis = 1_700_000_000_000;
pub(super) const DAY: u64 = 24 * 3_600 * 1_000;

/// A directory of a test's own, removed at the end.
pub(super) struct Home(pub(super) PathBuf);

impl Home {
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("mainstay-ledger-{}", uuid::Uuid::new_v4())))
    }

    pub(super) fn open(&self) -> DiskLedger {
        self.open_with(1000, 1 << 30)
    }

    fn open_with(&self, max_open: usize, max_bytes: u64) -> DiskLedger {
        self.try_open(max_open, max_bytes).expect("the ledger opens")
    }

    pub(super) fn try_open(&self, max_open: usize, max_bytes: u64) -> Result<DiskLedger, OpenError> {
        let options = Options { max_open, max_bytes, settle: Settle::Durable, key_file: None };
        DiskLedger::open(&self.0, WallClock::manual(NOW), &options)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) fn draft(key: u32) -> Operation {
    let mut key_hash = [9; 32];
    key_hash[..4].copy_from_slice(&key.to_be_bytes());
    Operation {
        id: OperationId { seq: 0, tag: u64::MAX - u64::from(key) },
        key_hash: KeyHash(key_hash),
        principal: [1; 32],
        fingerprint: [7; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "payments".into(),
        upstream: "app".into(),
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
        status_target: Some("/by-ref/x".into()),
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: DAY,
        tombstone_ms: 30 * DAY,
        window_ms: None,
        owner: InstanceId(0),
        epoch: 0,
        revision: 0,
    }
}

pub(super) async fn begin(ledger: &DiskLedger, key: u32) -> Operation {
    match ledger.begin(draft(key), NOW).await {
        Ok(Begun::New(operation)) => operation,
        other => panic!("a new operation was expected: {other:?}"),
    }
}

fn answered(operation: Operation, body: &'static [u8]) -> Operation {
    let mut headers = HeaderMap::new();
    headers.append(header::LINK, http::HeaderValue::from_static("</a>, </b>"));
    headers.append(header::LINK, http::HeaderValue::from_static("</c>"));
    let stored = StoredResponse { status: StatusCode::CREATED, headers, body: Bytes::from_static(body) };
    Operation {
        state: State::Succeeded,
        reason: "http_201".into(),
        source: Some(Source::Response),
        http_status: Some(StatusCode::CREATED),
        settled_at: Some(NOW),
        next_check_at: None,
        last_evidence: Some(Evidence::Succeeded),
        retained: Retained::Stored(Arc::new(stored)),
        ..operation
    }
}

pub(super) async fn settle(ledger: &DiskLedger, operation: Operation, body: &'static [u8]) -> Operation {
    ledger.update(answered(operation, body)).await.expect("it is settled")
}

fn entry() -> AuditEntry {
    AuditEntry {
        at: NOW,
        actor: "ana".into(),
        action: "force".into(),
        target: "write@app".into(),
        operation: None,
        reason: "maintenance".into(),
        before: None,
        after: None,
        result: "done".into(),
    }
}

#[tokio::test]
async fn the_conformance_suite_passes() {
    let homes = Mutex::new(Vec::new());
    conformance::run(|clock| {
        let home = Home::new();
        let options = Options { max_open: 1000, max_bytes: 1 << 30, settle: Settle::Durable, key_file: None };
        let ledger = DiskLedger::open(&home.0, clock, &options).expect("the ledger opens");
        homes.lock().push(home);
        async move { Arc::new(ledger) as Arc<dyn Ledger> }
    })
    .await;
}

#[tokio::test]
async fn what_was_settled_is_the_same_after_a_restart() {
    let home = Home::new();
    let ledger = home.open();
    let secret = *ledger.fingerprint_secret().expect("it is there");
    let operation = begin(&ledger, 1).await;
    let settled = settle(&ledger, operation, b"\x00\xff bytes").await;
    drop(ledger);
    let ledger = home.open();
    assert_eq!(ledger.read(settled.id).await.expect("it reads"), Some(settled.clone()));
    assert_eq!(ledger.find(settled.key_hash).await.expect("it finds"), Some(settled.clone()));
    assert_eq!(ledger.begin(draft(1), NOW).await.expect("it is known"), Begun::Known(settled));
    assert_eq!(ledger.counts(), [0, 1, 0, 0, 0]);
    assert_eq!(*ledger.fingerprint_secret().expect("it is there"), secret);
}

#[tokio::test]
async fn what_was_in_flight_is_unknown_after_a_restart() {
    let home = Home::new();
    let ledger = home.open();
    let before = ledger.release(Operation { attempts: 1, ..begin(&ledger, 1).await }).expect("it is noted");
    drop(ledger);
    for epoch in 2..4 {
        let ledger = home.open();
        let after = ledger.read(before.id).await.expect("it reads").expect("it is there");
        assert_eq!((after.state, &*after.reason, after.epoch), (State::Unknown, "restart", epoch));
        assert_eq!((after.owner, after.attempts), (ledger.instance(), 1));
        assert_eq!((after.next_check_at, after.dispatched_at), (Some(NOW), Some(NOW)));
        assert_eq!(after.last_evidence, Some(Evidence::Ambiguous));
        assert_eq!(ledger.begin(draft(1), NOW).await.expect("its key is not free"), Begun::Known(after.clone()));
        assert_eq!(ledger.counts(), [0, 0, 0, 0, 1]);
        assert!(matches!(ledger.update(before.clone()).await, Err(LedgerError::Stale(_))), "the old owner is too late");
    }
}

#[tokio::test]
async fn ids_go_on_after_a_restart_even_if_the_last_was_forgotten() {
    let home = Home::new();
    let ledger = home.open();
    let operation = begin(&ledger, 1).await;
    let last = settle(&ledger, operation, b"").await.id.seq;
    assert_eq!(ledger.expire(NOW + 31 * DAY, 10).await.expect("it expires"), 1);
    drop(ledger);
    let ledger = home.open();
    assert_eq!(ledger.counts(), [0; 5]);
    assert!(begin(&ledger, 2).await.id.seq > last);
}

#[tokio::test]
async fn a_settled_operation_that_left_memory_is_read_from_the_file() {
    let home = Home::new();
    let first = {
        let ledger = home.open();
        let operation = begin(&ledger, 1).await;
        settle(&ledger, operation, b"kept").await
    };
    let ledger = home.open();
    let flagged = ledger.update(Operation { checks: 9, ..first.clone() }).await.expect("it is changed in the file");
    assert_eq!(ledger.find(first.key_hash).await.expect("it finds"), Some(flagged.clone()));
    let all = ledger.list(Filter::default(), None, 10).await.expect("it lists");
    assert_eq!(all, [flagged]);
}

#[tokio::test]
async fn keys_that_begin_alike_are_told_apart() {
    let home = Home::new();
    let ledger = home.open();
    let mut other = draft(1);
    other.key_hash.0[31] ^= 1;
    let first = begin(&ledger, 1).await;
    let Ok(Begun::New(second)) = ledger.begin(other, NOW).await else { panic!("another key is another operation") };
    let (first, second) = (settle(&ledger, first, b"1").await, settle(&ledger, second, b"2").await);
    drop(ledger);
    let ledger = home.open();
    for operation in [first, second] {
        assert_eq!(ledger.find(operation.key_hash).await.expect("it finds"), Some(operation));
    }
}

#[tokio::test]
async fn an_operation_that_its_caller_never_took_frees_its_key() {
    let home = Home::new();
    let ledger = home.open();
    // It leaves while the writer is at work, and when the answer lies there already.
    for patience in [0, 50] {
        let mut begun = Box::pin(ledger.begin(draft(1), NOW));
        assert!(futures_util::poll!(&mut begun).is_pending());
        tokio::time::sleep(std::time::Duration::from_millis(patience)).await;
        drop(begun);
        let again = loop {
            match ledger.begin(draft(1), NOW).await.expect("the ledger answers") {
                Begun::New(again) => break again,
                Begun::Known(_) => tokio::task::yield_now().await,
            }
        };
        settle(&ledger, Operation { reason: "again".into(), ..again }, b"").await;
        ledger.expire(NOW + 31 * DAY, 10).await.expect("it is forgotten");
    }
    assert_eq!(ledger.counts(), [0; 5]);
}

#[tokio::test]
async fn open_operations_are_bounded() {
    let home = Home::new();
    let ledger = home.open_with(2, 1 << 30);
    let first = begin(&ledger, 1).await;
    begin(&ledger, 2).await;
    assert!(matches!(ledger.begin(draft(3), NOW).await, Err(LedgerError::Full)));
    settle(&ledger, first, b"").await;
    begin(&ledger, 3).await;
}

#[tokio::test]
async fn the_file_is_bounded_and_settles_all_the_same() {
    static BODY: [u8; 100_000] = [7; 100_000];
    let home = Home::new();
    let ledger = home.open_with(1000, 2 << 20);
    let kept = begin(&ledger, 0).await;
    let mut refused = None;
    for key in 1..100 {
        match ledger.begin(draft(key), NOW).await {
            Ok(Begun::New(operation)) => drop(settle(&ledger, operation, &BODY).await),
            other => refused = refused.or(Some(other)),
        }
    }
    // The last answers were kept by their status only, and then there was room for small records yet.
    assert!(refused.is_none_or(|refused| matches!(refused, Err(LedgerError::Full))));
    assert_eq!(settle(&ledger, kept, &BODY).await.retained, Retained::StatusOnly);
    let size = |name: &str| fs::metadata(home.0.join(name)).map_or(0, |file| file.len());
    drop(ledger);
    assert!(size("ledger.db") < (2 << 20) + 200_000, "{}", size("ledger.db"));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let home = Home::new();
    let ledger = home.open();
    assert!(matches!(home.try_open(1, 1 << 30), Err(OpenError::Locked(_))));
    begin(&ledger, 1).await;
    drop(ledger);
    home.open();
}

#[tokio::test]
async fn what_is_not_a_ledger_is_refused_and_left_alone() {
    let sqlite = {
        let home = Home::new();
        fs::create_dir_all(&home.0).expect("a directory");
        let other = Connection::open(home.file()).expect("another database");
        other.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1;").expect("a table");
        drop(other);
        fs::read(home.file()).expect("it was written")
    };
    for content in [b"".to_vec(), b"hello".to_vec(), vec![0; 10_000], sqlite] {
        let home = Home::new();
        fs::create_dir_all(&home.0).expect("a directory");
        fs::write(home.file(), &content).expect("it is written");
        assert!(matches!(home.try_open(1, 1 << 30), Err(OpenError::Foreign(_))));
        assert_eq!(fs::read(home.file()).expect("it is there"), content);
    }
}

#[tokio::test]
async fn a_later_format_is_refused_and_left_alone() {
    let home = Home::new();
    drop(home.open());
    Connection::open(home.file()).and_then(|file| file.pragma_update(None, "user_version", 99)).expect("it is changed");
    let before = fs::read(home.file()).expect("it is there");
    let error = home.try_open(1, 1 << 30).expect_err("it is refused");
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert_eq!(fs::read(home.file()).expect("it is there"), before);
}

#[tokio::test]
async fn a_ledger_of_the_first_format_gains_the_audit_trail() {
    let home = Home::new();
    let ledger = home.open();
    let operation = begin(&ledger, 1).await;
    let settled = settle(&ledger, operation, b"made").await;
    drop(ledger);
    let back =
        "DROP TABLE audit; DROP TABLE request; DROP TABLE key_segment; DROP TABLE key_page; ALTER TABLE operation DROP COLUMN question;
         CREATE INDEX operation_key ON operation (key); DELETE FROM migration WHERE version > 1; PRAGMA user_version = 1;";
    Connection::open(home.file()).and_then(|file| file.execute_batch(back)).expect("it is the first format again");
    let ledger = home.open();
    assert_eq!(ledger.read(settled.id).await.expect("it reads"), Some(settled));
    let entry = entry();
    assert_eq!(ledger.append(entry.clone()).await.expect("it is written"), 1);
    drop(ledger);
    let trail = home.open().audit(None, None, 10).await.expect("it is read");
    assert_eq!(trail, [Audited { number: 1, entry }]);
}

#[tokio::test]
async fn the_audit_trail_is_bounded() {
    let home = Home::new();
    let entry = entry();
    let ledger = home.open();
    for _ in 0..2 {
        ledger.append(entry.clone()).await.expect("it is written");
    }
    drop(ledger);
    let kept = mainstay_policies::operation::audit::AUDIT_KEPT;
    let grown = format!("UPDATE audit SET number = {kept} WHERE number = 2");
    Connection::open(home.file()).and_then(|file| file.execute_batch(&grown)).expect("it is changed");
    let ledger = home.open();
    assert_eq!(ledger.append(entry).await.expect("it is written"), kept + 1);
    let trail = ledger.audit(None, None, 10).await.expect("it is read");
    assert_eq!(trail.iter().map(|audited| audited.number).collect::<Vec<_>>(), [kept + 1, kept]);
}

#[tokio::test]
async fn a_damaged_ledger_is_refused_and_left_alone() {
    let home = Home::new();
    {
        let ledger = home.open();
        for key in 0..200 {
            begin(&ledger, key).await;
        }
    }
    let whole = fs::read(home.file()).expect("it is there");
    let mut torn = whole.clone();
    torn[100..].fill(0xa5);
    for damaged in [whole[..whole.len() / 2].to_vec(), torn] {
        fs::write(home.file(), &damaged).expect("it is damaged");
        let error = home.try_open(1000, 1 << 30).expect_err("it is refused");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(fs::read(home.file()).expect("it is there") == damaged);
    }
}

#[tokio::test]
async fn a_crash_while_it_is_made_leaves_none() {
    let home = Home::new();
    fs::create_dir_all(&home.0).expect("a directory");
    fs::write(home.0.join("ledger.new"), b"half").expect("it is written");
    let ledger = home.open();
    begin(&ledger, 1).await;
    assert!(!home.0.join("ledger.new").exists());
}

#[tokio::test]
async fn only_its_user_may_read_it() {
    let home = Home::new();
    let ledger = home.open();
    begin(&ledger, 1).await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&home.0), 0o700);
    for file in fs::read_dir(&home.0).expect("a directory").flatten() {
        assert_eq!(mode(&file.path()), 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn after_an_error_it_takes_no_more_writes_and_still_reads() {
    let home = Home::new();
    let ledger = home.open();
    let operation = begin(&ledger, 1).await;
    let settled = settle(&ledger, operation, b"kept").await;
    let open = begin(&ledger, 2).await;
    // What a statement meets when the file is damaged under it.
    Connection::open(home.file()).and_then(|file| file.execute_batch("DROP TABLE counter")).expect("it is damaged");
    assert!(matches!(ledger.begin(draft(3), NOW).await, Err(LedgerError::Unavailable(_))));
    for _ in 0..2 {
        assert!(matches!(ledger.begin(draft(4), NOW).await, Err(LedgerError::Unavailable(_))));
        assert!(matches!(ledger.update(open.clone()).await, Err(LedgerError::Unavailable(_))));
        assert!(matches!(ledger.release(open.clone()), Err(LedgerError::Unavailable(_))));
    }
    assert_eq!(ledger.begin(draft(1), NOW).await.expect("it is known"), Begun::Known(settled.clone()));
    assert_eq!(ledger.read(settled.id).await.expect("it reads"), Some(settled));
}

/// A ledger sealed with the keys of these bytes, the newest first.
fn open_sealed(home: &Home, keys: &[u8]) -> Result<DiskLedger, OpenError> {
    fs::create_dir_all(&home.0).expect("a directory");
    let key_file = (!keys.is_empty()).then(|| home.0.join("keys"));
    if let Some(file) = &key_file {
        let lines: Vec<_> = keys.iter().map(|key| format!("{key:02x}").repeat(32)).collect();
        fs::write(file, lines.join("\n")).expect("it is written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    let options = Options { max_open: 1000, max_bytes: 1 << 30, settle: Settle::Durable, key_file };
    DiskLedger::open(&home.0, WallClock::manual(NOW), &options)
}

/// Every byte of the ledger's files.
fn bytes_of(home: &Home) -> Vec<u8> {
    let files = ["ledger.db", "ledger.db-wal"].map(|name| fs::read(home.0.join(name)).unwrap_or_default());
    files.concat()
}

#[tokio::test]
async fn what_is_sealed_is_nowhere_to_be_seen_and_reads_back() {
    let secret = b"canary-4711";
    for (keys, is_seen) in [(&[][..], true), (&[7][..], false)] {
        let home = Home::new();
        let ledger = open_sealed(&home, keys).expect("it opens");
        let mut draft = draft(1);
        draft.status_target = Some("/by-ref/canary-4711".into());
        let Ok(Begun::New(operation)) = ledger.begin(draft, NOW).await else { panic!("it is new") };
        let settled = settle(&ledger, operation, b"body of canary-4711").await;
        let request = Arc::new(StoredRequest {
            method: http::Method::POST,
            target: "/pay?canary-4711".into(),
            headers: HeaderMap::from_iter([(header::AUTHORIZATION, http::HeaderValue::from_static("canary-4711"))]),
            body: Bytes::from_static(b"canary-4711"),
        });
        let open = Operation { request: KeptRequest::Given(Arc::clone(&request)), ..self::draft(2) };
        let Ok(Begun::New(open)) = ledger.begin(open, NOW).await else { panic!("it is new") };
        let fingerprints = *ledger.fingerprint_secret().expect("it is there");
        let found = |what: &[u8]| bytes_of(&home).windows(what.len()).any(|window| window == what);
        assert_eq!((found(secret), found(&fingerprints)), (is_seen, is_seen), "in the log");
        drop(ledger);
        assert_eq!((found(secret), found(&fingerprints)), (is_seen, is_seen), "in the file");
        let ledger = open_sealed(&home, keys).expect("it opens");
        assert_eq!(ledger.read(settled.id).await.expect("it reads"), Some(settled.clone()));
        assert_eq!(ledger.find(settled.key_hash).await.expect("it finds"), Some(settled));
        assert_eq!(ledger.request(open.id).await.expect("it reads"), Some(request));
        assert_eq!(*ledger.fingerprint_secret().expect("it is there"), fingerprints);
    }
}

#[tokio::test]
async fn a_wrong_key_is_an_error_at_start_and_an_old_one_is_needed_as_long_as_it_seals_something() {
    let home = Home::new();
    let ledger = open_sealed(&home, &[1]).expect("it opens");
    let operation = begin(&ledger, 1).await;
    let first = settle(&ledger, operation, b"under the first key").await;
    drop(ledger);
    for wrong in [&[][..], &[2]] {
        assert!(matches!(open_sealed(&home, wrong), Err(OpenError::Sealed { .. })), "{wrong:?}");
    }
    let ledger = open_sealed(&home, &[2, 1]).expect("the new one seals, the old one opens");
    assert_eq!(ledger.read(first.id).await.expect("it reads"), Some(first.clone()));
    let operation = begin(&ledger, 2).await;
    let second = settle(&ledger, operation, b"under the second").await;
    drop(ledger);
    assert!(matches!(open_sealed(&home, &[2]), Err(OpenError::Sealed { .. })), "the first is still needed");
    let ledger = open_sealed(&home, &[2, 1]).expect("nothing was changed");
    ledger.expire(NOW + 31 * DAY, 10).await.expect("everything is forgotten");
    let operation = begin(&ledger, 3).await;
    let third = settle(&ledger, operation, b"under the second").await;
    assert_ne!(third.id, second.id);
    drop(ledger);
    let ledger = open_sealed(&home, &[2]).expect("nothing is left that the first had sealed");
    assert_eq!(ledger.read(third.id).await.expect("it reads"), Some(third));
}

#[tokio::test]
async fn a_key_that_everybody_may_read_is_refused() {
    let home = Home::new();
    drop(open_sealed(&home, &[1]).expect("it opens"));
    fs::set_permissions(home.0.join("keys"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let options =
        Options { max_open: 1, max_bytes: 1 << 30, settle: Settle::Durable, key_file: Some(home.0.join("keys")) };
    let refused = DiskLedger::open(&home.0, WallClock::manual(NOW), &options).expect_err("it is refused");
    assert!(matches!(refused, OpenError::Key(KeyError::OpenToAll { mode: 0o644, .. })), "{refused}");
}
