//! Copies of a ledger, and what becomes of one that is damaged, lost, or sealed with a key that has to go.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Output};

use mainstay_tests::{
    prelude::*,
    proxy::{Launch, TempDir, run},
    skew::Skew,
};
use serde_json::Value;

use super::{admin_events::Watching, operate::typed};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn ledger(arguments: &[&str]) -> Output {
    run(&[&["ledger"], arguments].concat()).await
}

fn config(upstream: &Upstream, ledger: &Path, more: &str) -> Config {
    Config::new()
        .upstream("app", upstream.addr, "")
        .policy("p", "timeout: 5s, idempotency: true")
        .route("path: /zebra", "app", "p")
        .ledger(&format!("path: \"{}\"{more}", ledger.display()))
        .top("drain: { delay: 0s }")
}

async fn start(config: &Config) -> Proxy {
    let mut config = config.clone();
    config.move_away();
    Proxy::start(config).await
}

async fn write(proxy: &Proxy, key: &str) -> Reply {
    proxy.send(Request::keyed("/zebra", key, "x")).await
}

fn echo() -> impl Future<Output = Upstream> {
    Upstream::start(|seen| {
        Answer::status(201).body(seen.header("idempotency-key").unwrap_or("none").to_owned()).steps()
    })
}

#[tokio::test]
async fn a_copy_made_beside_a_running_proxy_replays_what_it_knows_and_says_what_it_does_not() {
    let (home, upstream) = (TempDir::new(), echo().await);
    let (path, copy) = (home.join("ledger"), home.join("copy.db").to_string_lossy().into_owned());
    let directory = path.to_string_lossy().into_owned();
    let config = config(&upstream, &path, "");
    let mut proxy = start(&config).await;
    write(&proxy, "before").await.expect_upstream(201);
    let made = ledger(&["backup", &directory, &copy, "-o", "json"]).await;
    let document: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{}", text(&made)));
    assert_eq!((&document["operations"], &document["records_read"]), (&1.into(), &true.into()), "{document}");
    write(&proxy, "after").await.expect_upstream(201);
    let again = ledger(&["backup", &directory, &copy]).await;
    assert!(again.status.code() == Some(1) && text(&again).contains("not touched"), "{}", text(&again));

    // Nothing is written over, and nothing beside a process that runs.
    let over = ledger(&["restore", &directory, "--from", &copy]).await;
    assert!(over.status.code() == Some(1) && text(&over).contains("in use"), "{}", text(&over));
    proxy.signal("KILL");
    proxy.ended().await;
    let over = ledger(&["restore", &directory, "--from", &copy]).await;
    assert!(over.status.code() == Some(1) && text(&over).contains("is there already"), "{}", text(&over));
    // What a killed process acknowledged may be in the log alone: whoever moves only the file away keeps it, too.
    std::fs::rename(path.join("ledger.db"), home.join("lost.db")).unwrap();
    let over = ledger(&["restore", &directory, "--from", &copy]).await;
    let said = text(&over);
    assert!(over.status.code() == Some(1) && said.contains("ledger.db-wal") && said.contains(".lost"), "{said}");
    assert!(path.join("ledger.db-wal").exists() && !path.join("ledger.db").exists());
    std::fs::remove_dir_all(&path).unwrap();
    let restored = ledger(&["restore", &directory, "--from", &copy]).await;
    let said = text(&restored);
    assert!(restored.status.success() && said.contains("a repeat of them executes again"), "{said}");
    assert!(said.contains(document["knows_until"].as_str().unwrap()), "{said}");

    let proxy = start(&config).await;
    let repeat = write(&proxy, "before").await;
    assert_eq!((repeat.status, repeat.header("idempotent-replayed")), (201, Some("true")));
    write(&proxy, "after").await.expect_upstream(201);
    assert_eq!((upstream.effects("before"), upstream.effects("after")), (1, 2), "as it was said");
}

