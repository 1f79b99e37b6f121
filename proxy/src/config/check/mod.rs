//! What a valid configuration means in the worst case, and what in it cannot work as it looks.

mod routes;
mod warnings;

use super::{Warning, model::Config};

pub use self::routes::RouteBounds;

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

#[cfg(test)]
mod tests;
