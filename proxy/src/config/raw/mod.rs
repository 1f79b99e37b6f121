//! What may be written, section by section: short forms, long forms, ranges and defaults. Each file turns one part of the
//! document into the model types; references between the parts are resolved in
//! [`build`](super::build).

mod access;
mod balance;
mod cache;
mod circuit_breaker;
mod concurrency_limit;
mod cors;
mod fallback;
mod health;
mod idempotency;
mod key;
mod ledger;
mod listener;
mod listener_tls;
mod outcome;
mod path;
mod policy;
mod postgres;
mod rate_limit;
mod resolved;
mod retry;
mod route;
mod server;
mod service;
mod status;
mod telemetry;
mod timeout;
mod tls;
mod unix;
mod upstream;
mod upstream_head;

pub(crate) use idempotency::redispatch_at;
pub(crate) use key::from_at;
pub(crate) use ledger::default_ledger;
pub(crate) use listener::{PrincipalChoice, RawConnect, RawListener};
#[cfg(test)]
pub(crate) use outcome::to_json;
pub(crate) use outcome::{VERDICTS, shown};
pub(crate) use policy::RawPolicy;
pub(crate) use retry::GRPC;
pub(crate) use route::RawRoute;
pub(crate) use server::{MaybeAdmin, default_admin, default_control, default_drain, default_limits, default_probes};
pub(crate) use status::{request_at, split_variables};
pub(crate) use telemetry::{PROPAGATION, default_telemetry};
pub(crate) use upstream::RawUpstream;

use super::{decode::section, model, scalars::Named};

/// The name of the policy of routes that name none.
pub(crate) const NO_POLICY: &str = "none";

section! {
    /// The configuration of Mainstay.
    Root {
        /// Addresses on which HTTP is accepted, by name.
        listeners: Named<RawListener> = required,
        /// The services behind, by name.
        upstreams: Named<RawUpstream> = required,
        /// Which request goes where; the first match wins.
        routes: Vec<RawRoute> = required,
        /// Named sets of rules that routes refer to.
        policies: Named<RawPolicy>,
        /// Where operations (keyed writes) are kept.
        ledger: model::Ledger,
        /// Traces and logs.
        telemetry: model::Telemetry,
        /// The read-only listener for probes and metrics.
        probes: model::Probes,
        /// The operators' listener, or `off`.
        admin: MaybeAdmin,
        /// `/_mainstay` on the data listeners.
        control: model::Control,
        /// Bounds on clients.
        limits: model::Limits,
        /// How the process ends.
        drain: model::Drain,
    }
    later ["tls", "access"]
}
