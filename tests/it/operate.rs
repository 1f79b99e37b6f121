//! What operators type, against a running proxy.

use std::process::{Output, Stdio};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary},
};
use serde_json::Value;

/// Takes every write and loses its answer.
pub(super) async fn losing_proxy(policy: &str) -> (Upstream, Proxy) {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::start(Config::single(upstream.addr, policy).admin()).await;
    (upstream, proxy)
}

pub(super) const POLICY: &str =
    "timeout: 5s, idempotency: { required: true }, circuit_breaker: { consecutive_errors: 99 }";

pub(super) async fn lose(proxy: &Proxy, key: &str) -> String {
    proxy.send(Request::keyed("/pay", key, "x")).await.operation()
}

async fn typed_at(address: &str, line: &[&str]) -> Output {
    typed_with(address, line, &[]).await
}

/// In an environment with these variables.
pub(super) async fn typed_with(address: &str, line: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(binary());
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "MAINSTAY_ACTOR"] {
        command.env_remove(name);
    }
    command.env("USER", "ana").envs(variables.iter().copied());
    command.args(line).env("MAINSTAY_ADMIN", address).stdin(Stdio::null()).kill_on_drop(true);
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

/// Whether it is the line that says whose a table is: `payments-7c9f (127.0.0.1:9191), 14:03:22 UTC`.
fn is_footer(proxy: &Proxy, line: Option<&str>) -> bool {
    let Some((whose, when)) = line.and_then(|line| line.split_once(", ")) else { return false };
    let address = format!(" ({})", proxy.config.admin.unwrap());
    let is_named = whose.strip_suffix(&address).is_some_and(|name| !name.is_empty() && !name.contains(' '));
    is_named && when.len() == "14:03:22 UTC".len() && when.ends_with(" UTC")
}

#[tokio::test]
async fn each_table_ends_with_the_name_of_the_proxy_and_each_has_its_names_alone() {
    let (_upstream, proxy) = losing_proxy(&format!("{POLICY}, rate_limit: 500/s, concurrency_limit: 16")).await;
    let id = lose(&proxy, "k").await;
    typed(&proxy, &["breakers", "force", "p@app", "disabled", "--reason", "x"]).await;
    for (line, name) in [
        (&["ops"][..], id.as_str()),
        (&["ops", "ls", "--group"], "app /** "),
        (&["ops", "find", "--key", "k"], &id),
        (&["breakers"], "p@app"),
        (&["routes"], "/**"),
        (&["upstreams"], "app"),
        (&["limits"], "/**"),
        (&["audit"], ""),
    ] {
        for form in ["table", "wide"] {
            let (code, listed, words) = typed(&proxy, &[line, &["-o", form]].concat()).await;
            assert!(code == 0 && is_footer(&proxy, listed.lines().last()), "{line:?} {form}: {listed}{words}");
        }
        let (code, names, words) = typed(&proxy, &[line, &["-o", "ids"]].concat()).await;
        assert!(
            code == 0 && names.lines().next().is_some_and(|first| first.starts_with(name)),
            "{line:?}: {names}{words}"
        );
        assert!(!names.contains(" UTC"), "{line:?}: {names}");
        let (_, document, _) = typed(&proxy, &[line, &["-o", "json"]].concat()).await;
        assert!(serde_json::from_str::<Value>(&document).is_ok_and(|it| it.is_object()), "{line:?}: {document}");
    }
}

#[tokio::test]
async fn what_is_served_and_how_it_stands_is_listed_by_kind() {
    let (upstream, proxy) = losing_proxy(&format!("{POLICY}, rate_limit: 500/s, concurrency_limit: 16")).await;
    lose(&proxy, "k").await;
    let (_, routes, words) = typed(&proxy, &["routes", "-o", "wide"]).await;
    let titles = routes.lines().next().unwrap_or_default();
    assert!(titles.starts_with("ROUTE ") && titles.contains("  DOUBT  BREAKER  "), "{routes}{words}");
    assert!(routes.lines().nth(1).is_some_and(|row| row.contains("  closed ") && row.contains("  yes  ")), "{routes}");
    let (_, upstreams, words) = typed(&proxy, &["upstreams"]).await;
    let row = upstreams.lines().nth(1).unwrap_or_default();
    let told = format!("app       {}  0          ", upstream.addr);
    assert!(row.starts_with(&told) && row.contains("/s  ") && row.ends_with("  p@app closed"), "{upstreams}{words}");
    let (_, limits, words) = typed(&proxy, &["limits"]).await;
    let row = limits.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    assert!(row.starts_with(&["/**", "p", "500/s", "route"]) && row.ends_with(&["0", "16", "0"]), "{limits}{words}");
}

#[tokio::test]
async fn the_log_level_is_said_changed_and_goes_back_by_itself() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let level = async |line: &[&str]| typed(&proxy, &[&["log-level"], line].concat()).await;
    assert_eq!(level(&[]).await.1, "info\n");
    assert_eq!(level(&["debug", "--for", "1h", "--reason", "to see"]).await.1, "debug\n");
    assert_eq!(level(&["warn", "--for", "100ms"]).await.1, "warn\n");
    eventually("it is again what the configuration says", || async { (level(&[]).await.1 == "info\n").then_some(()) })
        .await;
    for (line, code) in
        [(&["loud"][..], 1), (&["debug", "--for", "25h"], 1), (&["debug", "--for", "10"], 2), (&["--for", "1m"], 2)]
    {
        let (ended, _, words) = level(line).await;
        assert_eq!(ended, code, "{line:?}: {words}");
    }
    let trail = typed(&proxy, &["audit", "--action", "log-level", "-o", "json"]).await.1;
    let trail: Value = serde_json::from_str(&trail).expect("JSON");
    let reasons: Vec<&str> =
        trail["entries"].as_array().unwrap().iter().rev().filter_map(|entry| entry["reason"].as_str()).collect();
    assert_eq!(reasons[..2], ["to see", "mainstay log-level warn"]);
    assert_eq!(typed(&proxy, &["audit", "--actor", "nobody", "-o", "ids"]).await.1, "");
}

