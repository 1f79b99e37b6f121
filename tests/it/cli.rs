//! The command line: `check`, `config show`, `config schema`, and what a bad file says.

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary, run},
};

fn file(dir: &TempDir, text: &str) -> String {
    let path = dir.join("mainstay.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// The ten-line example of the design.
const EXAMPLE: &str = "\
listeners:
  inbound:
    address: 0.0.0.0:8080
upstreams:
  app:
    endpoints: [http://127.0.0.1:9000]
routes:
  - match: { path: /payments/**, methods: [POST] }
    upstream: app
    policy: write
  - match: { path: /** }
    upstream: app
    policy: read
policies:
  read:  { timeout: 1s, retry: 3, rate_limit: 500/s, circuit_breaker: { error_ratio: 0.5 } }
  write: { timeout: { total: 2s, attempt: 600ms }, idempotency: { required: true } }
ledger: { store: memory }
";

#[tokio::test]
async fn check_accepts_the_example_and_tells_its_worst_case() {
    let dir = TempDir::new();
    let output = run(&["check", &file(&dir, EXAMPLE)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["/payments/**", "/**", "4"] {
        assert!(text.contains(expected), "{expected} is missing: {text}");
    }
}

#[tokio::test]
async fn a_configuration_is_named_in_one_way_everywhere_or_lies_where_it_is_looked_for() {
    let dir = TempDir::new();
    let path = file(&dir, EXAMPLE);
    assert_eq!(run(&["check", "-c", &path]).await.status.code(), Some(0));
    assert_eq!(run(&["check"]).await.status.code(), Some(1), "neither");
    file(&dir, "listeners: [");
    let serve = || tokio::process::Command::new(binary()).current_dir(dir.join("")).output();
    let output = within("the program ends", serve()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("mainstay.yaml:1:"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = within("the program ends", serve()).await.unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("-c FILE"), "{said:?}");
}

#[tokio::test]
async fn check_refuses_bad_files_with_file_line_and_column() {
    let cases = [
        ("unknown key", EXAMPLE.replace("upstreams:", "upstream:"), 4, "upstreams"),
        ("unknown policy key", EXAMPLE.replace("retry: 3", "retries: 3"), 15, "retry"),
        ("unknown reference", EXAMPLE.replace("policy: read", "policy: raed"), 13, "read"),
        (
            "unknown upstream",
            EXAMPLE.replace("    upstream: app\n    policy: write", "    upstream: ap\n    policy: write"),
            9,
            "app",
        ),
        ("bad duration", EXAMPLE.replace("attempt: 600ms", "attempt: 600"), 16, "600"),
        ("duplicate key", format!("{EXAMPLE}ledger: {{ store: memory }}\n"), 18, "ledger"),
        ("not yaml", EXAMPLE.replace("[POST]", "[POST"), 8, ""),
    ];
    for (name, text, line, hint) in cases {
        let dir = TempDir::new();
        let path = file(&dir, &text);
        let output = run(&["check", &path]).await;
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.code().is_some_and(|code| code != 0), "{name} was accepted: {shown}");
        // A parser may only notice an open bracket on a later line.
        if name != "not yaml" {
            assert!(shown.contains(&format!("mainstay.yaml:{line}:")), "{name}: line {line}: {shown}");
        }
        assert!(shown.contains(hint), "{name}: {hint}: {shown}");
    }
}

#[tokio::test]
async fn the_proxy_does_not_start_on_a_bad_file() {
    let dir = TempDir::new();
    let path = file(&dir, &EXAMPLE.replace("retry: 3", "retries: 3"));
    for arguments in [vec!["-c", path.as_str()], vec!["run", "-c", path.as_str()]] {
        let output = run(&arguments).await;
        assert!(output.status.code().is_some_and(|code| code != 0), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("retries"), "{arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let output = run(&["-c", "/nonexistent/mainstay.yaml"]).await;
    assert!(output.status.code().is_some_and(|code| code != 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/mainstay.yaml"), "{output:?}");
}

/// A newcomer's `-c` before `ops` was passed over in silence, and another proxy's writes were shown.
#[tokio::test]
async fn a_configuration_before_a_command_that_reads_none_is_refused() {
    for command in [&["ops", "ls"][..], &["status"], &["probe"], &["audit"]] {
        let output = run(&[&["-c", "/nonexistent/mainstay.yaml"], command].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("MAINSTAY_ADMIN"), "{command:?}: {said}");
    }
}

#[tokio::test]
async fn config_show_prints_a_file_that_means_the_same() {
    let dir = TempDir::new();
    let first = run(&["config", "show", "-c", &file(&dir, EXAMPLE)]).await;
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let shown = String::from_utf8(first.stdout).unwrap();
    for default in ["late_response", "max_retries: 3", "tombstone"] {
        assert!(shown.contains(default), "{default} is missing: {shown}");
    }
    let again = TempDir::new();
    let second = run(&["config", "show", "-c", &file(&again, &shown)]).await;
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    assert_eq!(String::from_utf8(second.stdout).unwrap(), shown);
}

#[tokio::test]
async fn config_schema_is_a_json_schema() {
    let output = run(&["config", "schema"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].is_string(), "{schema}");
    for key in ["listeners", "upstreams", "routes", "policies", "ledger", "telemetry", "probes", "limits", "drain"] {
        assert!(schema["properties"][key].is_object(), "{key} is missing");
    }
}

#[tokio::test]
async fn run_and_the_bare_form_are_the_same() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let dir = TempDir::new();
    let config = Config::single(upstream.addr, "timeout: 5s");
    let path = file(&dir, &config.render());
    let mut child = tokio::process::Command::new(mainstay_tests::proxy::binary())
        .args(["run", "-c", &path])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("the proxy listens", || async { tokio::net::TcpStream::connect(config.data).await.ok() }).await;
    Request::get("/").send(config.data).await.expect_upstream(200);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn environment_variables_are_substituted() {
    let dir = TempDir::new();
    let text = EXAMPLE.replace("http://127.0.0.1:9000", "\"${MAINSTAY_IT_UNSET:-http://fallback.test:1}\"");
    let output = run(&["config", "show", "-c", &file(&dir, &text)]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("fallback.test:1"), "{output:?}");
    let text = EXAMPLE.replace("http://127.0.0.1:9000", "\"${MAINSTAY_IT_UNSET}\"");
    let output = run(&["check", &file(&dir, &text)]).await;
    assert!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    assert!(format!("{output:?}").contains("MAINSTAY_IT_UNSET"));
}

#[tokio::test]
async fn what_is_tested_is_no_build_that_can_be_broken_on_purpose() {
    let output = run(&["--version"]).await;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let beginning = format!("mainstay {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&beginning) && version.trim().ends_with(')'), "{version}");
    let told = run(&["version", "-o", "json"]).await;
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["version"], &told["faults"]), (&env!("CARGO_PKG_VERSION").into(), &false.into()));
    let named = |member: &str| told[member].as_str().unwrap_or("unknown");
    let build = ["commit", "profile", "target"].map(named).join(", ");
    assert_eq!(version.trim(), format!("{beginning}{build})"));
    assert!(named("target").contains("linux"), "{told}");
    assert_eq!(run(&["version"]).await.stdout, output.stdout);
}
