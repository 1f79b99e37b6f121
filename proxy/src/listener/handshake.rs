//! TLS with a client, before its first request.

use std::{future::poll_fn, io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::wire::{
    tls::{self, Acceptor, Caller, H2, Names},
    transport::Transport,
};

/// What is answered to a request in clear. Nothing of it is read but the first byte.
const CLEAR: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nmainstay-error: bad-request\r\n\
                       cache-control: no-store\r\ncontent-length: 22\r\nconnection: close\r\n\r\nthis port speaks TLS\r\n";
/// How long a client in clear may take to read that.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it sends meanwhile is passed over.
const LINGER_BYTES: u64 = 64 * 1024;

/// A client whose hand was shaken.
pub(crate) struct Shaken {
    pub(crate) transport: Transport,
    /// What its certificate says; `None` if it has shown none.
    pub(crate) caller: Option<Caller>,
    pub(crate) speaks_http2: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Unshaken {
    /// In one word, of few.
    pub(crate) word: &'static str,
    pub(crate) reason: String,
    /// Whom its certificate names, if it has shown one.
    pub(crate) caller: Option<Names>,
}

impl Unshaken {
    fn new(word: &'static str, reason: impl Into<String>) -> Self {
        Self { word, reason: reason.into(), caller: None }
    }

    /// The client said nothing that could be refused: a look at the port, or a change of mind.
    pub(crate) fn is_silence(&self) -> bool {
        self.word == LEFT
    }
}

/// The word for a client that left before anything could be said.
const LEFT: &str = "left";

/// Shakes hands with a client, `within` so long.
pub(crate) async fn shake(stream: TcpStream, acceptor: &Acceptor, within: Duration) -> Result<Shaken, Unshaken> {
    match timeout(within, accept(stream, acceptor)).await {
        Ok(shaken) => shaken,
        Err(_) => Err(Unshaken::new("timeout", "the handshake took longer than `limits.handshake_timeout`")),
    }
}

async fn accept(stream: TcpStream, acceptor: &Acceptor) -> Result<Shaken, Unshaken> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => {}
        Ok(_) => return Err(Unshaken::new(LEFT, "the client left before it said anything")),
        Err(error) => return Err(Unshaken::new(LEFT, error.to_string())),
    }
    // A method begins with a letter; no record of TLS does.
    if first[0].is_ascii_alphabetic() {
        refuse_clear(stream).await;
        return Err(Unshaken::new("protocol", "the client speaks HTTP in clear: this port speaks TLS"));
    }
    let mut shaking = Box::pin(TlsAcceptor::from(acceptor.config()).accept(stream));
    let shaken = poll_fn(|cx| {
        // Whom it is about is known only here, in the poll in which it failed.
        let polled = shaking.as_mut().poll(cx);
        polled.map_err(|error| Unshaken { caller: tls::take_refused(), ..failed(&error) })
    });
    let stream = shaken.await?;
    let session = stream.get_ref().1;
    let caller = match session.peer_certificates().and_then(<[_]>::first) {
        None => None,
        Some(certificate) => match Caller::of(certificate) {
            Ok(caller) => Some(caller),
            Err(word) => return Err(Unshaken::new(word, "its certificate is not valid any more, or cannot be read")),
        },
    };
    let speaks_http2 = session.alpn_protocol() == Some(H2);
    Ok(Shaken { transport: Transport::secure(stream), caller, speaks_http2 })
}

fn failed(error: &io::Error) -> Unshaken {
    match tls::of_io(error) {
        Some(found) => Unshaken::new(tls::word(found), tls::explain(found)),
        None => Unshaken::new(LEFT, error.to_string()),
    }
}

/// Says in clear what this port speaks, and waits until the client has seen it.
async fn refuse_clear(mut stream: TcpStream) {
    let told = async {
        stream.write_all(CLEAR).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Either way it is closed now.
    let _ = timeout(LINGER, told).await;
}
