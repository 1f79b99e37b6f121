//! `mainstay check --online`: whether what a configuration names is there. Every endpoint is resolved and connected to, the
//! ledger is opened to read, and each status endpoint is asked about a key that nobody has ever used. Nothing is written, and
//! nothing but a GET is sent.

use std::{
    fmt::{self, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use mainstay_policies::{
    clock::WallClock,
    evidence::{Evidence, Verdict},
    idempotency::{
        StatusQuery,
        query::{QUERY_TIMEOUT, judge},
        template,
    },
    operation::OperationId,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};

use crate::{
    config::{
        Severity,
        model::{self, Config, Endpoint, Route, Store},
    },
    ledger::{disk::Inspection, postgres},
    upstream::{FromFiles, Informed, Progress, Upstream, head::RequestHead, resolve},
    wire::{
        body::{
            ProxyBody,
            collect::{self, Collected},
        },
        field_source,
    },
};

/// Bytes of a status endpoint's answer that are read, as when a write is in doubt.
const MAX_ANSWER: usize = 256 * 1024;

/// What was found about one thing that the configuration names.
pub(in crate::cli) struct Look {
    /// What it is: the setting, or an address.
    subject: String,
    /// How it stands.
    message: String,
    /// The kind of fault, with how much it matters and what to do, if it is one.
    fault: Option<(&'static str, Severity, String)>,
}

impl Look {
    fn well(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), message: message.into(), fault: None }
    }

    fn fault(
        (code, severity): (&'static str, Severity),
        subject: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), message: message.into(), fault: Some((code, severity, cure.into())) }
    }

    pub(super) fn is(&self, wanted: Severity) -> bool {
        matches!(self.fault, Some((_, severity, _)) if severity == wanted)
    }

    /// As one of the list of findings; what is well is a note.
    pub(super) fn document(&self) -> Value {
        let (code, severity, cure) = match &self.fault {
            Some((code, severity, cure)) => (*code, severity.word(), cure.as_str()),
            None => ("online", Severity::Note.word(), ""),
        };
        json!({
            "code": code, "severity": severity, "file": null, "line": null, "column": null, "source": null,
            "subject": self.subject, "message": self.message, "cure": cure,
        })
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => write!(f, "{}: {}", self.subject, self.message),
            Some((code, severity, cure)) => {
                write!(f, "{}: {}: {} [{code}]\n   = {cure}", self.subject, severity.word(), self.message)
            }
        }
    }
}

const NOT_REACHABLE: (&str, Severity) = ("not-reachable", Severity::Error);
const LEDGER: (&str, Severity) = ("ledger-not-readable", Severity::Error);
const BELIEVES_ANYTHING: (&str, Severity) = ("status-believes-anything", Severity::Error);
const PROVES_NOTHING: (&str, Severity) = ("status-proves-nothing", Severity::Warning);

/// Looks at everything that the configuration names.
pub(super) async fn look(config: &Config) -> Vec<Look> {
    let mut found = Vec::new();
    for upstream in &config.upstreams {
        for endpoint in &upstream.endpoints {
            found.push(reach(upstream, endpoint).await);
        }
    }
    found.push(ledger(config).await);
    let mut asked: Vec<(&str, &Arc<str>)> = Vec::new();
    for route in &config.routes {
        let policy = route.policy.idempotency.as_ref();
        let Some(status) = policy.and_then(|idempotency| idempotency.status.as_ref()) else { continue };
        // Routes of one policy to one upstream ask the same.
        if !asked.contains(&(&*route.upstream.name, &route.policy.name)) {
            asked.push((&route.upstream.name, &route.policy.name));
            found.push(ask(config, route, status).await);
        }
    }
    found
}

