//! The side that connects.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::ResolvesClientCert,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{credentials::Credentials, files::FileError, roots::authorities};

static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

/// The oldest protocol that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl MinVersion {
    /// What is spoken then.
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => ALL_VERSIONS,
            Self::Tls13 => ONLY_TLS13,
        }
    }
}

/// How a peer is known, and how this side makes itself known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The only authorities that are believed; `None` are the public ones.
    pub ca_file: Option<PathBuf>,
    /// What is shown to a peer that asks for it.
    pub credentials: Option<Credentials>,
    /// The oldest protocol that is spoken.
    pub min_version: MinVersion,
}

impl ClientTls {
    /// Reads the files; what they hold is used for as long as the configuration lives.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, FileError> {
        let roots = self.roots()?;
        let builder =
            ClientConfig::builder_with_protocol_versions(self.min_version.versions()).with_root_certificates(roots);
        let mut config = match &self.credentials {
            None => builder.with_no_client_auth(),
            Some(credentials) => builder.with_client_cert_resolver(shown(credentials.read()?)),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// Whom a peer's certificate may be from.
    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, FileError> {
        authorities(self.ca_file.as_deref())
    }

    /// The files that it reads.
    pub fn files(&self) -> Vec<&Path> {
        let credentials = self.credentials.iter().flat_map(Credentials::files);
        self.ca_file.as_deref().into_iter().chain(credentials).collect()
    }
}

pub(super) fn shown(key: Arc<CertifiedKey>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(SingleCertAndKey::from(key))
}
