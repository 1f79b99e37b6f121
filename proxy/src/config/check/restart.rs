//! What a reload does not change: it is compared with what the process was started with, not with what was read last.

use super::found::Found;
use crate::config::{model::Config, node::Node, report::Issue};

/// What in `read` differs from what runs since the start, and takes effect only at the next one.
pub(in crate::config) fn restarts(running: &Config, read: &Config, root: &Node) -> Vec<Issue> {
    let mut found = Found::new(root);
    let fixed: [(&[&str], bool); 4] = [
        (&["limits", "workers"], running.limits.workers != read.limits.workers),
        (&["probes"], running.probes != read.probes),
        (&["admin"], running.admin != read.admin),
        (&["ledger"], running.ledger != read.ledger),
    ];
    for (path, differs) in fixed {
        if differs {
            let message = format!("a change of `{}` takes effect at the next start", path.join("."));
            found.warn("needs-restart", path, message, "restart the proxy, or take it back");
        }
    }
    found.into_issues()
}
