//! What a configuration is made with: what its findings mean, what differs between two, every key there is, and whether what
//! it names is there.

use std::path::PathBuf;

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, run},
};
use serde_json::Value;

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_code_is_explained_and_a_near_miss_is_put_right() {
    for (code, expected) in [
        ("doubt-without-status", "For example:"),
        ("outcome-unknown", "Do not repeat it with a new key"),
        ("not-reachable", "--online"),
        ("MainstayWritesNeedAPerson", "mainstay ops ls --attention"),
        ("conflict", "take the effect back"),
    ] {
        let output = run(&["explain", code]).await;
        assert!(output.status.success() && text(&output).contains(expected), "{code}: {}", text(&output));
    }
    let output = run(&["explain", "doubt-with-status"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("did you mean `doubt-without-status`?"), "{}", text(&output));
    let all = text(&run(&["explain"]).await);
    assert!(
        all.contains("settle-too-early") && all.contains("rate-limited") && all.contains("resolve_exhausted"),
        "{all}"
    );
}

#[tokio::test]
async fn two_configurations_are_compared_by_what_they_mean() {
    let dir = TempDir::new();
    let config = Config::single("127.0.0.1:9000".parse().unwrap(), "timeout: 2s");
    let before = file(&dir, "a.yaml", &config.render());
    let same = file(
        &dir,
        "b.yaml",
        &format!("# said at length\n{}", config.render().replace("timeout: 2s", "timeout: { total: 2000ms }")),
    );
    let after = file(&dir, "c.yaml", &config.render().replace("timeout: 2s", "timeout: 3s"));
    let broken = file(&dir, "d.yaml", "routes: [");
    let output = run(&["config", "diff", &before, &same]).await;
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), ""));
    let output = run(&["config", "diff", &before, &after]).await;
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(1), "policies.p.timeout.total: 2s -> 3s\n"));
    let output = run(&["config", "diff", &before, &broken]).await;
    assert!(output.status.code() == Some(1) && text(&output).contains("d.yaml:1:"), "{}", text(&output));
}

#[tokio::test]
async fn every_key_of_the_schema_is_on_the_page_of_keys_with_its_default() {
    let page = text(&run(&["config", "reference"]).await);
    for row in [
        "| `policies.NAME.timeout.total` | duration | `15s` |",
        "| `probes.address` | text |",
        "| `policies.NAME.idempotency.status.rules[].then` |",
        "| `listeners.NAME.client` | map | the peer |",
    ] {
        assert!(page.contains(row), "{row} is missing: {page}");
    }
    let schema: Value = serde_json::from_slice(&run(&["config", "schema"]).await.stdout).unwrap();
    assert!(schema["$id"].is_string());
    for section in schema["properties"].as_object().unwrap().keys() {
        assert!(page.contains(&format!("\n## {section}\n")), "{section} is missing");
    }
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        for key in definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(page.contains(&format!(".{key}` |")), "{name}.{key} is missing");
        }
    }
}

/// A write's policy whose status endpoint is asked `GET /by-ref/{key}`.
fn asking(upstream: std::net::SocketAddr) -> Config {
    let rules = "[{ status: 200, then: succeeded }, { status: 404, then: not_found }]";
    let write = format!(
        "timeout: 2s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", rules: {rules} }} }}"
    );
    Config::new().upstream("app", upstream, "").policy("write", &write).route(
        "path: /pay, methods: [POST]",
        "app",
        "write",
    )
}

#[tokio::test]
async fn what_is_named_is_looked_at_and_nothing_but_a_get_is_sent() {
    let upstream = Upstream::answering(Answer::json(404, "{}")).await;
    let dir = TempDir::new();
    let ledger = dir.join("ledger");
    let config = asking(upstream.addr).ledger(&format!("path: \"{}\"", ledger.display()));
    let path = file(&dir, "mainstay.yaml", &config.render());
    let output = run(&["check", "--online", &path]).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in ["connected to", "it is made at the first start", "which the rules take for not_found"] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
    assert!(!ledger.exists(), "nothing is made");
    let asked = upstream.only();
    assert!(asked.method == "GET" && asked.target.starts_with("/by-ref/mainstay-check-"), "{asked:?}");
    run(&["check", &path]).await;
    assert_eq!(upstream.count(), 1, "only online");
}

#[tokio::test]
async fn a_status_endpoint_that_believes_anything_or_proves_nothing_is_found() {
    for (answer, code, severity, exit, denied) in [
        (Answer::json(200, "{}"), "status-believes-anything", "error", 1, 1),
        (Answer::ok("page not found"), "status-proves-nothing", "warning", 0, 1),
        (Answer::status(500), "status-proves-nothing", "warning", 0, 1),
    ] {
        let upstream = Upstream::answering(answer).await;
        let dir = TempDir::new();
        let path = file(&dir, "mainstay.yaml", &asking(upstream.addr).render());
        let output = run(&["check", "--online", "-o", "json", &path]).await;
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let found = list.iter().find(|finding| finding["code"] == code);
        let found = found.unwrap_or_else(|| panic!("{code}: {list:?}"));
        assert_eq!((&found["severity"], output.status.code()), (&severity.into(), Some(exit)), "{found}");
        assert!(found["cure"].as_str().is_some_and(|cure| cure.len() > 20), "{found}");
        let output = run(&["check", "--online", "--deny", "warnings", &path]).await;
        assert_eq!(output.status.code(), Some(denied), "{code}: {}", text(&output));
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_with_its_reason() {
    let dir = TempDir::new();
    let refusing = Refusing::new();
    std::fs::create_dir(dir.join("ledger")).unwrap();
    std::fs::write(dir.join("ledger/ledger.db"), "no ledger at all, but long enough to be read as one").unwrap();
    let config = asking(refusing.addr).ledger(&format!("path: \"{}\"", dir.join("ledger").display()));
    let config =
        config.render().replace("upstreams:\n", "upstreams:\n  lost: { endpoints: [\"http://nowhere.invalid:1\"] }\n");
    let output = run(&["check", "--online", &file(&dir, "mainstay.yaml", &config)]).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in
        ["refused", "[not-reachable]", "cannot resolve nowhere.invalid", "[ledger-not-readable]", "is not well"]
    {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
}
