//! What is said about a configuration, by `check`, at start and at each reload: one list.

use std::process::{Output, Stdio};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary, run},
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

/// Valid, and doubtful in two ways.
const DOUBTFUL: &str = "\
listeners: { inbound: { address: 127.0.0.1:8080, principal: { header: X-Tenant } } }
upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }
routes: [{ match: { path: /payments/, methods: [POST] }, upstream: app, policy: write }]
policies:
  write: { timeout: 2s, idempotency: { required: true } }
";
/// The same without a doubt, but for a slash that should be known.
const NOTED: &str = "\
listeners: { inbound: { address: 127.0.0.1:8080 } }
upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }
routes: [{ match: { path: /payments/, methods: [POST] }, upstream: app, policy: write }]
policies:
  write: { timeout: 2s, idempotency: { required: true, status: none } }
";

async fn fed(arguments: &[&str], text: &str) -> Output {
    let mut child = tokio::process::Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    within("the command ends", child.wait_with_output()).await.unwrap()
}

fn list(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn it_is_said_how_many_connections_a_replica_takes_of_a_shared_store() {
    let shared = format!(
        "{DOUBTFUL}ledger: {{ store: postgres, url: \"postgres://app@127.0.0.1:5432/db\", service: payments }}\n"
    );
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = "\nledger: 3 connections to PostgreSQL per replica\n";
    let (own, shared) = (said(fed(&["check", "-"], DOUBTFUL).await), said(fed(&["check", "-"], &shared).await));
    assert!(shared.contains(line), "{shared}");
    assert!(!own.contains("PostgreSQL"), "{own}");
}

#[tokio::test]
async fn a_doubt_is_shown_with_its_place_its_code_and_its_cure() {
    let output = fed(&["check", "-"], DOUBTFUL).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let picture = "\
<stdin>:5:25: warning: policy `write`: a lost answer waits for a person: nothing says how to ask the service what became of the \
write [doubt-without-status]
   |
 5 |   write: { timeout: 2s, idempotency: { required: true } }
   |                         ^^^^^^^^^^^ add `status`, or say `status: none`";
    assert!(said.contains(picture), "{said}");
    assert!(said.contains("<stdin>:3:27: note: route `/payments/`: `/payments/` does not match `/payments`"), "{said}");
}

#[tokio::test]
async fn warnings_can_be_denied_and_notes_cannot() {
    let denied = fed(&["check", "--deny", "warnings", "-"], DOUBTFUL).await;
    assert_eq!(denied.status.code(), Some(1), "{denied:?}");
    assert!(String::from_utf8_lossy(&denied.stderr).contains("warnings are denied"), "{denied:?}");
    let noted = fed(&["check", "--deny", "warnings", "-"], NOTED).await;
    assert_eq!(noted.status.code(), Some(0), "{noted:?}");
}

#[tokio::test]
async fn findings_are_a_json_list_errors_too() {
    let output = fed(&["check", "-o", "json", "-"], DOUBTFUL).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let codes: Vec<String> = list(&output)
        .iter()
        .map(|it| format!("{} {}", it["severity"].as_str().unwrap(), it["code"].as_str().unwrap()))
        .collect();
    assert_eq!(codes, ["note trailing-slash", "warning doubt-without-status"]);
    let broken = DOUBTFUL.replace("required", "requird").replace("timeout: 2s", "timeout: 2");
    let output = fed(&["check", "-o", "json", "-"], &broken).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = list(&output);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(
        errors[1],
        serde_json::json!({
            "code": "unknown-key", "severity": "error", "file": "<stdin>", "line": 5, "column": 39,
            "source": "  write: { timeout: 2, idempotency: { requird: true } }",
            "subject": "policies.write.idempotency",
            "message": "unknown key `requird` in `policies.write.idempotency`", "cure": "did you mean `required`?",
        })
    );
    let denied = fed(&["check", "-o", "json", "--deny", "warnings", "-"], DOUBTFUL).await;
    assert_eq!((denied.status.code(), list(&denied).len()), (Some(1), 2));
    let absent = run(&["check", "-o", "json", "/no/such/file.yaml"]).await;
    assert_eq!((absent.status.code(), list(&absent)[0]["code"].as_str()), (Some(1), Some("unreadable")));
}

#[tokio::test]
async fn the_file_is_named_anywhere_or_lies_where_it_is_looked_for() {
    let dir = TempDir::new();
    let path = dir.join("mainstay.yaml");
    std::fs::write(&path, NOTED).unwrap();
    let path = path.to_str().unwrap();
    for arguments in [vec!["check", path], vec!["check", "-c", path], vec!["-c", path, "check"]] {
        let output = run(&arguments).await;
        assert!(String::from_utf8_lossy(&output.stdout).contains("is valid"), "{arguments:?}: {output:?}");
    }
    for arguments in [&["check"][..], &["config", "show"][..]] {
        let here = tokio::process::Command::new(binary()).args(arguments).current_dir(dir.join("")).output();
        assert_eq!(within("it ends", here).await.unwrap().status.code(), Some(0), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_mistake_of_place_or_of_name_is_told_what_it_is_here() {
    let policy = |text: &str| DOUBTFUL.replace("timeout: 2s, idempotency: { required: true }", text);
    let cases = [
        (policy("retry: 2, hedge: { after: 50ms }"), "wrong-place", "`hedge` belongs under `retry`"),
        (policy("perTryTimeout: 2s"), "foreign-name", "here it is `timeout.attempt`"),
        (policy("retry: { num_retries: 2 }"), "foreign-name", "here it is `retry.max_retries`"),
        (policy("retry: 1000000000000"), "out-of-range", "it is from 0 to 1000000000"),
        (policy("timeout: 1s").replace("/payments/,", "*every,"), "yaml-alias", "quote it, or define &every above"),
        (
            DOUBTFUL.replace("upstream: app, policy: write", "upstream: app, idempotency: true"),
            "wrong-place",
            "`idempotency` belongs under `policies.NAME`; a route names it with `policy: NAME`",
        ),
        (format!("{DOUBTFUL}drain:\n\ttimeout: 5s\n"), "yaml-tab", "use spaces"),
        (format!("{DOUBTFUL}drain:\n    delay: 1s\n  timeout: 5s\n"), "yaml-indent", "line up with line 7"),
    ];
    for (text, code, cure) in cases {
        let output = fed(&["check", "-o", "json", "-"], &text).await;
        let found = list(&output);
        assert_eq!(output.status.code(), Some(1), "{text}\n{found:?}");
        assert!(found.iter().any(|it| it["code"] == code && it["cure"] == cure), "{text}\n{code}, {cure}: {found:?}");
    }
}

#[tokio::test]
async fn the_start_and_each_reload_log_and_count_the_warnings() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let config = |policy: &str| Config::single(upstream.addr, policy);
    let proxy = Proxy::start(config("timeout: 5s")).await;
    let warned = |proxy: &Proxy, code: &str| {
        let lines = proxy.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
        lines.into_iter().filter(|line| line["level"] == "WARN" && line["code"] == code).collect::<Vec<_>>()
    };
    let first = eventually("the start warns", || async {
        Some(warned(&proxy, "unprotected-write")).filter(|lines| !lines.is_empty())
    })
    .await;
    assert!(first.len() == 1 && first[0]["at"].as_str().unwrap().contains("mainstay.yaml:"), "{first:?}");
    let count =
        async |proxy: &Proxy, severity| proxy.metric("mainstay_config_findings", &[("severity", severity)]).await;
    assert_eq!(count(&proxy, "warning").await, Some(1.0));
    let hash = async |proxy: &Proxy| {
        let page = proxy.probe("/metrics").await.text();
        page.lines().find(|line| line.starts_with("mainstay_config_info{")).map(str::to_owned)
    };
    let before = hash(&proxy).await.expect("a configuration is served");

    let mut next = config("timeout: 5s, idempotency: true");
    (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
    let moved = free_addr();
    let text = next
        .render()
        .replace(&format!("probes: {{ address: \"{}\"", next.probes), &format!("probes: {{ address: \"{moved}\""));
    proxy.rewrite_text(&text);
    eventually("the reload warns of what it brings", || async {
        let both = ["doubt-without-status", "needs-restart"].map(|code| warned(&proxy, code).len());
        (both == [1, 1]).then_some(())
    })
    .await;
    eventually("in memory, doubtful, and not in force", || async {
        (count(&proxy, "warning").await == Some(3.0)).then_some(())
    })
    .await;
    assert_ne!(hash(&proxy).await, Some(before));

    // The same file again: what runs is still another address, so it is said again.
    proxy.signal("HUP");
    eventually("the second reload compares with what runs", || async {
        (warned(&proxy, "needs-restart").len() == 2).then_some(())
    })
    .await;

    proxy.rewrite_text("routes: [");
    proxy.signal("HUP");
    eventually("errors are counted", || async { (count(&proxy, "error").await == Some(1.0)).then_some(()) }).await;
}

/// What a reader may copy has no doubt in it.
#[tokio::test]
async fn the_first_configuration_of_the_readme_warns_of_nothing() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```yaml").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let (first, _) = rest.split_once("```").unwrap();
    assert!(first.contains("status:"), "{first}");
    let output = fed(&["check", "--deny", "warnings", "-o", "json", "-"], first).await;
    let doubts = list(&output).into_iter().filter(|finding| finding["severity"] != "note").collect::<Vec<_>>();
    assert_eq!((output.status.code(), doubts), (Some(0), Vec::new()), "{output:?}");
}
