//! What a certificate says of itself.

use std::{path::Path, time::Duration};

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

use super::files::{Cause, FileError};

/// What a certificate says of itself.
pub(super) struct About {
    /// Whose it is.
    pub(super) subject: String,
    /// Whether it may sign others.
    pub(super) is_authority: bool,
    /// From when to when.
    pub(super) validity: Validity,
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Since the Unix epoch.
    pub not_before: Duration,
    /// Since the Unix epoch; it is valid then, too.
    pub not_after: Duration,
}

/// Why a certificate is not valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
}

impl Validity {
    /// Why it is not valid `now`, if it is not.
    pub fn invalid_at(&self, now: Duration) -> Option<Invalid> {
        if now < self.not_before {
            return Some(Invalid::NotYetValid);
        }
        (now > self.not_after).then_some(Invalid::Expired)
    }

    /// How long it is valid from now on.
    pub fn left(&self) -> Duration {
        self.not_after.saturating_sub(now())
    }

    /// Why it is not valid, if it is not.
    pub fn invalid_now(&self) -> Option<Invalid> {
        self.invalid_at(now())
    }
}

/// Since the Unix epoch, as those see it who verify certificates.
pub(super) fn now() -> Duration {
    Duration::from_secs(UnixTime::now().as_secs())
}

/// Whom a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its URIs: SPIFFE identities.
    pub uris: Vec<String>,
    /// Its DNS names.
    pub dns: Vec<String>,
    /// Its number among those of its authority, in hex.
    pub serial: String,
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
        validity: validity(&certificate),
    })
}

fn validity(certificate: &Certificate) -> Validity {
    let validity = certificate.tbs_certificate().validity();
    Validity { not_before: validity.not_before.to_unix_duration(), not_after: validity.not_after.to_unix_duration() }
}

/// Whom a peer's certificate is for, and until when; `None` if it cannot be read.
pub(super) fn names(der: &CertificateDer<'_>) -> Option<(Names, Validity)> {
    let certificate = Certificate::from_der(der).ok()?;
    let told = certificate.tbs_certificate();
    let mut names = Names { serial: told.serial_number().to_string(), ..Names::default() };
    let alternatives = told.get_extension::<SubjectAltName>().ok()?.map(|(_, found)| found.0).unwrap_or_default();
    for name in alternatives {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => names.uris.push(uri.to_string()),
            GeneralName::DnsName(name) => names.dns.push(name.to_string()),
            _ => {}
        }
    }
    Some((names, validity(&certificate)))
}
