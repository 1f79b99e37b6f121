//! TLS to an endpoint: who it must be, and which HTTP both speak.
//!
//! Nothing of a request can have been sent before the handshake is over. Under TLS 1.3 it is over for us before the peer has
//! looked at our certificate (rustls#1707): it may refuse it by an alert where an answer is waited for. That alert is
//! authenticated, and a peer takes what it is sent in order, so it proves that the request was not looked at.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use http::uri::Authority;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    config::model::Protocol,
    wire::{
        tls::{self, Connector, H2, HTTP11},
        transport::Transport,
    },
};

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// TLS to an endpoint.
pub(crate) struct Handshake {
    connector: Arc<Connector>,
    name: ServerName<'static>,
    /// The configuration wants it spoken.
    wanted: Option<Spoken>,
    /// What the peer chose last, of those it could choose from. 0: nothing yet.
    chosen: AtomicU8,
}

/// Why there is no secure connection: the reason that log and span name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unshaken(String);

impl Handshake {
    /// To the endpoint at `authority`, whose name is `server_name` where that is given.
    pub(super) fn new(
        connector: Arc<Connector>,
        server_name: Option<ServerName<'static>>,
        authority: &Authority,
        protocol: Protocol,
    ) -> Self {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let own = || ServerName::try_from(host.to_owned()).ok();
        // A host that is no name in a certificate is none that one can be for: no handshake will succeed.
        let nobody = || ServerName::try_from("invalid").expect("a name of letters is a name");
        let name = server_name.or_else(own).unwrap_or_else(nobody);
        let wanted = match protocol {
            Protocol::Auto => None,
            Protocol::Http1 => Some(Spoken::Http1),
            Protocol::Http2 => Some(Spoken::Http2),
        };
        Self { connector, name, wanted, chosen: AtomicU8::new(0) }
    }

    /// Which HTTP the peer chose last; `None` until it has.
    pub(super) fn chosen(&self) -> Option<Spoken> {
        match self.chosen.load(Relaxed) {
            1 => Some(Spoken::Http1),
            2 => Some(Spoken::Http2),
            _ => None,
        }
    }

    fn remember(&self, chosen: Option<Spoken>) {
        let number = chosen.map_or(0, |chosen| match chosen {
            Spoken::Http1 => 1,
            Spoken::Http2 => 2,
        });
        self.chosen.store(number, Relaxed);
    }

    /// Shakes hands over `stream`: which HTTP is spoken then. `offered`: that one, or what the peer likes.
    pub(super) async fn shake(
        &self,
        stream: TcpStream,
        offered: Option<Spoken>,
        deadline: Instant,
    ) -> Result<(Transport, Spoken), AttemptError> {
        let alpn = match offered {
            Some(Spoken::Http1) => vec![HTTP11.to_vec()],
            Some(Spoken::Http2) => vec![H2.to_vec()],
            None => vec![H2.to_vec(), HTTP11.to_vec()],
        };
        let connector = TlsConnector::from(self.connector.config());
        let shaking = connector.with_alpn(alpn).connect(self.name.clone(), stream);
        let shaken = match timeout_at(deadline, shaking).await {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => {
                if offered != self.wanted {
                    // It may have changed its mind about what it speaks.
                    self.remember(None);
                }
                return Err(failed(error));
            }
            Err(_) => return Err(unsent("tls:timeout", "the TLS handshake took longer than connect_timeout".into())),
        };
        let answer = shaken.get_ref().1.alpn_protocol();
        let spoken = match (answer, offered) {
            (Some(H2), None | Some(Spoken::Http2)) => Spoken::Http2,
            (Some(HTTP11), None | Some(Spoken::Http1)) => Spoken::Http1,
            // It knows no ALPN, and HTTP/1.1 is what is spoken then.
            (None, None | Some(Spoken::Http1)) if self.wanted.is_none() => Spoken::Http1,
            _ => {
                self.remember(None);
                let why =
                    "the peer does not choose the one `protocol` that it was offered (ALPN): say `protocol: auto`";
                return Err(unsent("tls:protocol", why.to_owned()));
            }
        };
        self.remember(Some(spoken));
        Ok((Transport::secure(shaken), spoken))
    }
}

fn unsent(word: &'static str, why: String) -> AttemptError {
    AttemptError::new(Cause::Tls, Sent::No).named(word).with_source(Unshaken(why))
}

fn failed(error: io::Error) -> AttemptError {
    match tls::of_io(&error) {
        Some(found) => unsent(word(found), tls::explain(found)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unsent("tls:eof", "the peer ended the connection in the TLS handshake".to_owned())
        }
        None => AttemptError::new(Cause::Tls, Sent::No).named("tls:reset").with_source(error),
    }
}

/// A peer that refuses our certificate after the handshake, on a connection of which nothing has come: the request was not sent.
pub(super) fn refused_late(error: &io::Error) -> Option<AttemptError> {
    match tls::of_io(error)? {
        found @ rustls::Error::AlertReceived(alert) if tls::is_about_ours(*alert) => {
            Some(unsent(word(found), tls::explain(found)))
        }
        _ => None,
    }
}

/// As attempts name it.
fn word(error: &rustls::Error) -> &'static str {
    match tls::word(error) {
        "unknown_ca" => "tls:unknown_ca",
        "expired" => "tls:expired",
        "not_yet_valid" => "tls:not_yet_valid",
        "wrong_name" => "tls:wrong_name",
        "wrong_identity" => "tls:wrong_identity",
        "revoked" => "tls:revoked",
        "bad_certificate" => "tls:bad_certificate",
        "certificate_required" => "tls:certificate_required",
        "certificate_refused" => "tls:certificate_refused",
        _ => "tls:protocol",
    }
}
