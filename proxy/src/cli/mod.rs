//! The subcommands that serve nothing: they read a configuration, or speak to a running proxy, say something about it, and
//! end.

mod check;
mod config;
mod ledger;
mod named;
mod operate;
mod output;
mod replicas;

pub use check::{CheckCommand, check};
pub use config::{schema, show};
pub use ledger::{LedgerCommand, ledger};
pub use named::{NO_CONFIGURATION, configuration};
pub use operate::{
    AuditCommand, BreakersCommand, DrainCommand, OpsCommand, ProbeCommand, audit, breakers, drain, ops, probe,
};
