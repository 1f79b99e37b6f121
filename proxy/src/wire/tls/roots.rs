//! Whom a peer's certificate may be from: the authorities of a file, and of nobody else, if one is given; else those of
//! `SSL_CERT_FILE`; else Mozilla's, which are built in because an image has no store of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use rustls::RootCertStore;

use super::{
    certificate::about,
    files::{Cause, FileError, certificates},
};

/// Names a file of authorities for whoever is told of no other.
const ENVIRONMENT: &str = "SSL_CERT_FILE";

/// The authorities of `ca_file`, or the public ones.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Arc<RootCertStore>, FileError> {
    static TOLD: Once = Once::new();
    if let Some(file) = ca_file {
        return of_file(file);
    }
    let (store, from) = match std::env::var_os(ENVIRONMENT).filter(|file| !file.is_empty()).map(PathBuf::from) {
        Some(file) => (of_file(&file)?, format!("{ENVIRONMENT}, {}", file.display())),
        None => (public(), "Mozilla's, built in".to_owned()),
    };
    TOLD.call_once(|| tracing::info!(from, authorities = store.len(), "public certificate authorities are trusted"));
    Ok(store)
}

fn of_file(file: &Path) -> Result<Arc<RootCertStore>, FileError> {
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates(file)?) {
        let told = about(file, number, &certificate)?;
        if !told.is_authority {
            return Err(FileError::new(file, Cause::NoAuthority { number, subject: told.subject }));
        }
        let bad = |error: rustls::Error| FileError::new(file, Cause::BadCertificate { number, why: error.to_string() });
        store.add(certificate).map_err(bad)?;
    }
    Ok(Arc::new(store))
}

fn public() -> Arc<RootCertStore> {
    Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}
