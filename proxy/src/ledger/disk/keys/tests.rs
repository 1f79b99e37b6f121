//! Keys in memory, on their way to a segment, and in one: on real files, with segments of 150.

use std::{fs, ops::Range, sync::Arc};

use mainstay_policies::operation::{
    Operation, Question,
    ledger::{Begun, Ledger},
};
use rusqlite::Connection;

use super::{index::Segment, segments::Sealing, *};
use crate::ledger::{
    disk::{
        DiskLedger, Inspection, OpenError,
        sql::{MIGRATIONS, SqlError},
        tests::{DAY, Home, NOW, begin, draft, settle},
    },
    record::Unreadable,
};

/// Some segments, and some that are in none.
const KEYS: u32 = 1000;

/// A ledger with that many settled operations, gone from memory.
async fn filled(home: &Home, keys: u32) {
    let ledger = Arc::new(home.open());
    let mut tasks = tokio::task::JoinSet::new();
    for key in 0..keys {
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let operation = begin(&ledger, key).await;
            settle(&ledger, operation, b"done").await;
        });
        if key % 7 == 0 || tasks.len() > 100 {
            // Batches of all sizes, and so many of them that what is sealed on the way is not all in one segment.
            tasks.join_next().await;
        }
    }
    tasks.join_all().await;
}

/// The same with a batch for each command, so that the writer has had the turns it needs to seal what it can.
async fn filled_in_turn(home: &Home, keys: Range<u32>) {
    let ledger = home.open();
    for key in keys {
        let operation = begin(&ledger, key).await;
        settle(&ledger, operation, b"done").await;
    }
}

async fn finds_all(home: &Home, keys: u32) {
    let ledger = home.open();
    for key in 0..keys {
        let found = ledger.find(draft(key).key_hash).await.expect("it looks").expect("it is found");
        assert_eq!(found.key_hash, draft(key).key_hash);
        assert_eq!(ledger.begin(draft(key), NOW).await.expect("it is known"), Begun::Known(found), "{key}");
    }
    assert_eq!(ledger.find(draft(keys).key_hash).await.expect("it looks"), None);
}

fn faults(home: &Home) -> Vec<String> {
    let mut faults = Vec::new();
    let ledger = Inspection::open(&home.0, None).expect("it opens");
    ledger.check(|fault| faults.push(fault)).expect("it is checked");
    faults
}

fn number(home: &Home, sql: &str) -> i64 {
    let file = Connection::open(home.file()).expect("it opens");
    file.query_row(sql, [], |row| row.get(0)).expect("a number")
}

fn change(home: &Home, sql: &str) {
    Connection::open(home.file()).and_then(|file| file.execute_batch(sql)).expect("it is changed");
}

#[tokio::test]
async fn a_key_is_known_wherever_it_is() {
    let home = Home::new();
    filled(&home, KEYS).await;
    assert!(number(&home, "SELECT count(*) FROM key_segment") >= 2);
    assert_eq!(faults(&home), [""; 0]);
    finds_all(&home, KEYS).await;
}

#[tokio::test]
async fn a_key_that_is_used_again_leads_to_the_latest() {
    let home = Home::new();
    let mut last = None;
    {
        let ledger = home.open();
        for time in 0..400 {
            let mut draft = draft(1);
            draft.window_ms = Some(1);
            let Ok(Begun::New(operation)) = ledger.begin(draft, NOW + 10 * (time + 1)).await else {
                panic!("its window is over")
            };
            last = Some(settle(&ledger, operation, b"again").await);
            begin(&ledger, 1000 + u32::try_from(time).expect("it is small")).await;
        }
    }
    assert_eq!(faults(&home), [""; 0]);
    let ledger = home.open();
    assert_eq!(ledger.find(draft(1).key_hash).await.expect("it looks"), last);
    let known = ledger.begin(draft(1), NOW).await.expect("it looks");
    assert_eq!(Some(known), last.map(Begun::Known));
}

#[tokio::test]
async fn a_segment_goes_with_its_last_operation() {
    let home = Home::new();
    filled(&home, KEYS).await;
    let ledger = home.open();
    let segments = number(&home, "SELECT count(*) FROM key_segment");
    ledger.expire(NOW + 31 * DAY, 400).await.expect("it expires");
    let left = number(&home, "SELECT count(*) FROM key_segment");
    assert!(0 < left && left < segments, "{left} of {segments}");
    // Some segments are looked at with each change.
    while ledger.expire(NOW + 31 * DAY, 100).await.expect("it expires") == 100 {}
    assert_eq!(number(&home, "SELECT count(*) FROM key_segment"), 0);
    assert_eq!(number(&home, "SELECT count(*) FROM key_page"), 0);
    // And its keys are free.
    begin(&ledger, 1).await;
}

