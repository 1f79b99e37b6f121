//! The side that calls a service: whom it takes for that service, and which HTTP both will speak.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{
    certificate::names,
    client::{ClientTls, shown},
    files::FileError,
    kept::{Kept, Read},
};

/// What HTTP/2 is called in a handshake.
pub const H2: &[u8] = b"h2";
/// What HTTP/1.1 is called.
pub const HTTP11: &[u8] = b"http/1.1";
/// What a listener for traffic speaks.
pub const EVERY_HTTP: &[&[u8]] = &[H2, HTTP11];
/// What speaks HTTP/1.1 alone.
pub const ONLY_HTTP11: &[&[u8]] = &[HTTP11];

/// How a service is known, and how this side makes itself known to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Authorities, our own certificate, protocol.
    pub client: ClientTls,
    /// The name that its certificate must have, and that it is asked for; `None` is the endpoint's.
    pub server_name: Option<ServerName<'static>>,
    /// The URIs of which its certificate must have one, and no other, instead of a name. Empty: the name counts.
    pub identity: Vec<String>,
}

/// A service's TLS in force.
pub type Connector = Kept<ClientConfig>;

impl UpstreamTls {
    /// Reads the files, now and whenever they change.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open(self: Arc<Self>) -> Result<Connector, FileError> {
        let files = self.client.files().into_iter().map(Path::to_owned).collect();
        Kept::open(files, move || self.read())
    }

    fn read(&self) -> Result<Read<ClientConfig>, FileError> {
        let roots = self.client.roots()?;
        let builder = ClientConfig::builder_with_protocol_versions(self.client.min_version.versions());
        let algorithms = builder.crypto_provider().signature_verification_algorithms;
        let builder = if self.identity.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = IdentityVerifier { roots, algorithms, identity: self.identity.clone() };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let (config, valid) = match &self.client.credentials {
            None => (builder.with_no_client_auth(), None),
            Some(credentials) => {
                let (key, validity) = credentials.read_dated()?;
                (builder.with_client_cert_resolver(shown(key)), Some((credentials.files()[0].to_owned(), validity)))
            }
        };
        Ok(Read { config: Arc::new(config), shown: valid.into_iter().collect() })
    }
}

/// Takes a peer for whom its one URI says, which an authority vouches for.
#[derive(Debug)]
struct IdentityVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    identity: Vec<String>,
}

/// A certificate for somebody else.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is for {}, and not for {}", listed(.found), listed(.wanted))]
pub(super) struct WrongIdentity {
    found: Vec<String>,
    wanted: Vec<String>,
}

fn listed(identities: &[String]) -> String {
    match identities {
        [] => "nobody by a URI".to_owned(),
        [one] => format!("`{one}`"),
        several => format!("one of `{}`", several.join("`, `")),
    }
}

impl ServerCertVerifier for IdentityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, self.algorithms.all)?;
        let found = names(end_entity).ok_or(CertificateError::BadEncoding)?.0.uris;
        if let [only] = found.as_slice()
            && self.identity.contains(only)
        {
            return Ok(ServerCertVerified::assertion());
        }
        let wrong = WrongIdentity { found, wanted: self.identity.clone() };
        Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
