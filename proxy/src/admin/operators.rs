//! The operators' listener: who may ask, and which part answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, request::Parts};

use super::{
    accept::Bounds,
    breakers::Holders,
    guard::{Caller, Credential, Guard},
    jobs::Jobs,
    probes::ProbeState,
};
use crate::{
    api::Fault,
    background::resolver::Resolver,
    config::{default_admin, model::Admin, watch::Orders},
    runtime::Runtime,
    telemetry::logs::Logging,
};
use mainstay_policies::clock::UnixMillis;

/// Operators and their scripts need a handful of connections.
pub(super) const BOUNDS: Bounds = Bounds { name: "admin", connections: 64, lifetime: Duration::from_mins(1) };
/// Bytes of a body: a reason of a thousand characters and what goes with it.
pub(super) const MAX_BODY: usize = 16 * 1024;
/// Bytes of an order about many: ten thousand ids.
pub(super) const MAX_ORDER: usize = 512 * 1024;
/// For a body to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operators see and move.
pub(crate) struct Operators {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) logging: Arc<Logging>,
    pub(crate) probes: Arc<ProbeState>,
    pub(super) resolver: Resolver,
    pub(super) guard: Guard,
    pub(super) jobs: Jobs,
    pub(super) holders: Holders,
    pub(super) started_at: UnixMillis,
    /// Orders to read the configuration again, if it came from a file.
    pub(super) orders: Option<Orders>,
}

impl Operators {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        logging: Arc<Logging>,
        probes: Arc<ProbeState>,
        credentials: Vec<Credential>,
        orders: Option<Orders>,
    ) -> Self {
        let resolver = Resolver::new(runtime.clone());
        let started_at = runtime.resources.clock.now();
        let (guard, jobs, holders) = (Guard { credentials }, Jobs::default(), Holders::default());
        Self { runtime, logging, probes, resolver, guard, jobs, holders, started_at, orders }
    }

    /// What operators may do, as configured now.
    pub(super) fn settings(&self) -> Admin {
        self.runtime.snapshot.load().config.admin.clone().unwrap_or_else(default_admin)
    }
}

/// One request, its body read.
pub(super) struct OperatorRequest<'a> {
    pub(super) cx: &'a Arc<Operators>,
    pub(super) parts: &'a Parts,
    pub(super) caller: Caller,
    pub(super) body: Bytes,
}

impl OperatorRequest<'_> {
    pub(crate) fn reads(&self) -> Result<(), Fault> {
        self.allow(&[Method::GET, Method::HEAD])
    }

    pub(crate) fn allow(&self, methods: &[Method]) -> Result<(), Fault> {
        if methods.contains(&self.parts.method) { Ok(()) } else { Err(Fault::method(methods)) }
    }
}
