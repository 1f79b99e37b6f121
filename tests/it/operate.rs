//! What operators type, against a running proxy.

use std::process::{Output, Stdio};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary},
};
use serde_json::Value;

/// Takes every write and loses its answer.
async fn losing_proxy(policy: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    (upstream, proxy)
}

const POLICY: &str = "timeout: 5s, idempotency: { required: true }, circuit_breaker: { consecutive_errors: 99 }";

async fn lose(proxy: &Proxy, key: &str) -> String {
    proxy.send(Request::keyed("/pay", key, "x")).await.operation()
}

async fn typed_at(address: &str, line: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(line).env("MAINSTAY_ADMIN", address).env("USER", "ana").stdin(Stdio::null()).kill_on_drop(true);
    within("the command ends", command.output()).await.expect("run mainstay")
}

/// The id as tables show it.
pub(super) fn short(id: &str) -> String {
    let number = id[..16].trim_start_matches('0');
    format!("{number}-{}", &id[16..20])
}

/// Exit code, standard output, standard error.
pub(super) async fn typed(proxy: &Proxy, line: &[&str]) -> (i32, String, String) {
    let output = typed_at(&format!("http://{}", proxy.config.admin.unwrap()), line).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it was not killed"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_story_of_a_night_from_listing_to_resolution() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    let (code, listed, words) = typed(&proxy, &["ops", "ls", "--state", "unknown"]).await;
    assert_eq!(code, 0, "{words}");
    let row = listed.lines().nth(1).expect("a row").to_owned();
    assert!(listed.starts_with("ID ") && row.starts_with(&short(&id)) && row.contains("unknown"), "{listed}");
    assert_eq!(typed(&proxy, &["ops", "ls", "--older", "10m"]).await.1, "no operations\n");

    let (code, story, _) = typed(&proxy, &["ops", "show", &id]).await;
    let typed_id = short(&id).split('-').next().unwrap_or_default().to_owned();
    let cure = format!("mainstay ops resolve {typed_id} --as succeeded --reason");
    assert!(code == 0 && story.contains("nobody knows yet") && story.contains(&cure), "{story}");

    assert!(!story.contains("ops query") && !story.contains("ops redispatch"), "neither would be accepted: {story}");
    for (act, why) in [("query", "no status endpoint"), ("redispatch", "honours_key")] {
        let (code, _, words) = typed(&proxy, &["ops", act, &id, "--reason", "to see"]).await;
        assert!(code == 1 && words.contains(why), "{act}: {words}");
    }

    let resolve = ["ops", "resolve", &id, "--as", "succeeded", "--reason", "the bank says booked"];
    let (code, said, words) = typed(&proxy, &resolve).await;
    assert_eq!((code, said.as_str()), (0, format!("{}: unknown -> succeeded\n", short(&id)).as_str()), "{words}");
    let (code, _, words) = typed(&proxy, &resolve).await;
    assert!(code == 1 && words.contains("settled state never changes"), "{words}");

    let (_, story, _) = typed(&proxy, &["ops", "show", &id]).await;
    assert!(story.contains("resolve by ana@") && story.contains("Nothing is left"), "{story}");
    let (code, trail, _) = typed(&proxy, &["audit", "--operation", &id]).await;
    assert!(code == 0 && trail.contains("unknown -> succeeded") && trail.contains("ana@"), "{trail}");
    assert!(trail.lines().count() > 3, "{trail}");
}

#[tokio::test]
async fn freeing_a_key_comes_with_its_warning() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    let line = ["ops", "resolve", &id, "--as", "not_executed", "--reason", "no trace of it", "--actor", "bo"];
    let (code, said, _) = typed(&proxy, &line).await;
    assert!(code == 0 && said.contains("unknown -> not_executed") && said.contains("happens twice"), "{said}");
    let trail = typed(&proxy, &["audit", "-o", "json"]).await.1;
    let trail: Value = serde_json::from_str(&trail).expect("JSON");
    assert_eq!(trail["entries"][0]["actor"], "bo");
}

#[tokio::test]
async fn a_listing_follows_the_cursors_and_is_json_for_programs() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let mut ids = Vec::new();
    for n in 0..205 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    let (code, listed, _) = typed(&proxy, &["ops", "ls", "--all", "--output", "json", "--route", "/**"]).await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let shown: Vec<&str> = listed["operations"].as_array().unwrap().iter().filter_map(|op| op["id"].as_str()).collect();
    assert_eq!((code, shown), (0, ids.iter().map(String::as_str).collect()));
    let (_, few, _) = typed(&proxy, &["ops", "ls", "--limit", "3"]).await;
    assert!(few.lines().count() == 7 && few.contains("--limit"), "{few}");
    let shown = typed(&proxy, &["ops", "show", &ids[0], "--output", "json"]).await.1;
    assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON")["id"], ids[0].as_str());
}

#[tokio::test]
async fn breakers_are_held_and_let_go() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let (code, listed, _) = typed(&proxy, &["breakers"]).await;
    assert!(code == 0 && listed.lines().nth(1).is_some_and(|row| row.starts_with("p@app  closed")), "{listed}");
    let (code, said, words) = typed(&proxy, &["breakers", "force", "p@app", "open", "--reason", "maintenance"]).await;
    assert_eq!((code, said.as_str()), (0, "p@app: forced_open\n"), "{words}");
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(503, "circuit-open");
    let (code, said, _) = typed(&proxy, &["breakers", "release", "p@app", "--reason", "over"]).await;
    assert_eq!((code, said.as_str()), (0, "p@app: closed\n"));
    let (code, _, words) = typed(&proxy, &["breakers", "release", "p@ap", "--reason", "over"]).await;
    assert!(code == 1 && words.contains("there is p@app"), "{words}");
}

#[tokio::test]
async fn exit_codes_tell_refused_from_mistyped_from_absent() {
    let (upstream, proxy) = losing_proxy(POLICY).await;
    let absent = "0".repeat(32);
    let (code, _, words) = typed(&proxy, &["ops", "show", &absent]).await;
    assert!(code == 1 && words.contains("no such operation"), "{words}");
    for line in [
        &["ops", "resolve", &absent, "--as", "succeeded"][..],
        &["ops", "resolve", &absent, "--as", "lost", "--reason", "x"],
        &["ops", "frobnicate"],
        &["ops", "ls", "--state", "lost"],
        &["ops", "ls", "--older", "10"],
        &["ops", "ls", "--admin", "https://127.0.0.1:9191"],
        &["ops", "ls", "--token-file", "/nonexistent/token"],
    ] {
        let (code, _, words) = typed(&proxy, line).await;
        assert_eq!(code, 2, "{line:?}: {words}");
    }
    for address in [free_addr(), upstream.addr, proxy.probes] {
        let output = typed_at(&address.to_string(), &["ops", "ls"]).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{address}: {words}");
        for part in ["--admin", "MAINSTAY_ADMIN", "kubectl exec"] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }
}

#[tokio::test]
async fn a_token_is_taken_from_its_file() {
    let home = TempDir::new();
    std::fs::write(home.join("token"), "s3cret\n").unwrap();
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin_with(&home.join("token"))).await;
    let (code, _, words) = typed(&proxy, &["ops", "ls"]).await;
    assert!(code == 1 && words.contains("--token-file"), "{words}");
    let file = home.join("token");
    let (code, listed, _) = typed(&proxy, &["ops", "ls", "--token-file", file.to_str().unwrap()]).await;
    assert_eq!((code, listed.as_str()), (0, "no operations\n"));
}