#[tokio::test]
async fn whose_write_a_service_is_asked_about_is_known_wherever_it_is() {
    let home = Home::new();
    let target = |key: u32| format!("/by-ref/{key}");
    let knows_all = async |ledger: &DiskLedger| {
        for key in (0..=400).step_by(7) {
            let question = Question::new("app", &target(key));
            for (principal, expected) in [([1; 32], false), ([2; 32], true)] {
                let known = ledger.is_anothers(question, principal).await.expect("it looks");
                assert_eq!(known, expected && key < 400, "{key} {principal:?}");
            }
        }
    };
    let ledger = home.open();
    for key in 0..400 {
        let draft = Operation { status_target: Some(target(key).into()), ..draft(key) };
        let Ok(Begun::New(operation)) = ledger.begin(draft, NOW).await else { panic!("it is new") };
        settle(&ledger, operation, b"done").await;
    }
    knows_all(&ledger).await;
    drop(ledger);
    assert!(number(&home, "SELECT count(*) FROM key_segment") >= 2);
    assert_eq!(faults(&home), [""; 0]);
    knows_all(&home.open()).await;
    // As after a start that found no segments.
    change(&home, "DELETE FROM key_segment; DELETE FROM key_page");
    knows_all(&home.open()).await;
    assert_eq!(faults(&home), [""; 0]);
    change(&home, "UPDATE operation SET question = question + 1 WHERE seq = 1");
    assert_eq!(faults(&home), ["operation 1 is not filed under what its service is asked"]);
}

#[tokio::test]
async fn a_process_that_died_while_it_sealed_leaves_nothing_in_the_way() {
    let home = Home::new();
    filled_in_turn(&home, 0..400).await;
    // Pages of a segment that never came to be, under the number of the next one, and between its keys.
    change(
        &home,
        "WITH RECURSIVE n(n) AS (VALUES (-128) UNION ALL SELECT n + 1 FROM n WHERE n < 127)
         INSERT OR IGNORE INTO key_page
         SELECT (SELECT max(id) + 1 FROM key_segment), n << 56, 0, zeroblob(16) FROM n",
    );
    filled_in_turn(&home, 400..KEYS).await;
    assert_eq!(faults(&home), [""; 0]);
    finds_all(&home, KEYS).await;
}

#[tokio::test]
async fn a_segment_that_is_not_as_it_was_written_is_damage() {
    let home = Home::new();
    filled_in_turn(&home, 0..400).await;
    let whole = fs::read(home.file()).expect("it is there");
    let one = "(SELECT min(id) FROM key_segment)";
    for damage in [
        format!("DELETE FROM key_page WHERE segment = {one} AND number = 0"),
        format!("DELETE FROM key_page WHERE segment = {one} AND number = 2"),
        format!("UPDATE key_page SET head = head - 1 WHERE segment = {one} AND number = 1"),
        format!("UPDATE key_page SET keys = zeroblob(length(keys)) WHERE segment = {one} AND number = 1"),
        format!("UPDATE key_page SET keys = x'00' WHERE segment = {one} AND number = 1"),
    ] {
        change(&home, &damage);
        assert!(!faults(&home).is_empty(), "{damage}");
        let error = home.try_open(1, 1 << 30).expect_err(&damage);
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        fs::write(home.file(), &whole).expect("it is as it was");
    }
    change(&home, &format!("UPDATE key_segment SET first = first + 1 WHERE id = {one}"));
    assert_eq!(faults(&home), ["operation 1 is not filed under its key"]);
}

#[tokio::test]
async fn a_ledger_with_an_index_over_its_keys_gets_segments() {
    let home = Home::new();
    filled(&home, KEYS).await;
    change(
        &home,
        "DROP TABLE key_segment; DROP TABLE key_page; ALTER TABLE operation DROP COLUMN question;
         CREATE INDEX operation_key ON operation (key);
         DELETE FROM migration WHERE version > 3; PRAGMA user_version = 3;",
    );
    finds_all(&home, KEYS).await;
    assert_eq!(number(&home, "SELECT count(*) FROM key_segment"), i64::from(KEYS) / 150);
    assert_eq!(faults(&home), [""; 0]);
}

#[test]
fn what_was_rolled_back_is_written_again() {
    let file = Connection::open_in_memory().expect("a database");
    file.execute_batch(&MIGRATIONS.concat()).expect("its tables");
    let mut index = KeyIndex::default();
    let keys = 500_i64;
    for key in 0..keys {
        index.add((key * 3, 500 - key.cast_unsigned()));
    }
    let mut sealing = Sealing::start(1, &mut index, 0, 500);
    for is_kept in [true, false, false, true, true] {
        file.execute_batch("BEGIN").expect("it begins");
        sealing.write(&file, 2).expect("it is written");
        if is_kept {
            file.execute_batch("COMMIT").expect("it commits");
            assert!(!sealing.committed(&mut index));
        } else {
            file.execute_batch("ROLLBACK").expect("it rolls back");
            sealing.rolled_back();
        }
        assert_eq!(super::all(&file).expect("they are read"), []);
    }
    sealing.write(&file, 100).expect("it is written");
    assert!(sealing.committed(&mut index));
    let segment = Segment { id: 1, first: 1, last: 500, entries: 500 };
    assert_eq!(super::all(&file).expect("they are read"), [segment]);
    let read = read(&file, segment).expect("it is read");
    assert!((0..keys).eq(read.iter().map(|(prefix, _)| prefix / 3)));
    let short = Segment { entries: 501, ..segment };
    assert!(matches!(super::read(&file, short), Err(SqlError::Unreadable(Unreadable))));
}
