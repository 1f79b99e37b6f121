//! The access log: one line for each request.

use std::{
    cell::RefCell,
    fmt,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use mainstay_policies::{
    clock::WallClock,
    operation::{OperationId, State, UnixMillis},
};
use serde_json::json;

use super::{
    escape::{controls, json_string},
    lines::Lines,
};
use crate::{
    config::model::{LogFormat, Logs},
    telemetry::{
        events::{Events, Kind, time},
        propagation::context::TraceId,
    },
};

/// Bytes of a path that a line keeps.
const MAX_PATH: usize = 2048;

/// What a line says. No query, no key, no header: those carry secrets.
#[derive(Clone, Copy, Debug)]
pub struct AccessEntry<'a> {
    /// Where it came in.
    pub listener: &'a str,
    /// Which way it goes: `inbound`, to the service that this process stands before.
    pub direction: &'static str,
    /// The peer.
    pub client: Option<SocketAddr>,
    /// The method; a dash if the head could not be read.
    pub method: &'a Method,
    /// The path alone.
    pub path: &'a str,
    /// The route; `None` if none matched.
    pub route: Option<&'a str>,
    /// The upstream; `None` if none was meant.
    pub upstream: Option<&'a str>,
    /// What the caller got; `None` if the caller left before.
    pub status: Option<StatusCode>,
    /// From the request's head to the end of its response.
    pub duration: Duration,
    /// Attempts made.
    pub attempts: u32,
    /// Where the last attempt went.
    pub endpoint: Option<&'a str>,
    /// Why the last attempt brought no answer, in one word: `refused`, `connect_timeout`, `reset`, `attempt_timeout`, ….
    pub error: Option<&'a str>,
    /// What the cache did: `hit`, `miss`, `stale`, ….
    pub cache: Option<&'a str>,
    /// Why the answer is a fallback.
    pub fallback: Option<&'a str>,
    /// How long it waited for its turn under a limit.
    pub waited: Duration,
    /// The beginning of the hash of who called.
    pub principal: Option<u32>,
    /// The beginning of the hash of a write's key.
    pub key: Option<u32>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The trace.
    pub trace_id: TraceId,
    /// What became of it: `ok`, `replayed`, `client_disconnected`, `cut_off` by the end of a drain, or a problem's slug.
    pub outcome: &'a str,
    /// The operation and where it stands.
    pub operation: Option<(OperationId, State)>,
}

/// Writes a line for each request, if it is switched on, and tells those who watch.
pub struct AccessLog {
    events: Arc<Events>,
    enabled: AtomicBool,
    json: AtomicBool,
    clock: WallClock,
    lines: Lines,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { line: Vec::new(), second: 0, prefix: [0; 20] }) };
}

/// One line, and the current second as text: most lines share it with the one before.
struct Scratch {
    line: Vec<u8>,
    second: u64,
    prefix: [u8; 20],
}

impl AccessLog {
    pub(super) fn new(logs: &Logs, clock: WallClock, lines: Lines) -> Self {
        let (events, enabled, json) = (Arc::default(), AtomicBool::default(), AtomicBool::default());
        let log = Self { events, enabled, json, clock, lines };
        log.apply(logs);
        log
    }

    pub(super) fn apply(&self, logs: &Logs) {
        self.enabled.store(logs.access, Relaxed);
        self.json.store(logs.format == LogFormat::Json, Relaxed);
    }

    /// Whether anybody reads it; for a caller that would have to gather the entry first.
    pub fn enabled(&self) -> bool {
        self.enabled.load(Relaxed) || self.events.wants(Kind::Request)
    }

    /// Those who watch what happens.
    pub(crate) fn events(&self) -> Arc<Events> {
        self.events.clone()
    }

    /// Writes a line. It never waits: a line that does not fit is dropped and counted.
    pub fn record(&self, entry: &AccessEntry<'_>) {
        if self.events.wants(Kind::Request) {
            self.tell(entry);
        }
        if !self.enabled.load(Relaxed) {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.line.clear();
            let now = self.clock.now();
            if self.json.load(Relaxed) {
                entry.json(scratch, now);
            } else {
                entry.text(scratch, now);
            }
            scratch.line.push(b'\n');
            self.lines.push(&scratch.line);
        });
    }

    /// The same for those who watch: so many a second, and without the path, which may say who is who.
    fn tell(&self, entry: &AccessEntry<'_>) {
        let now = self.clock.now();
        let Some(left_out) = self.events.requests.takes(now) else { return };
        let hash = |hash: Option<u32>| hash.map(|hash| format!("{hash:08x}"));
        let (id, state) = entry.operation.unzip();
        let document = json!({
            "at": time(now),
            "listener": entry.listener,
            "method": entry.method.as_str(),
            "route": entry.route,
            "upstream": entry.upstream,
            "status": entry.status.map(|status| status.as_u16()),
            "duration_ms": entry.duration.as_micros() as f64 / 1e3,
            "attempts": entry.attempts,
            "outcome": entry.outcome,
            "endpoint": entry.endpoint,
            "error": entry.error,
            "cache": entry.cache,
            "fallback": entry.fallback,
            "operation": id.map(|id| id.to_string()),
            "operation_state": state.map(State::label),
            "principal_hash": hash(entry.principal),
            "key_hash": hash(entry.key),
            "trace_id": entry.trace_id.to_string(),
            "left_out": left_out,
        });
        self.events.tell(Kind::Request, &document);
    }

    pub(super) fn flush(&self, within: Duration) {
        self.lines.flush(within);
    }
}