async fn reach(upstream: &model::Upstream, endpoint: &Endpoint) -> Look {
    if let Some(path) = &endpoint.socket {
        return reach_local(upstream, endpoint, path).await;
    }
    let subject = format!("upstreams.{} {endpoint}", upstream.name);
    let host = endpoint.service.as_deref().unwrap_or(endpoint.authority.host());
    let start = Instant::now();
    let connect = async {
        // As it will be: by the name servers of `resolve`, if it has any.
        let (addresses, is_resolved) = match resolve(endpoint, &upstream.resolve).await {
            Ok(found) => found,
            Err(error) => return Err(format!("cannot resolve {host}: {error}")),
        };
        let count = is_resolved.then_some(addresses.len());
        let mut last = format!("{host} has no address");
        for address in &addresses {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok((*address, count)),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(last)
    };
    let connected = timeout(upstream.connect_timeout, connect).await;
    match connected.unwrap_or_else(|_| Err("no connection within connect_timeout".to_owned())) {
        Ok((address, count)) => {
            let mut message = format!("connected to {address} in {}", in_ms(start.elapsed()));
            // Also where it is one: more may come, and each is an endpoint.
            if let Some(count) = count {
                let addresses = if count == 1 { "address" } else { "addresses" };
                let _ = write!(message, "; resolved at run time, {count} {addresses} now");
            }
            Look::well(subject, message)
        }
        Err(why) => {
            let cure = "is the service running, and is this its address as seen from here?";
            Look::fault(NOT_REACHABLE, subject, why, cure)
        }
    }
}

async fn reach_local(upstream: &model::Upstream, endpoint: &Endpoint, path: &Path) -> Look {
    let subject = format!("upstreams.{} {endpoint}", upstream.name);
    let start = Instant::now();
    match timeout(upstream.connect_timeout, UnixStream::connect(path)).await {
        Ok(Ok(_)) => Look::well(subject, format!("connected in {}", in_ms(start.elapsed()))),
        Ok(Err(error)) => {
            let cure = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "the service makes this file when it starts: is it running, and is the directory shared?"
                }
                std::io::ErrorKind::PermissionDenied => "let this user write to the socket: by its group, or its mode",
                _ => "the file is there, and nobody listens: is the service running?",
            };
            Look::fault(NOT_REACHABLE, subject, error.to_string(), cure)
        }
        Err(_) => Look::fault(NOT_REACHABLE, subject, "no connection within connect_timeout", "is the service busy?"),
    }
}

fn in_ms(elapsed: Duration) -> String {
    format!("{:.1} ms", elapsed.as_secs_f64() * 1000.0)
}

async fn ledger(config: &Config) -> Look {
    const SUBJECT: &str = "ledger";
    match &config.ledger.store {
        Store::Disk { path, key_file, .. } if config.protects_writes() => on_disk(path, key_file.as_deref()),
        Store::Postgres(settings) if config.needs_ledger() => match postgres::replicas(settings).await {
            Ok(replicas) => {
                let live = replicas.iter().filter(|replica| replica.standing == "lives").count();
                Look::well(SUBJECT, format!("postgres, schema {}: readable, {live} replicas live", settings.schema))
            }
            Err(error) => Look::fault(LEDGER, SUBJECT, error.to_string(), "see `mainstay ledger schema --sql`"),
        },
        Store::Memory => Look::well(SUBJECT, "in memory: there is nothing to open"),
        Store::Disk { .. } | Store::Postgres(_) => Look::well(SUBJECT, "not used: no route protects writes"),
    }
}

fn on_disk(path: &Path, key_file: Option<&Path>) -> Look {
    let subject = format!("ledger {}", path.display());
    if !path.exists() {
        return match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
            Some(parent) => {
                let message = format!("it is not there yet, and neither is {}", parent.display());
                Look::well(subject, message + ": both are made at the first start, if this user may")
            }
            None => Look::well(subject, "it is not there yet: it is made at the first start"),
        };
    }
    match Inspection::open(path, key_file).and_then(|ledger| ledger.stats()) {
        Ok(stats) => {
            let [pending, .., unknown] = stats.counts;
            let all: u64 = stats.counts.iter().sum();
            Look::well(subject, format!("readable: {all} operations, {} of them open", pending + unknown))
        }
        Err(error) => Look::fault(LEDGER, subject, error.to_string(), "as the message says; nothing was changed"),
    }
}

