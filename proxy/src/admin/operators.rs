//! The operators' listener: who may ask, and which part answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, request::Parts};

use super::{
    accept::Bounds,
    guard::{Guard, TokenFile},
    probes::ProbeState,
};
use crate::{api::Fault, background::resolver::Resolver, runtime::Runtime, telemetry::logs::Logging};

/// Operators and their scripts need a handful of connections.
pub(super) const BOUNDS: Bounds = Bounds { name: "admin", connections: 64, lifetime: Duration::from_mins(1) };
/// Bytes of a body: a reason of a thousand characters and what goes with it.
pub(super) const MAX_BODY: usize = 16 * 1024;
/// For a body to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operators see and move.
pub(crate) struct Operators {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) logging: Arc<Logging>,
    pub(crate) probes: Arc<ProbeState>,
    pub(super) resolver: Resolver,
    pub(super) guard: Guard,
}

impl Operators {
    pub(crate) fn new(
        runtime: Arc<Runtime>,
        logging: Arc<Logging>,
        probes: Arc<ProbeState>,
        token: Option<TokenFile>,
    ) -> Self {
        let resolver = Resolver::new(runtime.clone());
        Self { resolver, runtime, logging, probes, guard: Guard { token } }
    }
}

/// One request, its body read.
pub(super) struct OperatorRequest<'a> {
    pub(super) cx: &'a Operators,
    pub(super) parts: &'a Parts,
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
