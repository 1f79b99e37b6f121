use std::{io::Write, sync::mpsc};

use http::{Method, StatusCode};
use mainstay_policies::operation::{OperationId, State};
use parking_lot::Mutex;
use proptest::prelude::*;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::telemetry::propagation::context::TraceId;

/// Keeps what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

/// A pipe whose reader has stalled: each write waits for a permit.
struct Stalled(mpsc::Receiver<()>, Sink);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
/// 2026-11-21T05:30:00.042Z.
const NOW: u64 = 1_795_239_000_042;

fn lines(sink: Sink, capacity: usize) -> (Lines, Arc<AtomicU64>) {
    let dropped = Arc::new(AtomicU64::new(0));
    (Lines::start("test-log", sink, capacity, Arc::clone(&dropped)).unwrap(), dropped)
}

fn entry<'a>(method: &'a Method, path: &'a str) -> AccessEntry<'a> {
    AccessEntry {
        listener: "inbound",
        direction: "inbound",
        client: Some("192.0.2.7:51000".parse().unwrap()),
        method,
        path,
        route: Some("/payments/**"),
        upstream: Some("app"),
        status: Some(StatusCode::GATEWAY_TIMEOUT),
        duration: Duration::from_micros(2_000_042),
        attempts: 2,
        endpoint: Some("127.0.0.1:9000"),
        error: Some("attempt_timeout"),
        cache: None,
        fallback: None,
        waited: Duration::from_millis(3),
        principal: None,
        key: Some(0xbeef),
        bytes_in: 17,
        bytes_out: 345,
        trace_id: TraceId(0xabc),
        outcome: "outcome-unknown",
        operation: Some((OperationId { seq: 1, tag: 2 }, State::Unknown)),
    }
}

/// The line that this entry becomes.
fn written(format: LogFormat, entry: &AccessEntry<'_>) -> String {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    let logs = Logs { format, level: "info".to_owned(), access: true };
    let log = AccessLog::new(&logs, WallClock::manual(NOW), lines);
    log.record(entry);
    log.flush(PATIENCE);
    sink.text()
}

#[test]
fn an_access_line_in_json_says_what_became_of_the_request() {
    let line = written(LogFormat::Json, &entry(&Method::POST, "/payments/7"));
    assert_eq!(
        line,
        concat!(
            r#"{"timestamp":"2026-11-21T05:30:00.042Z","level":"INFO","target":"access","listener":"inbound","direction":"inbound","#,
            r#""client":"192.0.2.7:51000","method":"POST","path":"/payments/7","route":"/payments/**","#,
            r#""upstream":"app","status":504,"duration_ms":2000.042,"attempts":2,"retries":1,"waited_ms":3,"#,
            r#""endpoint":"127.0.0.1:9000","error":"attempt_timeout","key_hash":"0000beef","bytes_in":17,"bytes_out":345,"#,
            r#""trace_id":"00000000000000000000000000000abc","outcome":"outcome-unknown","#,
            r#""operation_id":"00000000000000010000000000000002","operation_state":"unknown"}"#,
            "\n"
        )
    );
    serde_json::from_str::<serde_json::Value>(&line).unwrap();
}

#[test]
fn an_access_line_in_text_says_the_same() {
    let line = written(LogFormat::Text, &entry(&Method::POST, "/payments/7"));
    assert_eq!(
        line,
        concat!(
            r#"2026-11-21T05:30:00.042Z POST "/payments/7" 504 2000.042ms attempts=2 in=17 out=345 "#,
            r#"client=192.0.2.7:51000 listener="inbound" direction="inbound" route="/payments/**" upstream="app" "#,
            r#"endpoint="127.0.0.1:9000" error="attempt_timeout" waited=3ms key_hash=0000beef "#,
            "trace_id=00000000000000000000000000000abc outcome=outcome-unknown ",
            "operation_id=00000000000000010000000000000002 operation_state=unknown\n"
        )
    );
}

#[test]
fn what_a_line_cannot_say_is_left_out() {
    let entry = AccessEntry {
        client: None,
        route: None,
        upstream: None,
        status: None,
        operation: None,
        outcome: "client_disconnected",
        ..entry(&Method::GET, "/")
    };
    let line: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &entry)).unwrap();
    for name in ["client", "route", "upstream", "status", "operation_id", "operation_state"] {
        assert!(line.get(name).is_none(), "{name}");
    }
    assert!(written(LogFormat::Text, &entry).contains(r#""/" - 2000.042ms"#));
}

#[test]
fn a_hostile_path_cannot_forge_a_line_or_steer_a_terminal() {
    let path = "/a\"\\\n{\"forged\":1}\r\x1b[31m\u{85}\u{2028}\u{9b}é\x7f\0";
    let json = written(LogFormat::Json, &entry(&Method::GET, path));
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(line["path"], path);
    for text in [json, written(LogFormat::Text, &entry(&Method::GET, path))] {
        let body = text.strip_suffix('\n').unwrap();
        assert!(!body.contains(|c: char| c.is_control() || c == '\u{2028}'), "{body:?}");
        assert!(body.contains('é'));
    }
}

#[test]
fn a_long_path_is_cut() {
    let path = "ä".repeat(40_000);
    let line: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, &entry(&Method::GET, &path))).unwrap();
    assert_eq!(line["path"].as_str().unwrap().len(), 2048);
}

