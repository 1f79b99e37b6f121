//! Configuration: YAML in, one immutable [`Config`](model::Config) out.
//!
//! ```text
//! files ─ yaml (tree with places) ─ env (${NAME}) ─ merge (directory) ─ raw/* (sections) ─ build (references) ─ Config
//! ```
//!
//! Every step reports all it can find, with file, line, column and cure; nothing is ignored in silence.

mod build;
mod changes;
pub mod check;
mod decode;
mod definitions;
mod env;
mod fields;
mod finding;
mod foreign;
mod listeners;
pub(crate) mod load;
pub(crate) mod machine;
pub mod model;
mod node;
mod otel;
mod places;
mod raw;
mod reference;
mod report;
mod scalars;
pub(crate) mod schema;
mod secrets;
pub(crate) mod show;
mod units;
pub mod watch;
mod written;
mod yaml;

pub use changes::changes;
pub use finding::{Finding, Severity};
pub use load::{Loaded, load, parse, read};
pub(crate) use raw::default_admin;
pub use reference::reference;
pub(crate) use report::suggest;
pub use report::{ConfigErrors, Origin};
pub use schema::schema;
pub use secrets::FromEnvironment;
pub(crate) use show::document;
pub use show::{hash, reveal, show};
pub(crate) use units::{format_duration, parse_duration};
pub(crate) use written::{Place, places};

#[cfg(test)]
mod tests;
