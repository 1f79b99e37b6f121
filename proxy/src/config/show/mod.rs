//! The effective configuration as YAML, every default filled in; reading it back gives an equal [`Config`].

mod policy;
mod tls;
mod words;

use http::HeaderName;
use mainstay_policies::{
    access::{Peer, Peers},
    balance::{Balance, HashOf},
    cors::{Cors, Origins},
    operation::ledger::Settle,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use self::words::{duration, map, size, text, with, word};
use super::{
    FromEnvironment,
    model::{
        Admin, AdminToken, ClientRule, Compression, Config, Control, Endpoint, Family, Forward, HeaderFormat,
        HeaderSource, Health, HostRule, LOCAL, Ledger, Limits, List, Listener, LogFormat, Match, OnFailure, Otlp,
        Postgres, Principal, Propagation, Protocol, ReadyLedger, Resolve, Route, SRV, Store, StoreTls, Telemetry,
        Upstream,
    },
    raw::{NO_POLICY, PROPAGATION},
    units::format_size,
};

/// The configuration as one YAML document.
pub fn show(config: &Config) -> String {
    serde_saphyr::to_string(&document(config)).unwrap_or_else(|error| format!("# {error}\n"))
}

/// The same with the values that came from the environment: for whoever could read them there anyway.
pub fn reveal(config: &Config) -> String {
    show(&Config { environment: FromEnvironment::default(), ..config.clone() })
}

/// Twelve hex digits that tell two effective configurations apart: of replicas that should run the same. What belongs to one
/// machine or instance is left out: its number, and what its CPUs and its memory give it.
pub fn hash(config: &Config) -> String {
    let mut document = document(config);
    for (section, key) in
        [("/limits", "workers"), ("/limits", "connections"), ("/limits", "buffered_bytes"), ("/ledger", "node")]
    {
        if let Some(Value::Object(section)) = document.pointer_mut(section) {
            section.remove(key);
        }
    }
    let digest = Sha256::digest(document.to_string());
    let first = digest.iter().take(6).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{first:012x}")
}

/// The same as a tree. What came from the environment is named, not shown.
pub(crate) fn document(config: &Config) -> Value {
    let listeners = config.listeners.iter().map(|it| (it.name.to_string(), listener(it)));
    let upstreams = config.upstreams.iter().map(|it| (it.name.to_string(), upstream(it)));
    let policies = config.policies.iter().map(|it| (it.name.to_string(), policy::policy(it)));
    let mut document = json!({
        "listeners": map(listeners),
        "upstreams": map(upstreams),
        "routes": config.routes.iter().map(|it| route(it)).collect::<Vec<_>>(),
        "policies": map(policies),
        "ledger": ledger(&config.ledger),
        "telemetry": telemetry(&config.telemetry),
        "probes": {
            "address": config.probes.address.to_string(),
            "ready": { "ledger": match config.probes.ready.ledger { ReadyLedger::Auto => "auto", ReadyLedger::Never => "never" } },
        },
        "admin": admin(config.admin.as_ref()),
        "control": control(&config.control),
        "limits": limits(&config.limits),
        "drain": { "delay": duration(config.drain.delay), "timeout": duration(config.drain.timeout) },
    });
    config.environment.hide_in(&mut document);
    document
}

fn control(control: &Control) -> Value {
    let shown = json!({
        "path": &*control.path,
        "rate_limit": policy::rate_limit(&control.rate_limit),
        "list": match control.list { List::Own => "own", List::Off => "off" },
    });
    with(shown, [("public_url", control.public_url.as_deref().map(text))])
}

fn admin(admin: Option<&Admin>) -> Value {
    let Some(Admin { address, token_file, tokens, reveal, bulk_not_executed, tls }) = admin else {
        return json!("off");
    };
    let token_file = token_file.as_ref().map(|file| text(&file.to_string_lossy()));
    let of_token = |token: &AdminToken| json!({ "name": &*token.name, "file": text(&token.file.to_string_lossy()), "read_only": token.read_only });
    let tokens = (!tokens.is_empty()).then(|| tokens.iter().map(of_token).collect());
    let shown = json!({ "address": address.to_string(), "reveal": reveal, "bulk_not_executed": bulk_not_executed });
    let tls = tls.as_deref().map(tls::listener);
    with(shown, [("token_file", token_file), ("tokens", tokens), ("tls", tls)])
}

fn ledger(ledger: &Ledger) -> Value {
    let (max_open, max_bytes) = (ledger.max_open, format_size(ledger.max_bytes));
    let shown = match &ledger.store {
        Store::Memory => json!({ "store": "memory", "max_open": max_open, "max_bytes": max_bytes }),
        Store::Postgres(store) => postgres(store, max_open),
        Store::Disk { path, settle, key_file, on_failure } => {
            let settle = match settle {
                Settle::Durable => "durable",
                Settle::Eventual => "eventual",
            };
            let on_failure = match on_failure {
                OnFailure::Exit => "exit",
                OnFailure::Stay => "stay",
            };
            let path = path.to_string_lossy();
            let mut shown = json!({
                "store": "disk", "path": path, "settle": settle, "on_failure": on_failure, "max_open": max_open,
                "max_bytes": max_bytes,
            });
            if let Some(file) = key_file {
                shown["encrypt"] = json!({ "key_file": file.to_string_lossy() });
            }
            shown
        }
    };
    with(shown, [("node", ledger.node.map(Value::from))])
}

/// Without the password, whatever its source.
fn postgres(store: &Postgres, max_open: usize) -> Value {
    let timeouts = &store.timeouts;
    let shown = json!({
        "store": "postgres",
        "url": store.url,
        "schema": store.schema,
        "service": store.service,
        "timeouts": {
            "connect": duration(timeouts.connect), "answer": duration(timeouts.answer), "begin": duration(timeouts.begin),
            "settle": duration(timeouts.settle), "read": duration(timeouts.read),
        },
        "lease": { "heartbeat": duration(store.heartbeat), "ttl": duration(store.ttl) },
        "wait_poll": duration(store.wait_poll),
        "migrate": if store.migrates { "auto" } else { "check" },
        "durability": if store.durability_is_declared { "declared" } else { "verified" },
        "ready_without": store.ready_without,
        "max_open": max_open,
    });
    let encrypt = store.key_file.as_ref().map(|file| json!({ "key_file": file.to_string_lossy() }));
    let password_file = store.password_file.as_ref().map(|file| json!(file.to_string_lossy()));
    let tls = match &store.tls {
        StoreTls::Near => None,
        StoreTls::Off => Some(json!({ "mode": "off" })),
        StoreTls::VerifyFull(tls) => Some(with(tls::client(tls), [("mode", Some(json!("verify-full")))])),
    };
    with(shown, [("password_file", password_file), ("tls", tls), ("encrypt", encrypt)])
}

fn listener(listener: &Listener) -> Value {
    let shown = json!({
        "address": listener.address.to_string(),
        "direction": listener.direction.word(),
        "client": client(&listener.client),
        "trust_deadline": listener.trust_deadline,
        "cors": listener.cors.as_deref().map_or_else(|| json!("upstream"), cors),
    });
    let is_said = listener.principal != Principal::Local || !listener.former.is_empty();
    with(
        shown,
        [
            ("principal", is_said.then(|| callers(&listener.principal, &listener.former))),
            ("trust_network", listener.is_outbound().then(|| listener.trust_network.into())),
            ("connect", (!listener.tunnels.is_empty()).then(|| json!({ "allow": tunnels(listener) }))),
            ("access", listener.access.as_deref().map(policy::access)),
            ("tls", listener.tls.as_deref().map(tls::listener)),
        ],
    )
}

fn tunnels(listener: &Listener) -> Vec<Value> {
    listener.tunnels.iter().map(|target| text(&target.to_string())).collect()
}

/// How callers are known, and how they were.
fn callers(now: &Principal, former: &[Principal]) -> Value {
    let was = (!former.is_empty()).then(|| former.iter().map(principal).collect());
    match now {
        Principal::Anonymous | Principal::Local if was.is_some() => with(json!({}), [("was", was)]),
        now => with(principal(now), [("was", was)]),
    }
}

fn principal(principal: &Principal) -> Value {
    match principal {
        Principal::Anonymous => json!("anonymous"),
        Principal::Certificate(san) => json!({ "tls": san.word() }),
        Principal::Local => json!(LOCAL),
        Principal::Header(header) => {
            let format = (header.format == HeaderFormat::Xfcc).then(|| json!("xfcc"));
            with(json!({ "header": text(header.name.as_str()), "from": peers(&header.from) }), [("format", format)])
        }
    }
}

fn client(client: &ClientRule) -> Value {
    let is_told = !client.trusted.0.is_empty();
    with(
        json!({ "prefix6": client.prefix6 }),
        [
            ("header", is_told.then(|| client.header.name().into())),
            ("trusted", is_told.then(|| peers(&client.trusted))),
        ],
    )
}

fn peers(peers: &Peers) -> Value {
    let shown = peers.0.iter().map(|peer| match peer {
        Peer::Local => "local".to_owned(),
        Peer::Network(network) => network.to_string(),
    });
    shown.collect()
}

fn cors(cors: &Cors) -> Value {
    let names = |names: &[HeaderName]| names.iter().map(|name| text(name.as_str())).collect::<Vec<_>>();
    let origins = match cors.origins() {
        Origins::Any => vec![json!("*")],
        Origins::Listed(origins) => origins.iter().map(|origin| text(origin)).collect(),
    };
    json!({
        "origins": origins,
        "credentials": cors.credentials(),
        "max_age": duration(cors.max_age()),
        "headers": names(cors.headers()),
        "expose": names(cors.expose()),
    })
}

fn upstream(upstream: &Upstream) -> Value {
    let scheme = |secure| if secure { "https" } else { "http" };
    let endpoint = |it: &Endpoint| {
        if it.socket.is_some() {
            return it.to_string();
        }
        let srv = if it.service.is_some() { SRV } else { "" };
        format!("{srv}{}://{it}", scheme(it.is_secure))
    };
    let endpoints: Vec<String> = upstream.endpoints.iter().map(endpoint).collect();
    let shown = json!({
        "endpoints": endpoints,
        "protocol": match upstream.protocol {
            Protocol::Auto => "auto",
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
        },
        "connect_timeout": duration(upstream.connect_timeout),
        "honours_key": upstream.honours_key,
        "max_connections": upstream.max_connections.get(),
        "idle_timeout": duration(upstream.idle_timeout),
        "max_age": duration(upstream.max_age),
        "resolve": resolve(&upstream.resolve),
        "balance": balance(&upstream.balance),
        "slow_start": duration(upstream.slow_start),
        "host": match &upstream.host {
            HostRule::Keep => json!("keep"),
            HostRule::Endpoint => json!("endpoint"),
            HostRule::Name(name) => text(name.as_str()),
        },
        "forward": if upstream.forward == Forward::Internal { "internal" } else { "external" },
    });
    let trace = match upstream.forward {
        Forward::Internal => None,
        Forward::External { trace } => Some(json!(if trace { "w3c" } else { "none" })),
    };
    let remove: Vec<_> = upstream.remove.iter().map(|name| text(name.as_str())).collect();
    let fields = with(
        json!({}),
        [
            ("set", (!upstream.set.is_empty()).then(|| sources(&upstream.set))),
            ("remove", (!remove.is_empty()).then(|| remove.into())),
        ],
    );
    let fields = (fields != json!({})).then_some(fields);
    let tls = upstream.tls.as_deref().map(tls::upstream);
    let health = upstream.health.as_ref().map(health);
    with(shown, [("tls", tls), ("trace", trace), ("headers", fields), ("health", health)])
}

/// Fields by name; of their values only where they are from.
fn sources(fields: &[(HeaderName, HeaderSource)]) -> Value {
    let source = |source: &HeaderSource| match source {
        HeaderSource::Text(_) => json!("(set)"),
        HeaderSource::File { file, prefix } => {
            let prefix = (!prefix.is_empty()).then(|| text(prefix));
            with(json!({ "file": text(&file.to_string_lossy()) }), [("prefix", prefix)])
        }
    };
    map(fields.iter().map(|(name, value)| (name.to_string(), source(value))))
}

fn resolve(resolve: &Resolve) -> Value {
    let servers: Vec<_> = resolve.servers.iter().map(ToString::to_string).collect();
    with(
        json!({
            "min": duration(resolve.min),
            "max": duration(resolve.max),
            "family": match resolve.family { Family::Any => "any", Family::Ipv4 => "ipv4", Family::Ipv6 => "ipv6" },
            "max_addresses": resolve.max_addresses.get(),
        }),
        [("servers", (!servers.is_empty()).then(|| servers.into()))],
    )
}

fn health(health: &Health) -> Value {
    json!({
        "path": text(health.path.as_str()),
        "interval": duration(health.interval),
        "timeout": duration(health.timeout),
        "unhealthy": health.thresholds.unhealthy.get(),
        "healthy": health.thresholds.healthy.get(),
    })
}

fn balance(balance: &Balance) -> Value {
    let of = match balance {
        Balance::P2c => return json!("p2c"),
        Balance::RoundRobin => return json!("round_robin"),
        Balance::Hash(of) => of,
    };
    let of = match of {
        HashOf::Principal => json!("principal"),
        HashOf::Key => json!("key"),
        HashOf::Header(name) => json!({ "header": text(name.as_str()) }),
    };
    json!({ "hash": of })
}

fn route(route: &Route) -> Value {
    let mut shown = Map::new();
    if *route.name != *route.matches.path.text {
        shown.insert("name".into(), text(&route.name));
    }
    shown.insert("match".into(), matches(&route.matches));
    shown.insert("upstream".into(), route.upstream.name.to_string().into());
    if *route.policy.name != *NO_POLICY {
        shown.insert("policy".into(), route.policy.name.to_string().into());
    }
    if let Some(rewrite) = &route.rewrite {
        let part = |it: &str| (!it.is_empty()).then(|| text(it));
        let parts = [("strip_prefix", part(rewrite.strip_prefix())), ("prefix", part(rewrite.prefix()))];
        shown.insert("rewrite".into(), with(json!({}), parts));
    }
    Value::Object(shown)
}

fn matches(matches: &Match) -> Value {
    let mut shown = Map::new();
    shown.insert("path".into(), text(&matches.path.text));
    if !matches.methods.is_empty() {
        shown.insert("methods".into(), matches.methods.iter().map(|method| Value::from(method.as_str())).collect());
    }
    if !matches.listeners.is_empty() {
        shown.insert("listener".into(), matches.listeners.iter().map(|name| text(name)).collect());
    }
    if let Some(host) = &matches.host {
        shown.insert("host".into(), text(host));
    }
    if let Some(port) = matches.port {
        shown.insert("port".into(), port.into());
    }
    if !matches.headers.is_empty() {
        let headers =
            matches.headers.iter().map(|(name, value)| (name.to_string(), text(value.to_str().unwrap_or_default())));
        shown.insert("headers".into(), map(headers));
    }
    Value::Object(shown)
}

fn telemetry(telemetry: &Telemetry) -> Value {
    let formats: Vec<&str> = telemetry.propagation.iter().map(|it| word::<Propagation>(&PROPAGATION, it)).collect();
    let shown = json!({
        "service_name": text(&telemetry.service_name),
        "otlp": telemetry.otlp.as_ref().map_or_else(|| json!("none"), otlp),
        "propagation": formats,
        "sample_ratio": telemetry.sample_ratio,
        "logs": {
            "format": match telemetry.logs.format { LogFormat::Json => "json", LogFormat::Text => "text" },
            "level": text(&telemetry.logs.level),
            "access": telemetry.logs.access,
        },
    });
    with(shown, [("trace_url", telemetry.trace_url.as_deref().map(text))])
}

fn otlp(otlp: &Otlp) -> Value {
    let shown = json!({
        "endpoint": text(&otlp.endpoint.to_string()),
        "timeout": duration(otlp.timeout),
        "queue": otlp.queue.get(),
        "compression": match otlp.compression { Compression::None => "none", Compression::Gzip => "gzip" },
    });
    let headers = (!otlp.headers.is_empty()).then(|| sources(&otlp.headers));
    with(shown, [("tls", otlp.tls.as_deref().map(tls::client)), ("headers", headers)])
}

fn limits(limits: &Limits) -> Value {
    let shown = json!({
        "header_bytes": size(limits.header_bytes.get()),
        "header_count": limits.header_count.get(),
        "response_header_bytes": size(limits.response_header_bytes.get()),
        "response_header_count": limits.response_header_count.get(),
        "header_timeout": duration(limits.header_timeout),
        "handshake_timeout": duration(limits.handshake_timeout),
        "keep_alive": duration(limits.keep_alive),
        "connections": limits.connections.get(),
        "streams": limits.streams.get(),
        "workers": limits.workers.get(),
        "buffered_bytes": size(limits.buffered_bytes.get()),
    });
    with(shown, [("max_connection_age", limits.max_connection_age.map(|age| json!(duration(age))))])
}
