//! `ledger` with `store: postgres`.

use std::time::Duration;

use mainstay_policies::operation::ledger::Settle;
use serde_json::Value;
use tokio_postgres::config::{Host, SslMode};

use super::{
    ledger::{RawDurability, RawLedger, RawMigrate},
    tls::RawCredentials,
};
use crate::config::{
    decode::{Cx, Setting, or, section, words},
    definitions::Definitions,
    model::{Postgres, Secret, Store, StoreTimeouts, StoreTls},
    node::{At, Node, Pos},
};
use crate::wire::tls::{ClientTls, MinVersion};

/// Of the schema.
const SCHEMA: &str = "mainstay";
/// A store in the same zone answers within a few milliseconds, and a commit on a network volume takes some ten; beyond these a
/// write is better refused, with a `Retry-After`, than held.
const TIMEOUTS: StoreTimeouts = StoreTimeouts {
    connect: Duration::from_secs(1),
    answer: Duration::from_millis(500),
    begin: Duration::from_secs(1),
    settle: Duration::from_secs(2),
    read: Duration::from_secs(1),
};
/// Two beats may be lost, and a third be late, before a replica is taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(2);
const TTL: Duration = Duration::from_secs(10);
const BEATS: u32 = 4;
/// A repeat learns of an outcome elsewhere about that much later; one question serves all who wait.
const WAIT_POLL: Duration = Duration::from_millis(25);

section! {
    /// How long the store may take.
    RawStoreTimeouts {
        /// To connect to each of its hosts. Default 1s.
        connect: Duration,
        /// Until each answer. Default 500ms.
        answer: Duration,
        /// Until a new operation is on record; then the write is refused and nothing is sent. Default 1s.
        begin: Duration,
        /// Until a caller is told `outcome-unknown` because the outcome could not be recorded; recording goes on. Default 2s.
        settle: Duration,
        /// Until a read is given up. Default 1s.
        read: Duration,
    }
}

section! {
    /// When a replica is taken for dead.
    RawLease {
        /// How often each replica says that it lives. Default 2s.
        heartbeat: Duration,
        /// How long its beat must have stood still; at least four heartbeats. Default 10s.
        ttl: Duration,
    }
}

section! {
    /// How connections to the store are protected.
    RawTls {
        /// `verify-full`: by TLS, and the store shows a certificate for its name. `off`: by the network, if at all. Default
        /// verify-full, or off for a store on this machine.
        mode: RawTlsMode,
        /// The authorities that the store's certificate may be from, and no others. Default: `SSL_CERT_FILE`, else Mozilla's.
        ca_file: String,
        /// A client certificate with its key, in one file.
        bundle_file: String,
        /// A client certificate, for a store that asks for one.
        cert_file: String,
        /// The key of the client certificate.
        key_file: String,
        /// The oldest TLS that is spoken, "1.2" or "1.3". Default "1.2".
        min_version: MinVersion,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawTlsMode {
    Off,
    VerifyFull,
}

impl Setting for RawTlsMode {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("off", Self::Off), ("verify-full", Self::VerifyFull)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["off", "verify-full"])
    }
}

/// What only a ledger in PostgreSQL has, given for another one.
pub(super) fn only_there(raw: &RawLedger, cx: &mut Cx) {
    let given = [
        ("url", raw.url.as_ref().map(|given| given.at)),
        ("password", raw.password.as_ref().map(|given| given.at)),
        ("password_file", raw.password_file.as_ref().map(|given| given.at)),
        ("tls", raw.tls.as_ref().map(|given| given.at)),
        ("schema", raw.schema.as_ref().map(|given| given.at)),
        ("service", raw.service.as_ref().map(|given| given.at)),
        ("timeouts", raw.timeouts.as_ref().map(|given| given.at)),
        ("lease", raw.lease.as_ref().map(|given| given.at)),
        ("wait_poll", raw.wait_poll.as_ref().map(|given| given.at)),
        ("migrate", raw.migrate.as_ref().map(|given| given.at)),
        ("durability", raw.durability.as_ref().map(|given| given.at)),
        ("ready_without", raw.ready_without.as_ref().map(|given| given.at)),
    ];
    for (key, at) in given {
        if let Some(at) = at {
            let message = format!("`{key}` is for `store: postgres`");
            cx.error::<()>(at, message, "remove it, or use `store: postgres`");
        }
    }
}

