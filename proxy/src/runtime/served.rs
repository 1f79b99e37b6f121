//! Where the configuration in force came from, what was found in it, and what became of a later one.

use std::{path::PathBuf, sync::Arc};

use mainstay_policies::clock::UnixMillis;
use parking_lot::Mutex;

use crate::config::Finding;

/// What is known of the configuration in force, beyond itself.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<Known>);

/// The same at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The file or directory; `None` if it was none.
    pub(crate) file: Option<Arc<PathBuf>>,
    /// The digest of what was read there.
    pub(crate) digest: [u8; 32],
    /// What is to be said of it.
    pub(crate) findings: Arc<[Finding]>,
    /// Why a later one was refused.
    pub(crate) refusal: Option<Arc<Refusal>>,
}

/// Why a configuration was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) at: UnixMillis,
    /// As the log has it.
    pub(crate) message: String,
    /// What of it has a place in a file.
    pub(crate) findings: Vec<Finding>,
}

impl Served {
    /// It comes from there.
    pub(crate) fn comes_from(&self, file: PathBuf) {
        self.0.lock().file = Some(Arc::new(file));
    }

    /// One is in force, whose files had that digest.
    pub(crate) fn taken(&self, digest: [u8; 32], findings: &[Finding]) {
        let mut known = self.0.lock();
        (known.digest, known.findings, known.refusal) = (digest, findings.into(), None);
    }

    /// A later one was refused.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.0.lock().refusal = Some(Arc::new(refusal));
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Known {
        self.0.lock().clone()
    }
}
