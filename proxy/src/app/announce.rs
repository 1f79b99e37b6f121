//! What the program says of itself as it starts, and of a configuration that it took.

use std::{
    fmt::{Display, Write as _},
    path::Path,
};

use super::App;
use crate::{
    config::{
        self,
        model::{Config, Store},
    },
    telemetry::build,
};

/// Changes of a reload that are named; the rest is counted.
const NAMED: usize = 10;

impl App {
    /// One line that says what was started, with what.
    pub fn announce(&self, file: &Path) {
        let config = self.config();
        let listeners = config.listeners.iter().map(|listener| format!("{}={}", listener.name, listener.address));
        let upstreams = config.upstreams.iter().map(|upstream| {
            let endpoints = upstream.endpoints.iter().map(ToString::to_string);
            format!("{}={}", upstream.name, endpoints.collect::<Vec<_>>().join("|"))
        });
        tracing::info!(
            version = build::VERSION, commit = build::COMMIT, config = %file.display(), hash = config::hash(&config),
            listeners = joined(listeners), probes = %config.probes.address,
            admin = config.admin.as_ref().map_or_else(|| "off".to_owned(), |admin| admin.address.to_string()),
            upstreams = joined(upstreams), ledger = ledger(&config),
            "started"
        );
    }

    /// One line that says which settings a reload changed; all of them.
    pub(super) fn announce_reload(&self, file: &Path, before: &Config) -> Vec<String> {
        let after = self.config();
        let names = config::changes(before, &after);
        let mut changed = joined(names.iter().take(NAMED));
        if names.len() > NAMED {
            let _ = write!(changed, ", and {} more", names.len() - NAMED);
        }
        tracing::info!(file = %file.display(), hash = config::hash(&after), changed, "configuration reloaded");
        names
    }
}

fn joined(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn ledger(config: &Config) -> String {
    match &config.ledger.store {
        Store::Memory => "memory".to_owned(),
        Store::Disk { path, .. } if config.protects_writes() => format!("disk {}", path.display()),
        Store::Postgres(store) if config.needs_ledger() => format!("postgres, schema {}", store.schema),
        Store::Disk { .. } | Store::Postgres(_) => "none: no route protects writes".to_owned(),
    }
}