/// The store of `store: postgres`; whatever is wrong with it is said.
pub(super) fn store(raw: &mut RawLedger, at_ledger: Pos, cx: &mut Cx) -> Option<Store> {
    not_there(raw, cx);
    let url = raw.url.take();
    let service = raw.service.take();
    for (key, is_given, example) in [
        ("url", url.is_some(), "postgres://mainstay@db:5432/payments"),
        ("service", service.is_some(), "the name of the service behind, which no other ledger has"),
    ] {
        if !is_given {
            let message = format!("`{key}` is missing in `ledger`, which `store: postgres` needs");
            cx.error::<()>(at_ledger, message, format!("add it: {example}"));
        }
    }
    let url = url.and_then(|url| checked_url(url, cx));
    let tls = raw.tls.take();
    let tls = url.as_ref().and_then(|url| protection(tls, url, cx));
    let schema = raw.schema.take().map_or(Some(SCHEMA.to_owned()), |schema| identifier(schema, cx));
    let service = service.and_then(|service| {
        if service.value.trim().is_empty() {
            return cx.error(service.at, "`service` is empty", "name the service whose writes are kept there");
        }
        Some(service.value)
    });
    let password = raw.password.take();
    let password_file = raw.password_file.take();
    if let (Some(password), Some(_)) = (&password, &password_file) {
        cx.error::<()>(password.at, "both `password` and `password_file` are given", "remove one of them");
    }
    let timeouts = timeouts(raw.timeouts.take().map(|timeouts| timeouts.value), cx);
    let (heartbeat, ttl) = lease(raw.lease.take(), cx);
    Some(Store::Postgres(Box::new(Postgres {
        url: url?.url,
        password: password.map(|password| Secret(password.value)),
        password_file: password_file.map(|file| file.value.into()),
        tls: tls?,
        schema: schema?,
        service: service?,
        timeouts,
        heartbeat,
        ttl,
        wait_poll: cx.positive("wait_poll", raw.wait_poll.take(), WAIT_POLL),
        migrates: or(raw.migrate.take(), RawMigrate::Auto) == RawMigrate::Auto,
        durability_is_declared: or(raw.durability.take(), RawDurability::Verified) == RawDurability::Declared,
        ready_without: or(raw.ready_without.take(), true),
        key_file: raw.encrypt.take().map(|file| file.value.0),
    })))
}

/// What a shared ledger does not have.
fn not_there(raw: &mut RawLedger, cx: &mut Cx) {
    if let Some(path) = raw.path.take() {
        cx.error::<()>(path.at, "`store: postgres` has no `path`", "remove it, or use `store: disk`");
    }
    if let Some(bytes) = raw.max_bytes.take() {
        let help = "remove it: its size is the database's business";
        cx.error::<()>(bytes.at, "`store: postgres` has no `max_bytes`", help);
    }
    if let Some(on_failure) = raw.on_failure.take() {
        let help = "remove it: a store that fails is reached again when it is back, without a restart";
        cx.error::<()>(on_failure.at, "`store: postgres` has no `on_failure`", help);
    }
    if let Some(node) = raw.node.take() {
        let help = "remove it: the ledger hands nodes out, each to one replica";
        cx.error::<()>(node.at, "`store: postgres` has no `node`", help);
    }
    if let Some(settle) = raw.settle.take().filter(|settle| settle.value == Settle::Eventual) {
        let help = "remove it: every settlement in a shared ledger is durable";
        cx.error::<()>(settle.at, "`settle: eventual` is not there for `store: postgres`", help);
    }
}

