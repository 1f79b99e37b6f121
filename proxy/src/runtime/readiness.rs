//! Whether traffic should come here.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use parking_lot::Mutex;

/// What has to hold before traffic may come, and what must not. Conditions are one byte, so that a reader never sees half a change.
#[derive(Debug, Default)]
pub struct Readiness {
    held: AtomicU8,
    /// What more is in the way.
    obstacles: Mutex<Vec<String>>,
    /// Why the ledger refuses some of what comes, and is well for the rest.
    quarantine: Mutex<Option<String>>,
}

/// One condition of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A configuration is in force.
    ConfigValid = 1,
    /// Every listener is bound.
    ListenersBound = 2,
    /// The ledger has been read, and operations of a dead owner are `unknown`.
    LedgerRecovered = 4,
    /// SIGTERM has come; this one must *not* hold.
    Draining = 8,
    /// The ledger takes writes, or no route needs it to.
    LedgerWritable = 16,
}

/// One thing that is looked at, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name in the answer to `/readyz?verbose`.
    pub name: &'static str,
    /// Why traffic should not come; `None` if it is well.
    pub fault: Option<String>,
    /// What is in nobody's way, and had better be known.
    pub remark: Option<String>,
}

impl Readiness {
    /// Nothing holds yet.
    pub const fn new() -> Self {
        Self { held: AtomicU8::new(0), obstacles: Mutex::new(Vec::new()), quarantine: Mutex::new(None) }
    }

    /// Says whether a condition holds.
    pub fn set(&self, condition: Condition, holds: bool) {
        if holds {
            self.held.fetch_or(condition as u8, Relaxed);
        } else {
            self.held.fetch_and(!(condition as u8), Relaxed);
        }
    }

    /// Whether a condition holds.
    pub fn holds(&self, condition: Condition) -> bool {
        self.held.load(Relaxed) & condition as u8 != 0
    }

    /// Says what more is in the way: certificates that are not valid.
    pub fn set_obstacles(&self, obstacles: Vec<String>) {
        *self.obstacles.lock() = obstacles;
    }

    /// Says why keys without a record are refused, if they are. What has a record is answered here and nowhere else, so traffic
    /// comes all the same: a repeat that went to another ledger would be executed there.
    pub fn set_quarantine(&self, why: Option<String>) {
        *self.quarantine.lock() = why;
    }

    /// Whether traffic should come.
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Why traffic should not come; empty if it should.
    pub fn reasons(&self) -> Vec<String> {
        self.checks().into_iter().filter_map(|check| check.fault).collect()
    }

    /// All that is looked at. Certificates have a check for each fault of theirs, or one that is well.
    pub fn checks(&self) -> Vec<Check> {
        let held = self.held.load(Relaxed);
        let conditions = [
            ("config", Condition::ConfigValid, true, "config not valid"),
            ("listeners", Condition::ListenersBound, true, "listeners not bound"),
            ("ledger-recovered", Condition::LedgerRecovered, true, "ledger not recovered"),
            ("ledger-writable", Condition::LedgerWritable, true, "ledger takes no writes"),
            ("drain", Condition::Draining, false, "draining"),
        ];
        let mut checks: Vec<Check> = conditions
            .into_iter()
            .map(|(name, condition, wanted, fault)| {
                let fails = (held & condition as u8 != 0) != wanted;
                let remark = self.quarantine.lock().clone().filter(|_| condition == Condition::LedgerWritable);
                Check { name, fault: fails.then(|| fault.to_owned()), remark }
            })
            .collect();
        let of_certificates = |fault| Check { name: "certificates", fault, remark: None };
        let obstacles = self.obstacles.lock();
        checks.extend(obstacles.iter().cloned().map(Some).map(of_certificates));
        if obstacles.is_empty() {
            checks.push(of_certificates(None));
        }
        checks
    }
}
