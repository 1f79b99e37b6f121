//! What all replicas share before the first write: the schema and its versions, who may change it, and the key it is sealed with.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use mainstay::ledger::postgres::{OpenError, Options, PostgresLedger, SCHEMA_VERSION, schema_sql};
use mainstay_policies::operation::{
    Operation, Retained, State, StoredResponse,
    ledger::{Begun, Ledger, LedgerError},
};
use mainstay_tests::{postgres::Postgres, proxy::TempDir};

use crate::ledger_postgres::{draft, options};

async fn open(server: &Postgres, more: &str) -> Result<PostgresLedger, OpenError> {
    PostgresLedger::open(options(&server.url(), more)).await
}

/// Begins a write and settles it, with an answer that is kept.
async fn write(ledger: &PostgresLedger, key: u8) -> Operation {
    let now = ledger.clock().now();
    let Ok(Begun::New(operation)) = ledger.begin(draft(key, now), now).await else { panic!("it is new") };
    let answer =
        StoredResponse { status: http::StatusCode::CREATED, headers: http::HeaderMap::new(), body: "made".into() };
    let settled = Operation {
        state: State::Succeeded,
        settled_at: Some(now),
        retained: Retained::Stored(answer.into()),
        ..operation
    };
    ledger.update(settled).await.expect("it is taken")
}

async fn reads(ledger: &PostgresLedger, written: &Operation) -> Result<bool, LedgerError> {
    Ok(ledger.read(written.id).await?.is_some_and(|found| found.retained == written.retained))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_start_at_once_make_the_schema_once() {
    let Some(server) = Postgres::start() else { return };
    let opened = futures_util::future::join_all((0..10).map(|_| open(&server, ""))).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    assert_eq!(server.sql("SELECT count(*), max(version) FROM mainstay.migration"), format!("1|{SCHEMA_VERSION}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_on_its_own_version_and_the_next_and_on_no_other() {
    let Some(server) = Postgres::start() else { return };
    let absent = open(&server, ", migrate: check").await.expect_err("there is nothing");
    let wanted = "`mainstay ledger schema mainstay --sql --from 0`";
    assert!(matches!(absent, OpenError::Older { found: 0, .. }) && absent.to_string().contains(wanted), "{absent}");
    server.sql(&schema_sql("mainstay", 0, None));
    let checked = open(&server, ", migrate: check").await.expect("its owner has made it");
    let written = write(&checked, 1).await;
    let (next, after) = (SCHEMA_VERSION + 1, SCHEMA_VERSION + 2);
    server.sql(&format!("INSERT INTO mainstay.migration (version) VALUES ({next})"));
    let ahead = open(&server, "").await.expect("the new half of a rolling upgrade has migrated");
    assert!(reads(&ahead, &written).await.expect("it reads"));
    server.sql(&format!("INSERT INTO mainstay.migration (version) VALUES ({after})"));
    for migrate in ["auto", "check"] {
        let newer = open(&server, &format!(", migrate: {migrate}")).await;
        assert!(matches!(newer, Err(OpenError::Newer { found, .. }) if found == after), "{newer:?}");
    }
}

/// A role that may not change the schema serves from it; what expires is dropped by TRUNCATE, which it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_needs_no_right_to_change_the_schema() {
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE ROLE mainstay_owner; CREATE ROLE mainstay_app LOGIN; GRANT CREATE ON DATABASE postgres TO mainstay_owner");
    server.sql(&format!("SET ROLE mainstay_owner; {}", schema_sql("mainstay", 0, Some("mainstay_app"))));
    let mut own = options(&server.url(), "");
    own.settings.url = own.settings.url.replace("postgres://mainstay@", "postgres://mainstay_app@");
    let ledger = PostgresLedger::open(own.clone()).await.expect("it opens");
    let written = write(&ledger, 1).await;
    assert!(reads(&ledger, &written).await.expect("it reads"));
    let refused = server.try_sql("SET ROLE mainstay_app; ALTER TABLE mainstay.op ADD COLUMN more int");
    assert!(refused.is_err_and(|why| why.contains("must be owner")));
    server.sql("SET ROLE mainstay_app; TRUNCATE mainstay.response_0");
    own.settings.schema = "other".into();
    let denied = PostgresLedger::open(own).await;
    assert!(matches!(&denied, Err(OpenError::Schema { why, .. }) if why.contains("permission denied")), "{denied:?}");
}

fn key_file(dir: &TempDir, name: &str, keys: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let lines: Vec<_> = keys.iter().map(|key| key.repeat(32)).collect();
    fs::write(&path, lines.join("\n")).expect("write the keys");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("their mode");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_needs_the_key_and_a_new_one_takes_over_from_an_old_one() {
    let Some(server) = Postgres::start() else { return };
    let dir = TempDir::new();
    let sealed = async |name: &str, keys: &[&str]| {
        let file = key_file(&dir, name, keys);
        let settings = options(&server.url(), &format!(", encrypt: {{ key_file: {} }}", file.display()));
        PostgresLedger::open(settings).await
    };
    let (old, new) = ("1a", "2b");
    let first = sealed("first", &[old]).await.expect("it opens");
    let before = write(&first, 1).await;
    assert_eq!(server.sql("SELECT count(*) FROM mainstay.op WHERE get_byte(record, 0) <> 225"), "0", "all is sealed");
    for refused in [sealed("wrong", &[new]).await, open(&server, "").await] {
        let refused = refused.expect_err("it has not got the key");
        assert!(refused.to_string().contains("every replica needs the same `ledger.encrypt.key_file`"), "{refused}");
    }
    // Second everywhere, then first everywhere.
    let second = sealed("second", &[old, new]).await.expect("it opens");
    let third = sealed("third", &[new, old]).await.expect("it opens");
    let after = write(&third, 2).await;
    for ledger in [&second, &third] {
        assert!(reads(ledger, &before).await.expect("old") && reads(ledger, &after).await.expect("new"));
    }
    assert_eq!(second.fingerprint_secret(), third.fingerprint_secret(), "fingerprints are made alike");
    let fourth =
        sealed("fourth", &[new]).await.expect("the old key is needed for what it has sealed, and for nothing else");
    assert!(reads(&fourth, &after).await.expect("new"));
    assert!(reads(&fourth, &before).await.is_err(), "sealed with the key that is gone");
    assert!(sealed("late", &[old]).await.is_err(), "the old key alone starts nothing any more");
    let options: Options = options(&server.url(), "");
    assert!(!format!("{options:?}").contains(&old.repeat(32)));
}
