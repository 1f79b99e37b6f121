//! What a certificate says of itself.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_cert::{Certificate, der::Decode, ext::pkix::BasicConstraints};

use super::files::{Cause, FileError};

/// What a certificate says of itself.
pub(super) struct About {
    /// Whose it is.
    pub(super) subject: String,
    /// Whether it may sign others.
    pub(super) is_authority: bool,
}

/// Reads certificate `number` of `file`, counted from one.
pub(super) fn about(file: &Path, number: usize, der: &CertificateDer<'_>) -> Result<About, FileError> {
    let bad = |why: String| FileError::new(file, Cause::BadCertificate { number, why });
    let certificate = Certificate::from_der(der).map_err(|error| bad(error.to_string()))?;
    let told = certificate.tbs_certificate();
    let constraints = told.get_extension::<BasicConstraints>().map_err(|error| bad(error.to_string()))?;
    Ok(About {
        subject: told.subject().to_string(),
        is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
    })
}