#[tokio::test]
async fn colour_is_for_what_needs_somebody_and_only_where_it_is_wanted() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let address = format!("http://{}", proxy.config.admin.unwrap());
    typed(&proxy, &["breakers", "force", "p@app", "open", "--reason", "x"]).await;
    let listed = async |line: &[&str], variables: &[(&str, &str)]| {
        let output = typed_with(&address, line, variables).await;
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let red = "\u{1b}[1;31m";
    for (line, variables, is_coloured) in [
        (&["breakers"][..], &[][..], false),
        (&["breakers", "--color", "always"], &[], true),
        (&["breakers", "--color", "always"], &[("NO_COLOR", "1")], true),
        (&["breakers"], &[("CLICOLOR_FORCE", "1")], true),
        (&["breakers"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["breakers", "--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&["status", "--color", "always"], &[], true),
    ] {
        let text = listed(line, variables).await;
        assert_eq!(text.contains(red), is_coloured, "{line:?} {variables:?}: {text}");
        let well: Vec<&str> = text.lines().filter(|line| !line.to_uppercase().contains("OPEN")).collect();
        assert!(well.iter().all(|line| !line.contains('\u{1b}')), "{text}");
    }
}

#[tokio::test]
async fn moments_are_in_the_time_that_is_asked_for() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let address = format!("http://{}", proxy.config.admin.unwrap());
    let far_east = [("TZ", "XST-14")];
    for (options, end) in [(&[][..], " UTC"), (&["--utc"], " UTC"), (&["--local"], " XST")] {
        let output = typed_with(&address, &[&["ops", "ls"], options].concat(), &far_east).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.trim_end().ends_with(end), "{options:?}: {text}");
    }
    assert_eq!(typed(&proxy, &["ops", "ls", "--utc", "--local"]).await.0, 2);
}

#[tokio::test]
async fn what_is_nearly_right_is_met_with_what_was_meant() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = short(&lose(&proxy, "k").await);
    let (number, tag) = id.split_once('-').expect("a number and a tag");
    let other = if tag.starts_with('f') { "0" } else { "f" };
    let wrong = format!("{number}-{other}{}", &tag[1..]);
    for (line, cure) in [
        (&["ops", "show", wrong.as_str()][..], format!("did you mean `{id}`?")),
        (&["ops", "ls", "--upstream", "ap"], "did you mean `app`?".to_owned()),
        (&["ops", "ls", "--policy", "x"], "mainstay routes".into()),
        (&["breakers", "force", "p@ap", "open", "--reason", "x"], "did you mean `p@app`?".into()),
    ] {
        let (code, _, words) = typed(&proxy, line).await;
        assert!(code == 1 && words.contains(&cure), "{line:?}: {words}");
    }
    let (code, _, words) = typed(&proxy, &["ops", "lst"]).await;
    assert!(code == 2 && words.contains("'ls'"), "{words}");
    let (code, listed, _) = typed(&proxy, &["ops", "ls", "--upstream", "app", "--older", "10m"]).await;
    assert!(code == 0 && listed.starts_with("no operations"), "{listed}");
}

#[tokio::test]
async fn a_listing_that_is_watched_comes_again_and_again() {
    use tokio::io::AsyncBufReadExt as _;
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    for (line, first) in
        [(&["ops", "ls", "--watch", "50ms"][..], "no operations"), (&["status", "--watch", "50ms"], "READY")]
    {
        let mut child = tokio::process::Command::new(binary())
            .args(line)
            .env("MAINSTAY_ADMIN", format!("http://{}", proxy.config.admin.unwrap()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run mainstay");
        let mut lines = tokio::io::BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut seen = 0;
        while seen < 3 {
            let line = within("another frame", lines.next_line()).await.expect("UTF-8").expect("it goes on");
            assert!(!line.contains('\u{1b}'), "no terminal: {line}");
            seen += usize::from(line.contains(first));
        }
        // Whoever reads no more ends it.
        drop(lines);
        assert!(within("it ends", child.wait()).await.expect("a status").success(), "{line:?}");
    }
}

#[tokio::test]
async fn the_story_of_a_night_from_listing_to_resolution() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    let (code, listed, words) = typed(&proxy, &["ops", "ls", "--state", "unknown"]).await;
    assert_eq!(code, 0, "{words}");
    let row = listed.lines().nth(1).expect("a row").to_owned();
    assert!(listed.starts_with("ID ") && row.starts_with(&short(&id)) && row.contains("unknown"), "{listed}");
    let listed = typed(&proxy, &["ops", "ls", "--older", "10m"]).await.1;
    assert!(listed.starts_with("no operations\n") && is_footer(&proxy, listed.lines().last()), "{listed}");

    let (code, story, _) = typed(&proxy, &["ops", "show", &id]).await;
    let cure = format!("mainstay ops resolve {} --as succeeded --reason", short(&id));
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
        &["ops", "ls", "--admin", "ftp://127.0.0.1:9191"],
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
    assert!(code == 0 && listed.starts_with("no operations\n"), "{listed}");
    let address = format!("http://{}", proxy.config.admin.unwrap());
    let output = typed_with(&address, &["ops", "ls"], &[("MAINSTAY_TOKEN_FILE", file.to_str().unwrap())]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
