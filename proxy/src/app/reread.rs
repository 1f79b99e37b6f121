//! A configuration that was read again: taken or refused, and told to the log, to whoever ordered it, and to those who watch.

use std::path::Path;

use serde_json::json;

use super::App;
use crate::{
    config::{
        self, Finding, Severity,
        watch::{Outcome, Reading},
    },
    runtime::served::Refusal,
    telemetry::events::{Kind, time},
};

/// Changes that an event names; the rest is counted.
const NAMED: usize = 10;

impl App {
    /// Takes a configuration that was read again, or says why not.
    pub async fn reread(&self, file: &Path, Reading { read, waiter }: Reading) {
        let before = self.config();
        let outcome = match read {
            Ok(loaded) => match self.reload(&loaded).await {
                Ok(()) => {
                    let changed = self.announce_reload(file, &before);
                    Outcome { changed, findings: self.runtime.served.known().findings.to_vec(), error: None }
                }
                // What stands in the way is not in the file.
                Err(error) => self.refused(error.to_string(), &[], 0),
            },
            Err(errors) => self.refused(errors.to_string(), errors.findings(), errors.count()),
        };
        self.tell(&outcome);
        if let Some(waiter) = waiter {
            // Whoever ordered it may have left.
            let _ = waiter.send(outcome);
        }
    }

    /// A configuration was refused, for so many errors that were found in it; the one in force stays.
    fn refused(&self, error: String, findings: &[Finding], errors: usize) -> Outcome {
        tracing::error!("the configuration was not taken; the one in force stays\n{error}");
        let resources = &self.runtime.resources;
        resources.metrics.config_refused();
        resources.metrics.config_findings(Severity::Error.word(), errors);
        let (at, findings) = (resources.clock.now(), findings.to_vec());
        self.runtime.served.refused(Refusal { at, message: error.clone(), findings: findings.clone() });
        Outcome { changed: Vec::new(), findings, error: Some(error) }
    }

    fn tell(&self, outcome: &Outcome) {
        let events = &self.runtime.events;
        if !events.wants(Kind::Config) {
            return;
        }
        let result = match outcome {
            Outcome { error: Some(_), .. } => "refused",
            Outcome { changed, .. } if changed.is_empty() => "unchanged",
            Outcome { .. } => "reloaded",
        };
        let document = json!({
            "at": time(self.runtime.resources.clock.now()),
            "result": result,
            "hash": config::hash(&self.config()),
            "changed": outcome.changed.iter().take(NAMED).collect::<Vec<_>>(),
            "changed_count": outcome.changed.len(),
            "error": outcome.error,
        });
        events.tell(Kind::Config, &document);
    }
}