/// Asks about a write that cannot have been, and says what the rules make of the answer.
async fn ask(config: &Config, route: &Route, query: &StatusQuery) -> Look {
    let subject = format!("policies.{}.idempotency.status of {}", route.policy.name, route.upstream.name);
    if query.method != Method::GET {
        return Look::well(subject, format!("not asked: {} may change something", query.method));
    }
    let key = format!("mainstay-check-{}", uuid::Uuid::new_v4());
    let names: Vec<&str> = template::placeholders(&query.path).filter_map(|name| name.strip_prefix("path.")).collect();
    let values: Vec<(&str, &str)> = names.iter().map(|name| (*name, key.as_str())).collect();
    let nobody = OperationId { seq: u64::from(u32::MAX), tag: fastrand::u64(..) };
    let Some(target) = template::target(&query.path, &key, &values) else {
        return Look::well(subject, "not asked: its path cannot be made up");
    };
    let target = target.replace("{operation}", &nobody.to_string());
    let tls = match route.upstream.tls.as_ref().map(|tls| Arc::clone(tls).open()).transpose() {
        Ok(tls) => tls.map(Arc::new),
        Err(error) => return no_answer(subject, &error.to_string()),
    };
    let set = match (!route.upstream.set.is_empty()).then(|| field_source::open(&route.upstream.set)).transpose() {
        Ok(set) => set.map(Arc::new),
        Err(error) => return no_answer(subject, &error.to_string()),
    };
    let read = FromFiles { tls: tls.as_ref(), set: set.as_ref() };
    let upstream = Upstream::new(Arc::clone(&route.upstream), read, config.limits.response_head(), 1, None);
    match timeout(QUERY_TIMEOUT, fetch(&upstream, &target)).await {
        Ok(Ok(answer)) => judged(query, &subject, &answer),
        Ok(Err(why)) => no_answer(subject, &why),
        Err(_) => no_answer(subject, &format!("no answer within {} s", QUERY_TIMEOUT.as_secs())),
    }
}

fn no_answer(subject: String, why: &str) -> Look {
    let cure = "a write in doubt cannot be settled while its status endpoint does not answer";
    Look::fault(NOT_REACHABLE, subject, why, cure)
}

async fn fetch(upstream: &Upstream, target: &str) -> Result<Response<Bytes>, String> {
    let uri: Uri = target.parse().map_err(|error| format!("`{target}` is no target: {error}"))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(host) = HeaderValue::from_str(upstream.authority(0).as_str()) {
        headers.insert(header::HOST, host);
    }
    let head = RequestHead { method: &Method::GET, uri: &uri, headers: &headers, host: None, added: None };
    let progress = Progress::default();
    let request = (head, ProxyBody::from(Bytes::new()));
    let answered = upstream.send(0, 0, request, &progress, Informed::default()).await;
    let (head, body) = answered.map_err(|error| error.to_string())?.into_parts();
    match collect::up_to(body, MAX_ANSWER).await {
        Ok(Collected::Whole { body, .. }) => Ok(Response::from_parts(head, body)),
        Ok(Collected::TooLarge { .. }) => Err("the answer is larger than 256KiB".to_owned()),
        Err(error) => Err(format!("the answer broke off: {error}")),
    }
}

fn judged(query: &StatusQuery, subject: &str, answer: &Response<Bytes>) -> Look {
    let heard = judge(query, answer, WallClock::system().now());
    let mut message = format!("a key that nobody used was answered with {}", answer.status().as_u16());
    let media_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // Writing to a String does not fail.
    let _ = write!(message, " ({}, {} bytes)", media_type.unwrap_or("no media type"), answer.body().len());
    let _ = write!(message, ", which the rules take for {}", heard.label());
    match heard.verdict {
        Some(Verdict::NotFound) => Look::well(subject, message),
        None | Some(Verdict::Evidence(Evidence::Ambiguous)) => {
            let cure = "a write that never arrived would stay in doubt: let the endpoint answer unknown keys with 404 and \
                        JSON or no body, with the rule { status: 404, then: not_found }; or, where it answers 200 with an empty list, \
                        say so: { status: 200, json: { /items/0: { exists: false } }, then: not_found }";
            Look::fault(PROVES_NOTHING, subject, message, cure)
        }
        Some(Verdict::Evidence(_)) => {
            let cure = "a lost write would be settled by that, whatever became of it: make the rules tell more apart";
            Look::fault(BELIEVES_ANYTHING, subject, message, cure)
        }
    }
}
