//! The effective configuration: every default filled in, every reference resolved, nothing left to check.

mod ledger;
mod listener;
mod policy;
mod postgres;
mod route;
mod server;
mod telemetry;
mod upstream;

use std::{path::PathBuf, sync::Arc};

use mainstay_policies::rate_limit::Scope;

use super::FromEnvironment;

pub use self::{
    ledger::{Ledger, OnFailure, Store},
    listener::{
        Address, ClientRule, Direction, HeaderFormat, HeaderPrincipal, LOCAL, Listener, Principal, San, TunnelTarget,
    },
    policy::{Cache, Policy},
    postgres::{Postgres, Secret, StoreTimeouts, StoreTls},
    route::{Match, Route},
    server::{Admin, AdminToken, Control, Drain, Limits, List, Probes, Ready, ReadyLedger},
    telemetry::{Compression, HeaderSource, LogFormat, Logs, Otlp, Propagation, TRACE_ID, Telemetry},
    upstream::{CONNECT_TIMEOUT, Endpoint, Family, Forward, Health, HostRule, Protocol, Resolve, SRV, UNIX, Upstream},
};

/// One immutable snapshot; a request keeps the one it began with.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where HTTP is accepted.
    pub listeners: Vec<Arc<Listener>>,
    /// The services behind.
    pub upstreams: Vec<Arc<Upstream>>,
    /// In file order; the first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Every named policy, used or not.
    pub policies: Vec<Arc<Policy>>,
    /// Where operations are kept.
    pub ledger: Ledger,
    /// Traces and logs.
    pub telemetry: Telemetry,
    /// The read-only listener for probes and metrics.
    pub probes: Probes,
    /// The operators' listener; `None` is off.
    pub admin: Option<Admin>,
    /// `/_mainstay` on the data listeners.
    pub control: Control,
    /// Bounds.
    pub limits: Limits,
    /// Shutdown.
    pub drain: Drain,
    /// What came from the environment, and is not shown.
    pub environment: FromEnvironment,
}

impl Config {
    /// Whether any route needs what a ledger keeps: writes, or what replicas tell each other of a limit that is theirs together.
    pub fn needs_ledger(&self) -> bool {
        let scope = |route: &Arc<Route>| route.policy.rate_limit.as_ref().map(|limit| limit.scope);
        self.protects_writes() || self.routes.iter().any(|route| scope(route) == Some(Scope::Service))
    }

    /// Whether any route protects writes.
    pub fn protects_writes(&self) -> bool {
        self.routes.iter().any(|route| route.policy.idempotency.is_some())
    }
}

/// Where the configuration came from, for reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub PathBuf);
