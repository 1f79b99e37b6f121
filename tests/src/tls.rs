//! TLS around what speaks in clear: a server before a scripted upstream, and a way through a proxy's TLS for the raw client.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    authority::{Authority, Issued},
    net::loopback,
};

/// The certificates of a PEM file.
pub fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).expect("a file of certificates");
    read.collect::<Result<_, _>>().expect("certificates")
}

fn key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).expect("a key")
}

fn trust(authorities: &[&Authority]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(chain(&authority.cert()).remove(0)).expect("an authority");
    }
    Arc::new(roots)
}

fn provider() {
    // The first of a process's tests does it for all.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}

/// How a server shows itself.
pub struct Server<'a> {
    /// Its certificate.
    pub own: &'a Issued,
    /// Whose certificates it wants of its clients.
    pub clients: Option<&'a Authority>,
    /// What it chooses from.
    pub alpn: &'a [&'static [u8]],
    /// What it speaks.
    pub versions: &'a [&'static SupportedProtocolVersion],
    /// Whether the end of what it sends is told by `close_notify`.
    pub says_goodbye: bool,
}

impl<'a> Server<'a> {
    /// TLS 1.2 and 1.3, `http/1.1`, for any client.
    pub fn of(own: &'a Issued) -> Self {
        Self { own, clients: None, alpn: &[b"http/1.1"], versions: rustls::ALL_VERSIONS, says_goodbye: true }
    }

    fn config(&self) -> ServerConfig {
        provider();
        let builder = ServerConfig::builder_with_protocol_versions(self.versions);
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder(trust(&[clients])).build().expect("a verifier"),
            ),
        };
        let mut config = builder.with_single_cert(chain(&self.own.cert), key(&self.own.key)).expect("a key that fits");
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    /// Serves `behind` over TLS.
    pub async fn before(&self, behind: SocketAddr) -> TlsFront {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let acceptor = Arc::new(Mutex::new(TlsAcceptor::from(Arc::new(self.config()))));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (current, noted, says_goodbye) = (acceptor.clone(), seen.clone(), self.says_goodbye);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (acceptor, noted) = (current.lock().clone(), noted.clone());
                tokio::spawn(async move {
                    match acceptor.accept(stream).await {
                        Ok(secure) => {
                            let tls = secure.get_ref().1;
                            let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
                            let name = tls.server_name().map(str::to_owned);
                            noted.lock().push(Ok((name, alpn)));
                            if let Ok(plain) = TcpStream::connect(behind).await {
                                relay(secure.into(), plain, says_goodbye).await;
                            }
                        }
                        Err(error) => noted.lock().push(Err(error.to_string())),
                    }
                });
            }
        });
        TlsFront { addr, seen, acceptor, accepting }
    }
}

/// The name that was asked for, and the protocol that was chosen; or why there was no connection.
pub type Shaken = Result<(Option<String>, Option<Vec<u8>>), String>;

/// A server that speaks TLS before one that does not; it ends when dropped.
pub struct TlsFront {
    /// Where it listens.
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Shaken>>>,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    accepting: JoinHandle<()>,
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsFront {
    /// Every handshake so far.
    pub fn handshakes(&self) -> Vec<Shaken> {
        self.seen.lock().clone()
    }

    /// Shakes hands otherwise from now on.
    pub fn become_another(&self, server: &Server<'_>) {
        *self.acceptor.lock() = TlsAcceptor::from(Arc::new(server.config()));
    }
}

/// Bytes both ways. What ends in clear ends alike through TLS: an end with `close_notify` if that is wanted, a reset without.
async fn relay(secure: TlsStream<TcpStream>, plain: TcpStream, says_goodbye: bool) {
    secure.get_ref().0.set_nodelay(true).ok();
    plain.set_nodelay(true).ok();
    let (mut from_secure, mut to_secure) = tokio::io::split(secure);
    let (mut from_plain, mut to_plain) = plain.into_split();
    let up = async {
        let done = tokio::io::copy(&mut from_secure, &mut to_plain).await;
        to_plain.shutdown().await.ok();
        done
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from_plain.read(&mut buffer).await? {
                0 => {
                    if says_goodbye {
                        to_secure.shutdown().await?;
                    }
                    return Ok::<_, io::Error>(());
                }
                read => {
                    to_secure.write_all(&buffer[..read]).await?;
                    to_secure.flush().await?;
                }
            }
        }
    };
    let mut is_reset = false;
    {
        let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
        tokio::select! {
            ended = &mut down => is_reset = ended.is_err(),
            ended = &mut up => if ended.is_ok() { is_reset = down.await.is_err(); },
        }
    }
    let secure = from_secure.unsplit(to_secure);
    if is_reset {
        socket2::SockRef::from(secure.get_ref().0).set_linger(Some(Duration::ZERO)).ok();
    }
}

/// How a client shows itself.
pub struct TlsClient<'a> {
    /// Whom it believes.
    pub trusts: &'a Authority,
    /// What it shows of itself.
    pub own: Option<&'a Issued>,
    /// Whom it asks for.
    pub name: &'a str,
    /// What it offers.
    pub alpn: &'a [&'static [u8]],
    /// What it speaks.
    pub versions: &'a [&'static SupportedProtocolVersion],
}

impl<'a> TlsClient<'a> {
    /// Asks for `localhost`, by TLS 1.2 or 1.3.
    pub fn of(trusts: &'a Authority, own: Option<&'a Issued>) -> Self {
        Self { trusts, own, name: "localhost", alpn: &[], versions: rustls::ALL_VERSIONS }
    }

    fn config(&self) -> ClientConfig {
        provider();
        let builder =
            ClientConfig::builder_with_protocol_versions(self.versions).with_root_certificates(trust(&[self.trusts]));
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(chain(&own.cert), key(&own.key)).expect("a key that fits"),
        };
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    /// One connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.name.to_owned()).expect("a name");
        let stream = TcpStream::connect(addr).await?;
        TlsConnector::from(Arc::new(self.config())).connect(name, stream).await
    }

    /// An address in clear whose connections go through TLS to `addr`.
    pub async fn way_to(&self, addr: SocketAddr) -> TlsWay {
        let connector = TlsConnector::from(Arc::new(self.config()));
        let name = ServerName::try_from(self.name.to_owned()).expect("a name");
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let own = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((plain, _)) = listener.accept().await else { continue };
                let (connector, name) = (connector.clone(), name.clone());
                tokio::spawn(async move {
                    let Ok(stream) = TcpStream::connect(addr).await else { return };
                    if let Ok(secure) = connector.connect(name, stream).await {
                        relay(secure.into(), plain, true).await;
                    }
                });
            }
        });
        TlsWay { addr: own, accepting }
    }
}

/// A way through TLS; it ends when dropped.
pub struct TlsWay {
    /// Where to call.
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for TlsWay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