impl AccessEntry<'_> {
    fn json(&self, scratch: &mut Scratch, now: UnixMillis) {
        scratch.line.extend_from_slice(b"{\"timestamp\":\"");
        scratch.timestamp(now);
        let line = &mut scratch.line;
        line.extend_from_slice(b"\",\"level\":\"INFO\",\"target\":\"access\"");
        text_field(line, "listener", Some(self.listener));
        text_field(line, "direction", Some(self.direction));
        if let Some(client) = self.client {
            write(line, format_args!(",\"client\":\"{}\"", ClientText(client)));
        }
        text_field(line, "method", Some(self.method.as_str()));
        text_field(line, "path", Some(self.path_start()));
        text_field(line, "route", self.route);
        text_field(line, "upstream", self.upstream);
        if let Some(status) = self.status {
            number_field(line, "status", u64::from(status.as_u16()));
        }
        line.extend_from_slice(b",\"duration_ms\":");
        self.duration_ms(line);
        number_field(line, "attempts", u64::from(self.attempts));
        number_field(line, "retries", u64::from(self.attempts.saturating_sub(1)));
        number_field(line, "waited_ms", self.waited_ms());
        for (name, value) in self.words() {
            text_field(line, name, value);
        }
        for (name, hash) in self.hashes() {
            if let Some(hash) = hash {
                write(line, format_args!(",\"{name}\":\"{hash:08x}\""));
            }
        }
        number_field(line, "bytes_in", self.bytes_in);
        number_field(line, "bytes_out", self.bytes_out);
        line.extend_from_slice(b",\"trace_id\":\"");
        line.extend_from_slice(&self.trace_id.hex());
        line.push(b'"');
        text_field(line, "outcome", Some(self.outcome));
        if let Some((id, state)) = self.operation {
            write(line, format_args!(",\"operation_id\":\"{id}\""));
            text_field(line, "operation_state", Some(state.label()));
        }
        line.push(b'}');
    }

    fn text(&self, scratch: &mut Scratch, now: UnixMillis) {
        scratch.timestamp(now);
        let line = &mut scratch.line;
        line.push(b' ');
        controls(self.method.as_str(), line);
        line.push(b' ');
        json_string(self.path_start(), line);
        match self.status {
            Some(status) => write(line, format_args!(" {} ", status.as_u16())),
            None => line.extend_from_slice(b" - "),
        }
        self.duration_ms(line);
        write(line, format_args!("ms attempts={} in={} out={}", self.attempts, self.bytes_in, self.bytes_out));
        if let Some(client) = self.client {
            write(line, format_args!(" client={}", ClientText(client)));
        }
        let places = [
            ("listener", Some(self.listener)),
            ("direction", Some(self.direction)),
            ("route", self.route),
            ("upstream", self.upstream),
        ];
        for (name, value) in places.into_iter().chain(self.words()) {
            if let Some(value) = value {
                write(line, format_args!(" {name}="));
                json_string(value, line);
            }
        }
        if self.waited_ms() > 0 {
            write(line, format_args!(" waited={}ms", self.waited_ms()));
        }
        for (name, hash) in self.hashes() {
            if let Some(hash) = hash {
                write(line, format_args!(" {name}={hash:08x}"));
            }
        }
        line.extend_from_slice(b" trace_id=");
        line.extend_from_slice(&self.trace_id.hex());
        line.extend_from_slice(b" outcome=");
        controls(self.outcome, line);
        if let Some((id, state)) = self.operation {
            write(line, format_args!(" operation_id={id} operation_state={}", state.label()));
        }
    }

    /// What happened on the way, by name.
    const fn words(&self) -> [(&'static str, Option<&str>); 4] {
        [("endpoint", self.endpoint), ("error", self.error), ("cache", self.cache), ("fallback", self.fallback)]
    }

    const fn hashes(&self) -> [(&'static str, Option<u32>); 2] {
        [("principal_hash", self.principal), ("key_hash", self.key)]
    }

    fn waited_ms(&self) -> u64 {
        u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX)
    }

    /// Milliseconds with three decimals, without a float on the way.
    fn duration_ms(&self, line: &mut Vec<u8>) {
        let us = self.duration.as_micros();
        line.extend_from_slice(itoa::Buffer::new().format(us / 1000).as_bytes());
        line.push(b'.');
        three_digits(line, (us % 1000) as u32);
    }

    fn path_start(&self) -> &str {
        &self.path[..self.path.floor_char_boundary(MAX_PATH)]
    }
}

impl Scratch {
    /// Appends RFC 3339 with milliseconds, in UTC.
    fn timestamp(&mut self, now: UnixMillis) {
        let second = now / 1000;
        if self.second != second || self.prefix[0] == 0 {
            let instant = jiff::Timestamp::from_second(second.cast_signed()).unwrap_or(jiff::Timestamp::MAX);
            let text = instant.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
            self.prefix.copy_from_slice(text.as_bytes().first_chunk::<20>().unwrap_or(b"9999-12-31T23:59:59."));
            self.second = second;
        }
        self.line.extend_from_slice(&self.prefix);
        three_digits(&mut self.line, (now % 1000) as u32);
        self.line.push(b'Z');
    }
}

/// A client's address, and the port where its connection is ours: a front names none.
struct ClientText(SocketAddr);

impl fmt::Display for ClientText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 0 { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

fn three_digits(line: &mut Vec<u8>, below_1000: u32) {
    line.extend([below_1000 / 100, below_1000 / 10 % 10, below_1000 % 10].map(|digit| b'0' + digit as u8));
}

fn text_field(line: &mut Vec<u8>, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    name_field(line, name);
    json_string(value, line);
}

fn number_field(line: &mut Vec<u8>, name: &str, value: u64) {
    name_field(line, name);
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn name_field(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

fn write(line: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    line.write_fmt(arguments).expect("writing to a Vec does not fail");
}
