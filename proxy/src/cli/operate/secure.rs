//! TLS to a listener for those who run the proxy: whom it must be from, and who this program is to it.

use std::{
    error::Error as StdError,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use clap::Args;
use rustls::{ClientConfig, SignatureScheme, client::ResolvesClientCert, pki_types::ServerName, sign::CertifiedKey};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::COMMON;
use crate::wire::{
    tls::{self, ClientTls, Credentials, HTTP11, UpstreamTls},
    transport::Transport,
};

/// How a listener that speaks TLS is known, and how this program makes itself known to it.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SecureArgs {
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "FILE",
        help = "Of an https listener: the authorities its certificate may be from [default: $MAINSTAY_CA_FILE, or the public ones]"
    )]
    ca_file: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "NAME",
        help = "The name its certificate must have [default: $MAINSTAY_SERVER_NAME, or the host of --admin]"
    )]
    server_name: Option<String>,
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "URI",
        help = "The one URI its certificate must have instead of a name, as SPIFFE's do [default: $MAINSTAY_IDENTITY]"
    )]
    identity: Option<String>,
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "FILE",
        help = "Our certificate and its key in one file [default: $MAINSTAY_BUNDLE_FILE]"
    )]
    bundle_file: Option<PathBuf>,
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE", help = "Our certificate [default: $MAINSTAY_CERT_FILE]")]
    cert_file: Option<PathBuf>,
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE", help = "The key of our certificate [default: $MAINSTAY_KEY_FILE]")]
    key_file: Option<PathBuf>,
}

/// The value of an environment variable, if there is one.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl SecureArgs {
    /// What the command line and the environment say; the files are read.
    ///
    /// # Errors
    /// What cannot be meant, or a file that cannot be used, in words for a person.
    pub(super) fn open(&self, host: &str) -> Result<Secure, String> {
        let name = self.server_name.clone().or_else(|| variable("MAINSTAY_SERVER_NAME"));
        let name = name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| format!("`{name}` is no name of a certificate: give one with --server-name"))?;
        let ca_file = self.ca_file.clone().or_else(|| variable("MAINSTAY_CA_FILE").map(PathBuf::from));
        let identity = self.identity.clone().or_else(|| variable("MAINSTAY_IDENTITY"));
        let client = ClientTls { ca_file, credentials: self.credentials()?, ..ClientTls::default() };
        let has_certificate = client.credentials.is_some();
        let tls = UpstreamTls { client, server_name: None, identity: identity.into_iter().collect() };
        let kept = Arc::new(tls).open().map_err(|error| error.to_string())?;
        let mut config = (*kept.config()).clone();
        config.alpn_protocols = vec![HTTP11.to_vec()];
        let own = Own { resolver: Arc::clone(&config.client_auth_cert_resolver), is_wanted: AtomicBool::new(false) };
        let own = Arc::new(own);
        config.client_auth_cert_resolver = own.clone();
        Ok(Secure { config: Arc::new(config), name, own, has_certificate })
    }

    /// What was typed counts as a whole: half of it is not taken from the environment.
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        let typed = (self.bundle_file.clone(), self.cert_file.clone(), self.key_file.clone());
        let given = match typed {
            (None, None, None) => {
                let of = |name| variable(name).map(PathBuf::from);
                (of("MAINSTAY_BUNDLE_FILE"), of("MAINSTAY_CERT_FILE"), of("MAINSTAY_KEY_FILE"))
            }
            typed => typed,
        };
        match given {
            (None, None, None) => Ok(None),
            (Some(bundle), None, None) => Ok(Some(Credentials::Bundle(bundle))),
            (None, Some(cert_file), Some(key_file)) => Ok(Some(Credentials::Pair { cert_file, key_file })),
            _ => Err("a certificate is --cert-file and --key-file, or both in one --bundle-file".to_owned()),
        }
    }
}

/// What is shown to whoever asks for it, and whether somebody did: who refuses a certificate after the handshake may be heard no more.
#[derive(Debug)]
struct Own {
    resolver: Arc<dyn ResolvesClientCert>,
    is_wanted: AtomicBool,
}

impl ResolvesClientCert for Own {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_wanted.store(true, Relaxed);
        self.resolver.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// TLS to one listener.
#[derive(Debug)]
pub(super) struct Secure {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    own: Arc<Own>,
    has_certificate: bool,
}

impl Secure {
    /// Whether there is something to show to a listener that asks for it.
    pub(super) const fn has_certificate(&self) -> bool {
        self.has_certificate
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub(super) async fn shake(&self, stream: TcpStream) -> Result<Transport, String> {
        let shaken = TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await;
        shaken.map(Transport::secure).map_err(|error| self.explain(&error).unwrap_or_else(|| error.to_string()))
    }

    /// What TLS says is wrong, with the cure that this command line has; `None`: it is nothing of TLS.
    pub(super) fn explain(&self, error: &(dyn StdError + 'static)) -> Option<String> {
        let lacks_ours = self.own.is_wanted.load(Relaxed) && !self.has_certificate;
        let missing =
            || "it asks for a certificate of yours: name it with --cert-file and --key-file, or --bundle-file";
        let Some(found) = tls::of_io(error) else { return lacks_ours.then(|| missing().to_owned()) };
        Some(match tls::word(found) {
            _ if matches!(found, rustls::Error::InvalidMessage(_)) => "it speaks no TLS: write http://".to_owned(),
            "unknown_ca" => {
                "the certificate is not signed by a CA that is known; name its CA with --ca-file".to_owned()
            }
            "wrong_name" => format!("{}; say which name it must have with --server-name", tls::explain(found)),
            "wrong_identity" => format!("{}; see --identity", tls::explain(found)),
            "certificate_required" | "certificate_refused" | "protocol" if lacks_ours => missing().to_owned(),
            "certificate_refused" => {
                format!("it does not take your certificate ({found}): see --cert-file, --key-file and --bundle-file")
            }
            _ => tls::explain(found),
        })
    }
}
