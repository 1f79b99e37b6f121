//! What a valid configuration means in the worst case, and what in it cannot work as it looks.

mod routes;
mod warnings;

use std::time::Duration;

pub use self::routes::RouteBounds;
use super::{Warning, model::Config};

/// What `mainstay check` says about a valid configuration.
#[derive(Clone, Debug)]
pub struct Report {
    /// One per route, in file order.
    pub routes: Vec<RouteBounds>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

/// Computes the bounds of every route and looks for what cannot work.
pub fn check(config: &Config) -> Report {
    Report {
        routes: config.routes.iter().map(|route| RouteBounds::of(route)).collect(),
        warnings: warnings::find(config),
    }
}

/// For texts: `2s`, `600ms`.
fn human(duration: Duration) -> String {
    super::units::format_duration(duration)
}

#[cfg(test)]
mod tests;
