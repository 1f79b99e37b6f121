//! What a valid configuration means in the worst case, and what in it cannot work as it looks.

mod certificates;
mod found;
mod header_files;
mod memory;
mod names;
mod policy;
mod restart;
mod route;
mod routes;
mod whole;

use super::{model::Config, node::Node, report::Issue};

pub(super) use self::restart::restarts;
pub use self::{memory::MemoryBound, routes::RouteBounds};

use self::found::Found;

/// The bounds of every route, in file order.
pub fn bounds(config: &Config) -> Vec<RouteBounds> {
    config.routes.iter().map(|route| RouteBounds::of(route)).collect()
}

/// Looks for what is allowed and cannot work as it looks, or should be known. `root` is what was written, for the places.
pub(super) fn find(config: &Config, root: &Node) -> Vec<Issue> {
    let mut found = Found::new(root);
    for policy in &config.policies {
        policy::find(policy, &mut found);
    }
    route::find(config, &mut found);
    whole::find(config, &mut found);
    certificates::find(config, &mut found);
    header_files::find(config, &mut found);
    memory::find(config, &mut found);
    names::find(config, &mut found);
    found.into_issues()
}

#[cfg(test)]
mod tests;
