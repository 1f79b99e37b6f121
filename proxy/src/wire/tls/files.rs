//! Reading PEM files, and what may be wrong with them.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

/// A file of certificates and keys is some KB, and all public roots together 200; more is the wrong file.
const LONGEST: u64 = 4 << 20;

/// A file that cannot be used, and why. The operator's to cure.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", file.display())]
pub struct FileError {
    /// Which.
    pub file: PathBuf,
    /// Why.
    pub cause: Cause,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There is no such file, or it cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is far too long for what it should hold.
    #[error("it has {0} bytes, and is no file of certificates or keys")]
    TooLong(u64),
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is not PEM, or breaks off.
    #[error("it is no PEM file, or is damaged: {0}")]
    Damaged(String),
    /// No certificate in it.
    #[error("there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// No key in it.
    #[error("there is no private key in it (`-----BEGIN PRIVATE KEY-----`); one with a passphrase cannot be used")]
    NoKey,
    /// The key is of a kind that cannot be used.
    #[error("its private key cannot be used: {0}")]
    UnusableKey(String),
    /// The key belongs to none of the certificates.
    #[error("none of the certificates of {} is for its private key", .0.display())]
    KeyDoesNotFit(PathBuf),
    /// A certificate cannot be read.
    #[error("certificate {number} in it cannot be read: {why}")]
    BadCertificate {
        /// Counted from one.
        number: usize,
        /// Why.
        why: String,
    },
    /// The certificate that belongs to the key is an authority's.
    #[error("the certificate of its key ({0}) is an authority's, which may sign others but serve nobody")]
    OnlyAuthority(String),
    /// No list of revoked certificates in it.
    #[error("there is no list of revoked certificates in it (`-----BEGIN X509 CRL-----`), or it is damaged")]
    NoRevocationList,
    /// What stands in it cannot be sent.
    #[error("its first line is no value of a header field")]
    NoFieldValue,
    /// It is of no use for what it should do.
    #[error("it cannot be used: {0}")]
    Unusable(String),
    /// A certificate of which others are to be believed may not sign any.
    #[error("certificate {number} in it ({subject}) is no authority's: it may not sign others (no `CA:TRUE`)")]
    NoAuthority {
        /// Counted from one.
        number: usize,
        /// Whose it is.
        subject: String,
    },
}

impl FileError {
    pub(in crate::wire) fn new(file: &Path, cause: Cause) -> Self {
        Self { file: file.to_owned(), cause }
    }

    /// Whether it may be gone in a moment: files that are being replaced, one after the other.
    pub(super) fn is_passing(&self) -> bool {
        match &self.cause {
            Cause::KeyDoesNotFit(_) | Cause::Empty | Cause::Damaged(_) => true,
            Cause::Unreadable(error) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// The whole of a file.
pub(in crate::wire) fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |cause| FileError::new(file, cause);
    let about = std::fs::metadata(file).map_err(|error| failed(Cause::Unreadable(error)))?;
    if about.len() > LONGEST {
        return Err(failed(Cause::TooLong(about.len())));
    }
    let bytes = std::fs::read(file).map_err(|error| failed(Cause::Unreadable(error)))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(failed(Cause::Empty));
    }
    Ok(bytes)
}

/// The certificates of a file, in its order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(file)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| damaged(file, &error))?;
    if found.is_empty() {
        return Err(FileError::new(file, Cause::NoCertificate));
    }
    Ok(found)
}

/// The first private key of a file.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => FileError::new(file, Cause::NoKey),
        error => damaged(file, &error),
    })
}

fn damaged(file: &Path, error: &pem::Error) -> FileError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section begins with no `-----BEGIN …-----`".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        // Nothing of what a file holds is told: it may be a key.
        _ => "a section cannot be read".to_owned(),
    };
    FileError::new(file, Cause::Damaged(why))
}
