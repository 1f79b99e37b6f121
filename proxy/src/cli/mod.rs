//! The subcommands that serve nothing: they read a configuration, or speak to a running proxy, say something about it, and
//! end.

mod check;
mod config;
mod explain;
mod init;
mod ledger;
mod named;
mod openapi;
mod operate;
mod output;
mod papers;
mod replicas;
mod version;

pub use check::{CheckCommand, check};
pub use config::{ConfigCommand, config};
pub use explain::{ExplainCommand, explain};
pub use init::{InitCommand, init};
pub use ledger::{LedgerCommand, ledger};
pub use named::{NO_CONFIGURATION, configuration};
pub use openapi::{OpenapiCommand, openapi};
pub use operate::{
    AuditCommand, BreakersCommand, DrainCommand, LimitsCommand, LiveCommand, LogLevelCommand, OpsCommand, ProbeCommand,
    ReloadCommand, RoutesCommand, StatusCommand, UpstreamsCommand, audit, breakers, drain, limits, live, log_level,
    ops, probe, reload, routes, status, upstreams,
};
#[cfg(feature = "top")]
pub use operate::{TopCommand, top};
pub use papers::{CompletionCommand, ManCommand, completion, man};
pub use version::{VersionCommand, version};
