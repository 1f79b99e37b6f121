//! What people see who sit before a terminal.

use mainstay_tests::{prelude::*, proxy::TempDir, terminal::on_terminal};

use super::operate::{short, typed};

/// Leaves the alternate screen, which is the last that a program does that had it.
const LEAVES: &str = "\u{1b}[?1049l";

#[tokio::test]
async fn init_asks_for_what_it_was_not_told_and_writes_what_was_answered() {
    let dir = TempDir::new();
    let file = dir.join("first.yaml");
    let path = file.to_string_lossy().into_owned();
    let steps = [
        ("Where is the service?", "http://127.0.0.1:9999\r"),
        ("On which port", "18080\r"),
        ("Which path has the writes", "/orders\r"),
        ("How is the service asked", "GET /orders/by-ref/{key}\r"),
        ("What says that it was done?", "/state=DONE\r"),
    ];
    let (code, seen) = on_terminal(&["init", "--offline", "--output", &path], &steps, (40, 120), &[]).await;
    assert!(code == 0 && seen.contains("is valid") && seen.contains("Start it:"), "{seen}");
    let written = std::fs::read_to_string(&file).unwrap();
    for part in
        ["0.0.0.0:18080", "http://127.0.0.1:9999", "/orders/**", "GET /orders/by-ref/{key}", "\"/state\": \"DONE\""]
    {
        assert!(written.contains(part), "{part} is missing: {written}");
    }
    // Enter alone takes what stands in brackets.
    let other = dir.join("other.yaml");
    let path = other.to_string_lossy().into_owned();
    let steps = [("service?", "\r"), ("port", "\r"), ("writes", "\r"), ("asked", "\r")];
    let (code, seen) = on_terminal(&["init", "--offline", "--output", &path], &steps, (40, 120), &[]).await;
    let written = std::fs::read_to_string(&other).unwrap_or_default();
    assert!(code == 0 && written.contains("/payments/**") && written.contains("status: none"), "{seen}{written}");
}

#[tokio::test]
async fn init_asks_again_for_what_makes_no_sense_and_ends_with_the_input() {
    let dir = TempDir::new();
    let file = dir.join("first.yaml");
    let path = file.to_string_lossy().into_owned();
    let steps = [
        ("Where is the service?", "nowhere\r"),
        ("`nowhere` is no address", ""),
        ("Where is the service?", "http://127.0.0.1:9998\r"),
        ("On which port", "http\r"),
        ("`http` is no port", ""),
        ("On which port", "18081\r"),
        ("Which path has the writes", ",\r"),
        ("names no path", ""),
        ("Which path has the writes", "orders\r"),
        ("`orders` is no path of writes", ""),
        ("Which path has the writes", "/orders, /refunds\r"),
        ("How is the service asked", "POST /ask\r"),
        ("`POST /ask` is no question", ""),
        ("How is the service asked", "GET /orders/by-ref/{key}\r"),
        ("What says that it was done?", "DONE\r"),
        ("`DONE` is no pointer and value", ""),
        ("What says that it was done?", "/state=DONE\r"),
    ];
    let (code, seen) = on_terminal(&["init", "--offline", "--output", &path], &steps, (40, 120), &[]).await;
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(code, 0, "{seen}");
    for part in [
        "0.0.0.0:18081",
        "http://127.0.0.1:9998",
        "/orders/**",
        "/refunds/**",
        "GET /orders/by-ref",
        "\"/state\": \"DONE\"",
    ] {
        assert!(written.contains(part), "{part} is missing: {written}");
    }
    let other = dir.join("other.yaml");
    let path = other.to_string_lossy().into_owned();
    let steps = [("service?", "nowhere\r"), ("is no address", ""), ("service?", "\u{4}")];
    let (code, seen) = on_terminal(&["init", "--output", &path], &steps, (40, 120), &[]).await;
    assert!(code == 2 && seen.contains("there were no more answers") && !other.exists(), "{seen}");
}

const DOUBTFUL: &str = "timeout: 5s, idempotency: { required: true }, circuit_breaker: { consecutive_errors: 99 }";

/// A proxy with one write in doubt, and its id.
async fn doubtful() -> (Upstream, Proxy, String) {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let proxy = Proxy::start(Config::single(upstream.addr, DOUBTFUL).admin()).await;
    let id = short(&proxy.send(Request::keyed("/pay", "k", "x")).await.operation());
    (upstream, proxy, id)
}