/// How the connections to `hosts` are protected.
fn protection(tls: Option<At<RawTls>>, url: &Checked, cx: &mut Cx) -> Option<StoreTls> {
    let Some(At { value: raw, at }) = tls else {
        return Some(if url.is_near { StoreTls::Near } else { StoreTls::VerifyFull(Box::default()) });
    };
    if raw.mode.as_ref().is_some_and(|mode| mode.value == RawTlsMode::Off) {
        let files = [&raw.ca_file, &raw.bundle_file, &raw.cert_file, &raw.key_file];
        if let Some(file) = files.into_iter().flatten().next() {
            let help = "remove it, or say `mode: verify-full`";
            return cx.error(file.at, "`tls` is off, and names a file for it", help);
        }
        return Some(StoreTls::Off);
    }
    if url.has_socket {
        let help = "remove `tls`: what goes through a socket does not leave this machine";
        return cx.error(at, "a Unix socket has no TLS", help);
    }
    let credentials = RawCredentials { bundle_file: raw.bundle_file, cert_file: raw.cert_file, key_file: raw.key_file };
    Some(StoreTls::VerifyFull(Box::new(ClientTls {
        ca_file: raw.ca_file.map(|file| file.value.into()),
        credentials: credentials.resolve(cx),
        min_version: or(raw.min_version, MinVersion::default()),
    })))
}

/// A url that can be used, and where it leads.
struct Checked {
    url: String,
    is_near: bool,
    has_socket: bool,
}

fn checked_url(url: At<String>, cx: &mut Cx) -> Option<Checked> {
    let config: tokio_postgres::Config = match url.value.parse() {
        Ok(config) => config,
        Err(error) => {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let message = format!("`url` cannot be read: {why}");
            return cx.error_unshown(url.at, message, "postgres://user@host:port/database");
        }
    };
    if config.get_password().is_some() {
        let help = "remove it there, and give `password_file`, or `password: \"${PGPASSWORD}\"`";
        return cx.error_unshown(url.at, "there is a password in `url`", help);
    }
    if config.get_hosts().is_empty() || config.get_user().is_none() || config.get_dbname().is_none() {
        let message = "`url` lacks a user, a host or a database";
        return cx.error(url.at, message, "postgres://user@host:port/database");
    }
    if config.get_options().is_some() {
        let help = "remove it: what a session needs is set by Mainstay";
        return cx.error(url.at, "`url` has `options`", help);
    }
    if config.get_ssl_mode() != SslMode::Prefer {
        let help = "remove `sslmode`, and say `tls: { mode: verify-full }` or `tls: { mode: off }`";
        return cx.error(url.at, "`url` has `sslmode`, which `ledger.tls` says", help);
    }
    let hosts = config.get_hosts();
    let has_socket = hosts.iter().any(|host| matches!(host, Host::Unix(_)));
    let is_near = hosts.iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    }) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
    Some(Checked { url: url.value, is_near, has_socket })
}

fn identifier(schema: At<String>, cx: &mut Cx) -> Option<String> {
    let name = &schema.value;
    let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let begins = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !is_plain || !begins || name.len() > 48 || name.starts_with("pg_") {
        let help = "lower-case letters, digits and `_`, at most 48, not beginning with a digit or `pg_`";
        return cx.error(schema.at, "`schema` is no plain name", help);
    }
    Some(schema.value)
}

fn timeouts(raw: Option<RawStoreTimeouts>, cx: &mut Cx) -> StoreTimeouts {
    let Some(raw) = raw else { return TIMEOUTS };
    StoreTimeouts {
        connect: cx.positive("connect", raw.connect, TIMEOUTS.connect),
        answer: cx.positive("answer", raw.answer, TIMEOUTS.answer),
        begin: cx.positive("begin", raw.begin, TIMEOUTS.begin),
        settle: cx.positive("settle", raw.settle, TIMEOUTS.settle),
        read: cx.positive("read", raw.read, TIMEOUTS.read),
    }
}

fn lease(lease: Option<At<RawLease>>, cx: &mut Cx) -> (Duration, Duration) {
    let Some(At { value: raw, at }) = lease else { return (HEARTBEAT, TTL) };
    let heartbeat = cx.positive("heartbeat", raw.heartbeat, HEARTBEAT);
    let ttl = cx.positive("ttl", raw.ttl, TTL);
    if ttl < heartbeat * BEATS {
        let help = format!("at least {} ms: a beat may be lost, and another be late", (heartbeat * BEATS).as_millis());
        cx.error::<()>(at, "`ttl` is shorter than four heartbeats", help);
    }
    (heartbeat, ttl)
}
