//! The side that is called: which certificate is shown for which name, and whose are wanted of callers.
//!
//! TLS 1.2 and 1.3, resumption by tickets whose keys are as old as what was read of the files, and never 0-RTT: what comes early
//! can be replayed.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::{
    certificate::{Names, names},
    client::MinVersion,
    credentials::Credentials,
    files::{Cause, FileError, read},
    kept::{Kept, Read},
    roots::authorities,
};

/// How a listener shows itself, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// For whoever asks for a name that is not in `names`, or for none.
    pub credentials: Credentials,
    /// Certificates of callers; `None`: none is asked for.
    pub client: Option<ClientAuth>,
    /// The oldest protocol that is spoken.
    pub min_version: MinVersion,
    /// By the name that a caller asks for.
    pub names: BTreeMap<String, Credentials>,
}

/// Certificates of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// The authorities that they may be from.
    pub ca_file: PathBuf,
    /// Whether a caller without one is refused.
    pub required: bool,
    /// What those authorities have revoked.
    pub crl_file: Option<PathBuf>,
}

/// A listener's TLS in force.
pub type Acceptor = Kept<ServerConfig>;

impl ListenerTls {
    /// Reads the files, now and whenever they change. `alpn`: the HTTP that is spoken behind it, the best first.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open(self: Arc<Self>, alpn: &'static [&'static [u8]]) -> Result<Acceptor, FileError> {
        Kept::open(self.files(), move || self.read(alpn))
    }

    /// The files that it reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let shown = std::iter::once(&self.credentials).chain(self.names.values()).flat_map(Credentials::files);
        let client = self.client.iter().flat_map(|client| [Some(&client.ca_file), client.crl_file.as_ref()]).flatten();
        shown.map(Path::to_owned).chain(client.cloned()).collect()
    }

    fn read(&self, alpn: &[&[u8]]) -> Result<Read<ServerConfig>, FileError> {
        let mut shown = Vec::new();
        let mut key = |credentials: &Credentials| {
            let (key, validity) = credentials.read_dated()?;
            shown.push((credentials.files()[0].to_owned(), validity));
            Ok::<_, FileError>(key)
        };
        let others = key(&self.credentials)?;
        let named = self.names.iter().map(|(name, credentials)| Ok((name.to_ascii_lowercase(), key(credentials)?)));
        let resolver = ByName { named: named.collect::<Result<_, FileError>>()?, others };
        let builder = ServerConfig::builder_with_protocol_versions(self.min_version.versions());
        let builder = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder.with_client_cert_verifier(Arc::new(Observed(client.verifier()?))),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Keys of their own each time: nobody resumes into what was believed before. Without randomness sessions are kept here.
        if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Read { config: Arc::new(config), shown })
    }
}

impl ClientAuth {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
        let roots: Arc<RootCertStore> = authorities(Some(&self.ca_file))?;
        let mut builder = WebPkiClientVerifier::builder(roots);
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        let blamed = self.crl_file.as_ref().unwrap_or(&self.ca_file);
        if let Some(file) = &self.crl_file {
            let bytes = read(file)?;
            let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
            let lists = lists.ok().filter(|lists| !lists.is_empty());
            let lists = lists.ok_or_else(|| FileError::new(file, Cause::NoRevocationList))?;
            builder = builder.with_crls(lists).only_check_end_entity_revocation();
        }
        builder.build().map_err(|error| FileError::new(blamed, Cause::Unusable(error.to_string())))
    }
}

/// Shows each caller the certificate of the name that it asks for.
struct ByName {
    named: BTreeMap<String, Arc<CertifiedKey>>,
    others: Arc<CertifiedKey>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").field("named", &self.named.keys()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named.get(&name.to_ascii_lowercase()));
        Some(Arc::clone(named.unwrap_or(&self.others)))
    }
}

thread_local! {
    static REFUSED: RefCell<Option<Names>> = const { RefCell::new(None) };
}

/// Whose certificate was refused last on this thread: verifying happens while a handshake is polled, so whoever sees it fail then
/// finds here whom it was about.
pub fn take_refused() -> Option<Names> {
    REFUSED.take()
}

/// Verifies, and remembers whom it refused: an error says why, and not whom.
#[derive(Debug)]
struct Observed(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Observed {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        if verified.is_err() {
            REFUSED.set(names(end_entity).map(|(names, _)| names));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What a caller's certificate says of it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whom it names.
    pub names: Names,
    /// Until when, since the Unix epoch.
    pub until: std::time::Duration,
}

impl Caller {
    /// Of a verified certificate. What a session that is resumed brings was verified before: it may have expired meanwhile.
    ///
    /// # Errors
    /// It is not valid now, or cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let (names, validity) = names(certificate).ok_or("bad_certificate")?;
        match validity.invalid_now() {
            None => Ok(Self { names, until: validity.not_after }),
            Some(super::Invalid::Expired) => Err("expired"),
            Some(super::Invalid::NotYetValid) => Err("not_yet_valid"),
        }
    }

    /// Whether its time is over.
    pub fn has_expired(&self) -> bool {
        super::certificate::now() > self.until
    }

    /// How long it is valid from now on.
    pub fn time_left(&self) -> std::time::Duration {
        self.until.saturating_sub(super::certificate::now())
    }
}