#[tokio::test]
async fn in_quarantine_a_key_without_a_record_is_refused_until_it_is_lifted() {
    let (home, upstream) = (TempDir::new(), echo().await);
    let (path, copy) = (home.join("ledger"), home.join("copy.db").to_string_lossy().into_owned());
    let directory = path.to_string_lossy().into_owned();
    let config = config(&upstream, &path, "");
    let mut proxy = start(&config).await;
    write(&proxy, "known").await.expect_upstream(201);
    assert!(ledger(&["backup", &directory, &copy]).await.status.success());
    write(&proxy, "lost").await.expect_upstream(201);
    assert!(proxy.terminate().await.success());
    std::fs::remove_dir_all(&path).unwrap();
    let restored = ledger(&["restore", &directory, "--from", &copy, "--quarantine"]).await;
    assert!(restored.status.success() && text(&restored).contains("ledger lift"), "{}", text(&restored));

    let mut proxy = start(&config.clone().admin()).await;
    let (code, screen, words) = typed(&proxy, &["status"]).await;
    assert!(code == 1 && screen.contains("QUARANTINED until 20") && screen.contains("ledger lift"), "{screen}{words}");
    let until = proxy.operate(Request::get("/status")).await.json()["ledger"]["quarantined_until"].clone();
    let until = until.as_str().expect("a time");
    assert!(until.ends_with('Z') && proxy.log().contains(until), "{until} in {}", proxy.log());
    // What has a record is answered nowhere else, so traffic comes all the same; but it is said.
    assert_eq!(proxy.metric("mainstay_ledger_writable", &[]).await, Some(0.0));
    let said = format!("in quarantine until {until}: keys without a record are refused");
    for (path, line) in
        [("/readyz", format!("ok\n{said}\n")), ("/readyz?verbose", format!("ledger-writable ok: {said}\n"))]
    {
        eventually("readiness says so", || async {
            let answer = proxy.probe(path).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.text().contains(&line).then_some(())
        })
        .await;
    }
    assert_eq!(write(&proxy, "known").await.header("idempotent-replayed"), Some("true"));
    assert_eq!(write(&proxy, "lost").await.expect_problem(503, "ledger-unavailable")["effect"], "none");
    proxy.send(Request::get("/zebra")).await.expect_upstream(201);
    assert_eq!(upstream.effects("lost"), 1, "not a second time");
    let early = ledger(&["lift", &directory]).await;
    assert!(early.status.code() == Some(1) && text(&early).contains("in use"), "{}", text(&early));
    assert!(proxy.terminate().await.success());
    let lifted = ledger(&["lift", &directory]).await;
    assert!(lifted.status.success() && text(&lifted).contains("lifted"), "{}", text(&lifted));
    let proxy = start(&config).await;
    write(&proxy, "new").await.expect_upstream(201);
}

