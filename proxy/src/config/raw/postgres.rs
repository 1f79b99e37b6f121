//! `ledger` with `store: postgres`.

use std::time::Duration;

use mainstay_policies::operation::ledger::Settle;
use schemars::{Schema, SchemaGenerator};
use tokio_postgres::config::{Host, SslMode};

use super::ledger::{RawDurability, RawLedger, RawMigrate};
use crate::config::{
    decode::{Cx, Setting, or, section, words},
    model::{Postgres, Secret, Store, StoreTimeouts},
    node::{At, Node, Pos},
};

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
        /// `off`: by the network, if at all.
        mode: RawTlsMode = required,
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

    fn schema(_: &mut SchemaGenerator) -> Schema {
        words(&["off"])
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
    let is_protected = protection(raw.tls.take(), cx)?;
    let url = url.and_then(|url| checked_url(url, is_protected, cx));
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
        url: url?,
        password: password.map(|password| Secret(password.value)),
        password_file: password_file.map(|file| file.value.into()),
        is_unprotected: is_protected,
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

/// Whether the network is said to protect the connections; `None`: something is asked for that is not there.
fn protection(tls: Option<At<RawTls>>, cx: &mut Cx) -> Option<bool> {
    let Some(mode) = tls.and_then(|tls| tls.value.mode) else { return Some(false) };
    match mode.value {
        RawTlsMode::Off => Some(true),
        RawTlsMode::VerifyFull => {
            let help =
                "say `tls: { mode: off }` where the network protects it (a mesh, a tunnel, a socket), until it is";
            cx.error(mode.at, "TLS to the ledger's store is not there yet", help)
        }
    }
}

fn checked_url(url: At<String>, is_protected: bool, cx: &mut Cx) -> Option<String> {
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
    if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
        let help = "remove `sslmode`, and say `tls: { mode: off }` where the network protects it";
        return cx.error(url.at, "TLS to the ledger's store is not there yet", help);
    }
    let is_near = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
    });
    if !is_near && !is_protected {
        let message = "the store is on another machine, and nothing says how the connection to it is protected";
        let help = "TLS to it is not there yet: say `tls: { mode: off }` if the network protects it";
        return cx.error(url.at, message, help);
    }
    Some(url.value)
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
