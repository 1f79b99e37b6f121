//! What lies on the disk: sealed or not, and what `mainstay ledger` says of it.

use std::{os::unix::fs::PermissionsExt, path::Path};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, run},
};

const KEY: &str = "canary-key-4711";
const BODY: &str = "canary-body-4711";
const TOKEN: &str = "canary-token-4711";

fn key_file(home: &TempDir, name: &str, content: &str, mode: u32) -> std::path::PathBuf {
    let path = home.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn config(upstream: &Upstream, home: &TempDir, more: &str) -> Config {
    let status = "status: { request: \"GET /by-ref/{key}\", rules: [{ status: 200, then: succeeded }] }";
    Config::single(upstream.addr, &format!("timeout: 300ms, idempotency: {{ required: true, {status} }}"))
        .ledger(&format!("path: \"{}\"{more}", home.join("ledger").display()))
        .top("drain: { delay: 0s }")
}

/// Which of `words` stand in any file of the ledger.
fn seen<'w>(home: &TempDir, words: &[&'w str]) -> Vec<&'w str> {
    let files = std::fs::read_dir(home.join("ledger")).unwrap().flatten();
    let bytes: Vec<_> = files.flat_map(|file| std::fs::read(file.path()).unwrap()).collect();
    let is_in = |word: &&&str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    words.iter().filter(is_in).copied().collect()
}

/// One write that is answered, and one that is in doubt.
async fn write_two(proxy: &Proxy) {
    let request = |key: &str| Request::keyed("/pay", key, BODY).header("Authorization", TOKEN);
    proxy.send(request(KEY)).await.expect_upstream(201);
    proxy.send(request("lost")).await.expect_problem(504, "outcome-unknown");
}

async fn upstream() -> Upstream {
    Upstream::start(|seen| match (seen.header("idempotency-key"), seen.index) {
        (Some("lost"), _) => vec![Step::Body, Step::Stall],
        _ => Answer::status(201).body(BODY).steps(),
    })
    .await
}

#[tokio::test]
async fn sealed_a_ledger_shows_neither_key_nor_body_nor_token() {
    let home = TempDir::new();
    let upstream = upstream().await;
    let hex = "0123456789abcdef".repeat(4);
    let file = key_file(&home, "key", &format!("{hex}\n"), 0o600);
    let mut config = config(&upstream, &home, &format!(", encrypt: {{ key_file: \"{}\" }}", file.display()));
    let mut proxy = Proxy::start(config.clone()).await;
    write_two(&proxy).await;
    assert_eq!(seen(&home, &[KEY, BODY, TOKEN]), [""; 0], "in the log");
    assert!(proxy.terminate().await.success());
    assert_eq!(seen(&home, &[KEY, BODY, TOKEN]), [""; 0], "in the file");
    config.move_away();
    let mut proxy = Proxy::start(config.clone()).await;
    let repeat = proxy.send(Request::keyed("/pay", KEY, BODY).header("Authorization", TOKEN)).await;
    assert_eq!((repeat.status, repeat.text().as_str()), (201, BODY));
    assert!(proxy.terminate().await.success());

    let yaml = home.join("mainstay.yaml");
    std::fs::write(&yaml, config.render()).unwrap();
    for (content, mode, words) in [
        ("fedcba9876543210".repeat(4), 0o600, "is sealed with key"),
        ("short".to_owned(), 0o600, "holds no key"),
        (hex, 0o644, "open to everybody"),
    ] {
        key_file(&home, "key", &content, mode);
        let output = run(&["-c", yaml.to_str().unwrap()]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && !said.contains(&content), "{said}");
    }
}

#[tokio::test]
async fn unsealed_a_ledger_shows_no_token_and_no_key_that_nothing_asks_for() {
    let home = TempDir::new();
    let upstream = upstream().await;
    let config = Config::single(upstream.addr, "timeout: 300ms, idempotency: { required: true }")
        .ledger(&format!("path: \"{}\"", home.join("ledger").display()));
    let proxy = Proxy::start(config).await;
    write_two(&proxy).await;
    assert_eq!(seen(&home, &[KEY, BODY, TOKEN]), [BODY], "only the answer is kept");
}

async fn ledger(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["ledger"], arguments].concat()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

async fn agrees(home: &TempDir, places: &[&Path]) {
    for place in places {
        let place = place.to_str().unwrap();
        let (code, said, errors) = ledger(&["check", place]).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
        let (code, stats, errors) = ledger(&["stats", "--json", place]).await;
        assert_eq!(code, Some(0), "{errors}");
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!((&stats["operations"]["succeeded"], &stats["operations"]["unknown"]), (&1.into(), &1.into()));
        assert!(stats["oldest_open"]["id"].is_string() && stats["file_bytes"].as_u64() > Some(0), "{stats}");
        let (code, lines, errors) = ledger(&["export", place]).await;
        assert_eq!(code, Some(0), "{errors}");
        let documents: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("a JSON document a line")).collect();
        assert_eq!(documents.len(), 2);
        assert_eq!((&documents[0]["state"], &documents[1]["state"]), (&"succeeded".into(), &"unknown".into()));
        assert_eq!([KEY, BODY, TOKEN].map(|word| lines.contains(word)), [false; 3]);
    }
    assert_eq!(seen(home, &[TOKEN]), [""; 0]);
}

#[tokio::test]
async fn a_ledger_is_checked_counted_and_exported_beside_its_proxy_and_without() {
    let home = TempDir::new();
    let upstream = upstream().await;
    let file = key_file(&home, "key", &"0f".repeat(32), 0o640);
    let config = config(&upstream, &home, &format!(", encrypt: {{ key_file: \"{}\" }}", file.display()));
    let yaml = home.join("mainstay.yaml");
    std::fs::write(&yaml, config.render()).unwrap();
    let mut proxy = Proxy::start(config).await;
    write_two(&proxy).await;
    agrees(&home, &[&yaml]).await;
    proxy.signal("KILL");
    proxy.ended().await;
    agrees(&home, &[&yaml]).await;
    let (code, _, errors) = ledger(&["export", home.join("ledger").to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("--key-file"), "{errors}");
    let (code, lines, _) =
        ledger(&["export", home.join("ledger").to_str().unwrap(), "--key-file", file.to_str().unwrap()]).await;
    assert_eq!((code, lines.lines().count()), (Some(0), 2));
}

#[tokio::test]
async fn what_is_no_ledger_and_what_is_damaged_ends_with_one() {
    let home = TempDir::new();
    std::fs::create_dir_all(home.join("ledger")).unwrap();
    for (content, words) in [(None, "no ledger"), (Some("something else"), "is not a ledger")] {
        if let Some(content) = content {
            std::fs::write(home.join("ledger/ledger.db"), content).unwrap();
        }
        for command in ["check", "stats", "export"] {
            let (code, said, errors) = ledger(&[command, home.join("ledger").to_str().unwrap()]).await;
            assert_eq!(code, Some(1), "{said}");
            assert!(errors.contains(words), "{errors}");
        }
    }
    std::fs::remove_dir_all(home.join("ledger")).unwrap();
    let upstream = upstream().await;
    let mut proxy = Proxy::start(config(&upstream, &home, "")).await;
    write_two(&proxy).await;
    assert!(proxy.terminate().await.success());
    let file = home.join("ledger/ledger.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let place = bytes.windows(BODY.len()).position(|window| window == BODY.as_bytes()).expect("the answer is there");
    // Longer than the file says: the answer no longer adds up.
    bytes[place - 1] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, said, errors) = ledger(&["check", home.join("ledger").to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{said} {errors}");
    assert!(said.contains("cannot be read"), "{said}");
}