#[tokio::test]
async fn a_quarantine_that_passes_is_told_to_those_who_watch_the_ledger() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let (home, upstream, clock) = (TempDir::new(), echo().await, Skew::of(0));
    let (path, copy) = (home.join("ledger"), home.join("copy.db").to_string_lossy().into_owned());
    let directory = path.to_string_lossy().into_owned();
    let config = config(&upstream, &path, "");
    let mut proxy = start(&config).await;
    write(&proxy, "known").await.expect_upstream(201);
    assert!(ledger(&["backup", &directory, &copy]).await.status.success());
    assert!(proxy.terminate().await.success());
    std::fs::remove_dir_all(&path).unwrap();
    assert!(ledger(&["restore", &directory, "--from", &copy, "--quarantine"]).await.status.success());

    let mut config = config.admin();
    config.move_away();
    let launch = Launch { variables: clock.variables(), ..Launch::default() };
    let proxy = Proxy::launch(config, &launch).await.unwrap_or_else(|log| panic!("{log}"));
    let standing = || async { proxy.operate(Request::get("/status")).await.json()["ledger"]["health"].clone() };
    assert_eq!(standing().await, "quarantined");
    let mut watching = Watching::on(&proxy, "?kind=ledger").await;
    // Only what was seen before can be seen to change.
    eventually("readiness has looked", || async {
        proxy.probe("/readyz").await.text().contains("quarantine").then_some(())
    })
    .await;
    clock.set(31 * DAY_MS);
    let told = watching.event("ledger").await;
    assert!(told["health"] == "writable" && told["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
    assert_eq!(standing().await, "writable");
    assert_eq!(proxy.metric("mainstay_ledger_writable", &[]).await, Some(1.0));
    eventually("readiness says nothing more", || async {
        (proxy.probe("/readyz").await.text() == "ok\n").then_some(())
    })
    .await;
    write(&proxy, "new").await.expect_upstream(201);
}

/// Writes over one page of the operations' table; how many of `file`'s pages had some.
fn damage(file: &Path) -> usize {
    const PAGE: usize = 4096;
    let mut bytes = std::fs::read(file).unwrap();
    let is_leaf = |page: &[u8]| page[0] == 0x0d && page.windows(6).any(|text| text == b"/zebra");
    let pages: Vec<usize> = (1..bytes.len() / PAGE).filter(|at| is_leaf(&bytes[at * PAGE..(at + 1) * PAGE])).collect();
    let middle = pages[pages.len() / 2];
    bytes[middle * PAGE..(middle + 1) * PAGE].fill(0xa5);
    std::fs::write(file, bytes).unwrap();
    pages.len()
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_ledger_is_saved() {
    let (home, upstream) = (TempDir::new(), echo().await);
    let path = home.join("ledger");
    let directory = path.to_string_lossy().into_owned();
    let mut proxy = start(&config(&upstream, &path, "")).await;
    for number in 0..80 {
        write(&proxy, &format!("key-{number}")).await.expect_upstream(201);
    }
    assert!(proxy.terminate().await.success());
    let sound = ledger(&["salvage", &directory]).await;
    assert!(sound.status.success() && sound.stdout == ledger(&["export", &directory]).await.stdout, "{}", text(&sound));
    assert!(damage(&path.join("ledger.db")) > 2, "the table has several pages");
    let checked = ledger(&["check", &directory, "-o", "json"]).await;
    let document: Value = serde_json::from_slice(&checked.stdout).unwrap_or_else(|_| panic!("{}", text(&checked)));
    assert!(checked.status.code() == Some(1) && document["ok"] == false, "{document}");
    assert!(document["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{document}");

    let saved = ledger(&["salvage", &directory]).await;
    let lines = String::from_utf8_lossy(&saved.stdout).lines().count();
    assert!((30..80).contains(&lines), "{lines} of 80: {}", String::from_utf8_lossy(&saved.stderr));
    assert!(saved.status.code() == Some(1) && text(&saved).contains("could not be"), "it says that there was more");
    let target = home.join("copy.db").to_string_lossy().into_owned();
    let copied = ledger(&["backup", &directory, &target]).await;
    assert_eq!(copied.status.code(), Some(1), "no copy of what is damaged: {}", text(&copied));
    assert!(!home.join("copy.db").exists());
}

#[tokio::test]
async fn after_a_rekey_the_old_key_may_go() {
    let (home, upstream) = (TempDir::new(), echo().await);
    let path = home.join("ledger");
    let directory = path.to_string_lossy().into_owned();
    let (key, old, new) = (home.join("key"), "0123456789abcdef".repeat(4), "fedcba9876543210".repeat(4));
    let keys = |content: &str| {
        std::fs::write(&key, content).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    keys(&old);
    let config = config(&upstream, &path, &format!(", encrypt: {{ key_file: \"{}\" }}", key.display()));
    let mut proxy = start(&config).await;
    write(&proxy, "sealed").await.expect_upstream(201);
    keys(&format!("{new}\n{old}\n"));
    let file = key.to_string_lossy().into_owned();
    let rekey = ["rekey", &directory, "--key-file", &file];
    let early = ledger(&rekey).await;
    assert!(early.status.code() == Some(1) && text(&early).contains("in use"), "{}", text(&early));
    assert!(proxy.terminate().await.success());
    let done = ledger(&rekey).await;
    assert!(done.status.success() && text(&done).contains("2 rows"), "record and answer: {}", text(&done));
    keys(&new);
    let checked = ledger(&["check", &directory, "--key-file", &file]).await;
    assert!(checked.status.success() && text(&checked).contains("ok: 1 operations"), "{}", text(&checked));
    let proxy = start(&config).await;
    let repeat = write(&proxy, "sealed").await;
    assert_eq!((repeat.text().as_str(), repeat.header("idempotent-replayed")), ("sealed", Some("true")));
}

#[tokio::test]
async fn a_sealed_copy_is_put_in_place_sealed_and_replays_with_its_key_alone() {
    let (home, upstream) = (TempDir::new(), echo().await);
    let (path, copy) = (home.join("ledger"), home.join("copy.db").to_string_lossy().into_owned());
    let (directory, key) = (path.to_string_lossy().into_owned(), home.join("key"));
    let keys = |content: &str| {
        std::fs::write(&key, content).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    keys(&"0123456789abcdef".repeat(4));
    let file = key.to_string_lossy().into_owned();
    let config = config(&upstream, &path, &format!(", encrypt: {{ key_file: \"{file}\" }}"));
    let mut proxy = start(&config).await;
    write(&proxy, "order-4711").await.expect_upstream(201);
    let made = ledger(&["backup", &directory, &copy, "--key-file", &file]).await;
    assert!(made.status.success(), "{}", text(&made));
    assert!(proxy.terminate().await.success());
    let bytes = std::fs::read(&copy).unwrap();
    assert!(!bytes.windows(10).any(|text| text == b"order-4711"), "the copy is as sealed as the ledger");

    // With another key nothing is put in place; without one it is, and says that its records were not read.
    std::fs::remove_dir_all(&path).unwrap();
    keys(&"fedcba9876543210".repeat(4));
    let refused = ledger(&["restore", &directory, "--from", &copy, "--key-file", &file]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(!path.join("ledger.db").exists(), "nothing half done stays");
    let restored = ledger(&["restore", &directory, "--from", &copy]).await;
    let said = text(&restored);
    assert!(restored.status.success() && said.contains("sealed: their records were not read"), "{said}");
    std::fs::remove_dir_all(&path).unwrap();

    keys(&"0123456789abcdef".repeat(4));
    let restored = ledger(&["restore", &directory, "--from", &copy, "--key-file", &file]).await;
    let said = text(&restored);
    assert!(restored.status.success() && said.contains("1 operations,") && !said.contains("not read"), "{said}");
    let proxy = start(&config).await;
    let repeat = write(&proxy, "order-4711").await;
    assert_eq!((repeat.text().as_str(), repeat.header("idempotent-replayed")), ("order-4711", Some("true")));
    assert_eq!(upstream.effects("order-4711"), 1);
}

#[tokio::test]
async fn for_a_shared_ledger_the_tools_of_its_database_are_named() {
    let home = TempDir::new();
    let config = Config::single("127.0.0.1:9000".parse().unwrap(), "timeout: 5s, idempotency: true")
        .ledger("store: postgres, service: pay, url: \"postgres://mainstay@127.0.0.1:1/mainstay\"");
    let (yaml, copy) = (home.join("mainstay.yaml"), home.join("copy.db").to_string_lossy().into_owned());
    std::fs::write(&yaml, config.render()).unwrap();
    let output = ledger(&["backup", &yaml.to_string_lossy(), &copy]).await;
    assert!(output.status.code() == Some(1) && text(&output).contains("pg_dump"), "{}", text(&output));
    let output = ledger(&["schema", "-o", "json"]).await;
    assert!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["version"].is_number());
}
