//! A private key with the chain of certificates that goes with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey},
};
use tokio::time::{Instant, sleep};

use super::{
    certificate::{Validity, about},
    files::{Cause, FileError, certificates, private_key},
};

/// How long files may be at odds while somebody replaces them: key and certificate are two writes, or the two halves of one.
const REPLACED_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where a key and its certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// All in one file, in any order.
    Bundle(PathBuf),
    /// The chain in one file, the key in another.
    Pair {
        /// The certificate, and those that lead from it to an authority.
        cert_file: PathBuf,
        /// Its key.
        key_file: PathBuf,
    },
}

impl Credentials {
    /// The files.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Bundle(file) => vec![file],
            Self::Pair { cert_file, key_file } => vec![cert_file, key_file],
        }
    }

    fn places(&self) -> (&Path, &Path) {
        match self {
            Self::Bundle(file) => (file, file),
            Self::Pair { cert_file, key_file } => (cert_file, key_file),
        }
    }

    /// Reads both, and sees that they go together.
    ///
    /// # Errors
    /// A file that cannot be used. Whoever reads it once tries again for a moment: [`settled`].
    pub fn read(&self) -> Result<Arc<CertifiedKey>, FileError> {
        Ok(self.read_dated()?.0)
    }

    /// The same, and when the certificate is valid.
    pub(super) fn read_dated(&self) -> Result<(Arc<CertifiedKey>, Validity), FileError> {
        let (cert_file, key_file) = self.places();
        let chain = certificates(cert_file)?;
        let key = private_key(key_file)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|error| FileError::new(key_file, Cause::UnusableKey(error.to_string())))?;
        let own = position_of(&key, &chain)
            .ok_or_else(|| FileError::new(key_file, Cause::KeyDoesNotFit(cert_file.to_owned())))?;
        let told = about(cert_file, own + 1, &chain[own])?;
        if told.is_authority {
            return Err(FileError::new(cert_file, Cause::OnlyAuthority(told.subject)));
        }
        Ok((Arc::new(CertifiedKey::new(own_first(chain, own), key)), told.validity))
    }
}

/// Which certificate belongs to the key.
fn position_of(key: &Arc<dyn SigningKey>, chain: &[CertificateDer<'static>]) -> Option<usize> {
    chain
        .iter()
        .position(|certificate| CertifiedKey::new(vec![certificate.clone()], Arc::clone(key)).keys_match().is_ok())
}

/// A peer takes the first for ours; those that lead to an authority follow in the order of the file.
fn own_first(mut chain: Vec<CertificateDer<'static>>, own: usize) -> Vec<CertificateDer<'static>> {
    let first = chain.remove(own);
    chain.insert(0, first);
    chain
}

/// What `read` brings once the files agree: those that somebody is replacing just now are read again for up to 2 s.
///
/// # Errors
/// What is wrong with a file for longer, or for good.
pub async fn settled<T>(mut read: impl FnMut() -> Result<T, FileError>) -> Result<T, FileError> {
    let until = Instant::now() + REPLACED_WITHIN;
    loop {
        match read() {
            Err(error) if error.is_passing() && Instant::now() < until => sleep(LOOK_EVERY).await,
            done => return done,
        }
    }
}
