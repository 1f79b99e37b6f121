//! What goes wrong in one place must not be taken for more, nor for less; and nobody takes all.

use mainstay_policies::operation::{Attention, AttentionReason};

use super::*;

#[tokio::test]
async fn a_writer_that_panics_leaves_a_ledger_that_has_failed_and_still_reads() {
    let home = Home::new();
    let ledger = home.open();
    let operation = begin(&ledger, 1).await;
    let settled = settle(&ledger, operation, b"kept").await;
    let open = begin(&ledger, 2).await;
    assert_eq!(ledger.health(), Health::Writable);
    ledger.queue.as_ref().expect("it is open").send(Command::Panic).await.expect("it is taken");
    // Whether this one still gets into the queue or not.
    assert!(matches!(ledger.begin(draft(3), NOW).await, Err(LedgerError::Unavailable(_))));
    while ledger.health() == Health::Writable {
        tokio::task::yield_now().await;
    }
    assert_eq!(ledger.health(), Health::Failed);
    assert!(matches!(ledger.begin(draft(4), NOW).await, Err(LedgerError::Unavailable(_))));
    assert!(matches!(ledger.update(open.clone()).await, Err(LedgerError::Unavailable(_))));
    assert!(matches!(ledger.release(open), Err(LedgerError::Unavailable(_))));
    assert_eq!(ledger.read(settled.id).await.expect("it reads"), Some(settled));
    drop(ledger);
    let ledger = home.open();
    assert_eq!((ledger.health(), ledger.counts()), (Health::Writable, [0, 1, 0, 0, 1]));
}

/// Somebody may have seen a version that was taken back, and hold its revision for that of a later one.
#[test]
fn a_revision_that_was_rolled_back_is_never_given_again() {
    let mut records = Records::new([0; 5], Vec::new());
    let first = Operation { id: OperationId { seq: 1, tag: 1 }, revision: 1, ..draft(1) };
    records.stage(first.clone(), None, 0).expect("it is new");
    records.publish(&[1]);
    let settled = Operation { revision: records.revision_after(1), ..answered(first.clone(), b"") };
    let before = records.stage(settled.clone(), Some(&held::InFile::of(&first)), 1).expect("it follows");
    let noted = records.note(settled).expect("what is not committed yet is built upon");
    records.roll_back(vec![before]);
    assert_eq!(records.published(1), Some(&first));
    assert!(matches!(records.note(noted.clone()), Err(LedgerError::Stale(_))), "nothing is built upon it any more");
    let next = records.note(first).expect("the published one is the latest again");
    assert!(next.revision > noted.revision, "{} after {}", next.revision, noted.revision);
    assert!(matches!(records.note(noted), Err(LedgerError::Stale(_))));
}

/// A draft of a principal's.
fn draft_of(principal: u8, key: u32) -> Operation {
    Operation { principal: [principal; 32], ..draft(key) }
}

#[tokio::test]
async fn one_principal_cannot_take_every_place() {
    let home = Home::new();
    let ledger = home.open_with(100, 1 << 30);
    let mut last = None;
    for key in 0..90 {
        last = Some(begin(&ledger, key).await);
    }
    assert!(matches!(ledger.begin(draft(90), NOW).await, Err(LedgerError::Full)));
    for key in 100..110 {
        let begun = ledger.begin(draft_of(2, key), NOW).await;
        assert!(matches!(begun, Ok(Begun::New(_))), "another one has places still: {begun:?}");
    }
    assert!(matches!(ledger.begin(draft_of(3, 200), NOW).await, Err(LedgerError::Full)), "max_open holds for all");
    drop(ledger);
    // After a restart each still holds what it held.
    let ledger = home.open_with(100, 1 << 30);
    let last = ledger.read(last.expect("one was begun").id).await.expect("it reads").expect("it is there");
    settle(&ledger, last, b"").await;
    assert!(matches!(ledger.begin(draft(90), NOW).await, Err(LedgerError::Full)));
    assert!(matches!(ledger.begin(draft_of(3, 200), NOW).await, Ok(Begun::New(_))));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_told_from_a_ledger_that_cannot() {
    let home = Home::new();
    let ledger = home.open();
    let request = StoredRequest {
        method: http::Method::POST,
        target: "/pay".into(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"x"),
    };
    let mut kept = Vec::new();
    for key in 0..2 {
        let draft = Operation { request: KeptRequest::Given(Arc::new(request.clone())), ..draft(key) };
        let Ok(Begun::New(operation)) = ledger.begin(draft, NOW).await else { panic!("it is new") };
        kept.push(operation.id);
    }
    let damage = format!("UPDATE request SET request = x'01' WHERE seq = {}", kept[0].seq);
    Connection::open(home.file()).and_then(|file| file.execute_batch(&damage)).expect("it is damaged");
    assert!(matches!(ledger.request(kept[0]).await, Err(LedgerError::Unreadable)));
    assert_eq!(ledger.request(kept[1]).await.expect("the other one is whole").as_deref(), Some(&request));
}

#[tokio::test]
async fn everything_that_waits_for_a_person_is_counted_whatever_its_state() {
    let home = Home::new();
    let ledger = home.open();
    let flag = Some(Attention::new(NOW, AttentionReason::Conflict));
    let open = begin(&ledger, 1).await;
    let unknown = Operation { state: State::Unknown, attention: flag, next_check_at: None, ..open };
    ledger.update(unknown).await.expect("it is flagged");
    let mut settled = Vec::new();
    for key in 2..4 {
        let operation = begin(&ledger, key).await;
        settled.push(settle(&ledger, operation, b"kept").await);
    }
    assert_eq!(ledger.flagged().await.expect("it counts"), [1, 0]);
    let flagged = ledger.update(Operation { attention: flag, ..settled.remove(0) }).await.expect("it is flagged");
    assert_eq!(ledger.flagged().await.expect("it counts"), [1, 1]);
    drop(ledger);
    let ledger = home.open();
    assert_eq!(ledger.flagged().await.expect("it counts"), [1, 1]);
    assert_eq!(ledger.expire(NOW + 31 * DAY, 10).await.expect("it expires"), 1, "a flag keeps all of it");
    assert_eq!(ledger.read(flagged.id).await.expect("it reads"), Some(flagged.clone()));
    ledger.update(Operation { attention: None, ..flagged }).await.expect("it is dealt with");
    assert_eq!(ledger.flagged().await.expect("it counts"), [1, 0]);
    assert_eq!(ledger.expire(NOW + 31 * DAY, 10).await.expect("it expires"), 1);
}