#[test]
fn the_access_log_follows_its_switches() {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    let mut logs = Logs { format: LogFormat::Text, level: "info".to_owned(), access: false };
    let log = AccessLog::new(&logs, WallClock::manual(NOW), lines);
    log.record(&entry(&Method::GET, "/unseen"));
    logs = Logs { access: true, format: LogFormat::Json, ..logs };
    log.apply(&logs);
    log.record(&entry(&Method::GET, "/seen"));
    log.flush(PATIENCE);
    assert!(sink.text().starts_with('{') && sink.text().contains("/seen") && !sink.text().contains("/unseen"));
}

#[test]
fn the_clock_is_shown_second_by_second() {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    let clock = WallClock::manual(NOW);
    let log =
        AccessLog::new(&Logs { format: LogFormat::Text, level: String::new(), access: true }, clock.clone(), lines);
    for step in [957, 1, 86_400_000] {
        clock.advance(Duration::from_millis(step));
        log.record(&entry(&Method::GET, "/"));
    }
    log.flush(PATIENCE);
    let times: Vec<_> = sink.text().lines().map(|line| line[..24].to_owned()).collect();
    assert_eq!(times, ["2026-11-21T05:30:00.999Z", "2026-11-21T05:30:01.000Z", "2026-11-22T05:30:01.000Z"]);
}

#[test]
fn a_reader_that_stalls_costs_lines_and_nothing_else() {
    let (permit, permits) = mpsc::channel();
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = Sink::default();
    let lines = Lines::start("test-log", Stalled(permits, sink.clone()), 1_000, Arc::clone(&dropped)).unwrap();
    for _ in 0..100_000 {
        lines.push(b"0123456789\n");
    }
    lines.flush(Duration::from_millis(10));
    // At most one full buffer is being written while another waits.
    let lost = dropped.load(Relaxed);
    assert!((100_000 - 2 * 90..=100_000 - 90).contains(&lost), "{lost}");
    drop(permit);
    lines.flush(PATIENCE);
    assert_eq!(sink.text(), "", "the pipe broke");
}

#[test]
fn lines_that_fit_are_all_written_in_order() {
    let sink = Sink::default();
    let (lines, dropped) = lines(sink.clone(), BUFFER);
    let expected: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    for line in &expected {
        lines.push(format!("{line}\n").as_bytes());
    }
    lines.flush(PATIENCE);
    assert!(sink.text().lines().eq(expected));
    assert_eq!(dropped.load(Relaxed), 0);
}

/// What an event of the program's log becomes.
fn logged(json: bool, emit: impl FnOnce()) -> String {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(lines.clone())
        .event_format(JsonOrText::new(Arc::new(AtomicBool::new(json))));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), emit);
    lines.flush(PATIENCE);
    sink.text()
}

#[test]
fn an_event_is_one_line_whatever_is_in_it() {
    let hostile = "x\n2026-01-01T00:00:00Z  INFO forged\x1b[2J";
    let emit = || tracing::warn!(reason = %hostile, "refused {hostile}");
    let json = logged(true, emit);
    let line: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
    assert_eq!(line["reason"], hostile);
    assert_eq!(line["level"], "WARN");
    for text in [json, logged(false, emit)] {
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("refused"));
    }
}

#[test]
fn a_level_that_is_none_is_refused() {
    for level in ["info", "mainstay=debug", "warn,mainstay=trace", "off"] {
        assert!(parse_level(level).is_ok(), "{level}");
    }
    for level in ["mainstay=loud", "a=b=c", "ino", "warn,mainstay", "info,"] {
        let error = parse_level(level).unwrap_err().to_string();
        assert!(error.contains(level), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_becomes_one_valid_json_string(text in any::<String>()) {
        let mut json = Vec::new();
        escape::json_string(&text, &mut json);
        prop_assert!(!json.contains(&b'\n'));
        prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }
}

#[test]
fn a_line_feed_inside_an_event_is_escaped() {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    lines.make_writer().write_all(b"two\nlines\n").unwrap();
    lines.flush(PATIENCE);
    assert_eq!(sink.text(), "two\\u000alines\n");
}

#[test]
fn on_a_terminal_it_stays_and_forges_no_line() {
    let sink = Sink::default();
    let (lines, _) = lines(sink.clone(), BUFFER);
    let lines = lines.for_terminal(true);
    lines.make_writer().write_all(b"two\nlines\x1b[2J\n").unwrap();
    lines.flush(PATIENCE);
    assert_eq!(sink.text(), "two\n    lines\\u001b[2J\n");
}

/// The only test that installs the process's subscriber.
#[test]
fn the_level_changes_while_running_and_a_bad_one_changes_nothing() {
    use tracing::{Level, enabled};
    let logs = |level: &str| Logs { format: LogFormat::Text, level: level.to_owned(), access: false };
    assert!(matches!(init(&logs("loud"), WallClock::system(), Arc::default()), Err(LogError::Level { .. })));
    let logging = init(&logs("warn"), WallClock::system(), Arc::default()).unwrap();
    assert!(enabled!(Level::WARN) && !enabled!(Level::INFO));
    logging.apply(&logs("info")).unwrap();
    assert!(enabled!(Level::INFO) && !enabled!(Level::DEBUG));
    assert!(logging.apply(&Logs { access: true, ..logs("loud") }).is_err());
    assert!(enabled!(Level::INFO) && !logging.access().enabled());
    logging.set_level("off").unwrap();
    assert!(!enabled!(Level::ERROR));
    assert!(matches!(init(&logs("warn"), WallClock::system(), Arc::default()), Err(LogError::AlreadySetUp)));
}