#[tokio::test]
async fn top_draws_tells_a_story_and_leaves_the_terminal_as_it_was() {
    let (_upstream, proxy, id) = doubtful().await;
    let admin = format!("http://{}", proxy.config.admin.unwrap());
    let variables = [("MAINSTAY_ADMIN", admin.as_str())];
    let steps = [(id.as_str(), "\r"), ("dispatched", "\u{1b}"), ("BREAKER", "q")];
    let (code, seen) = on_terminal(&["top"], &steps, (30, 100), &variables).await;
    assert!(code == 0 && seen.contains("\u{1b}[?1049h") && seen.contains(LEAVES), "{seen:?}");
    for sent in ["SIGTERM", "\u{3}"] {
        let (code, seen) = on_terminal(&["top"], &[("ROUTE", sent)], (20, 60), &variables).await;
        assert!(code == 0 && seen.contains(LEAVES), "{sent:?}: {seen:?}");
    }
}

/// What lets an effect happen again is asked back before it is said; anything but yes does nothing.
#[tokio::test]
async fn a_write_is_said_to_be_undone_by_somebody_who_was_asked_whether_it_is_meant() {
    let (_upstream, proxy, id) = doubtful().await;
    let admin = format!("http://{}", proxy.config.admin.unwrap());
    let variables = [("MAINSTAY_ADMIN", admin.as_str()), ("MAINSTAY_ACTOR", "ana")];
    for (state, then) in [("failed", "a new key is safe"), ("not_executed", "SENT AND EXECUTES")] {
        let line = ["ops", "resolve", id.as_str(), "--as", state, "--reason", "no trace"];
        let (code, seen) = on_terminal(&line, &[("Type yes", "y\r")], (30, 200), &variables).await;
        assert!(code == 2 && seen.contains(then) && seen.contains("nothing was done"), "{state}: {seen}");
        assert!(typed(&proxy, &["ops", "show", &id]).await.1.contains("UNKNOWN"), "{seen}");
    }
    let line = ["ops", "resolve", id.as_str(), "--as", "failed", "--reason", "no trace"];
    let (code, seen) = on_terminal(&line, &[("Type yes", "yes\r")], (30, 200), &variables).await;
    assert!(code == 0 && seen.contains("unknown -> failed"), "{seen}");
    let (code, seen) = on_terminal(&line, &[], (30, 200), &variables).await;
    assert!(code == 1 && !seen.contains("Type yes"), "what is settled is refused, and not asked about: {seen}");
}

#[tokio::test]
async fn one_frame_of_top_is_text_of_the_width_that_is_asked_for() {
    let (_upstream, proxy, id) = doubtful().await;
    let admin = format!("http://{}", proxy.config.admin.unwrap());
    for (columns, last) in [("120", "BREAKER"), ("80", "REPLAY"), ("60", "P99")] {
        let mut command = tokio::process::Command::new(mainstay_tests::proxy::binary());
        command.args(["top", "--once", "--sort", "rate"]).env("COLUMNS", columns).env("MAINSTAY_ADMIN", &admin);
        let output = within("it ends", command.output()).await.unwrap();
        let frame = String::from_utf8(output.stdout).unwrap();
        let titles = frame.lines().find(|line| line.starts_with("ROUTE")).unwrap_or_default();
        assert!(output.status.success() && titles.ends_with(last), "{columns}: {frame}");
        let width: usize = columns.parse().unwrap();
        let (body, footer) = frame.trim_end().rsplit_once('\n').unwrap();
        assert!(body.lines().all(|line| line.chars().count() <= width), "{columns}: {frame}");
        assert!(body.contains(&id) && !body.contains('\u{1b}') && footer.contains(" UTC"), "{columns}: {frame}");
    }
    let (code, _, words) = typed(&proxy, &["top"]).await;
    assert!(code == 2 && words.contains("--once"), "{words}");
}

#[tokio::test]
async fn on_a_terminal_a_drain_has_no_delay_unless_somebody_asked_for_one() {
    let dir = TempDir::new();
    for more in ["", "drain: { delay: 100ms }"] {
        let config = Config::single(free_addr(), "timeout: 1s").top(more);
        let file = dir.join("mainstay.yaml");
        std::fs::write(&file, config.render()).unwrap();
        let path = file.to_string_lossy().into_owned();
        let (code, seen) =
            on_terminal(&["-c", &path], &[("\"started\"", "\u{3}"), ("\"draining\"", "")], (40, 400), &[]).await;
        let line = seen.lines().find(|line| line.contains("\"draining\"")).unwrap_or_default();
        assert!(code == 0 && line.contains("\"delay_ms\":"), "{seen}");
        assert_eq!(line.contains("\"delay_ms\":0"), more.is_empty(), "{line}");
    }
}
