//! An HTTP/2 client with prior knowledge.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::within;

/// A request body.
pub type Outgoing = BoxBody<Bytes, std::convert::Infallible>;

/// A body of known content.
pub fn full(body: impl Into<Bytes>) -> Outgoing {
    Full::new(body.into()).boxed()
}

/// A body followed by trailers.
pub fn with_trailers(body: impl Into<Bytes>, trailers: http::HeaderMap) -> Outgoing {
    let frames = [Ok(Frame::data(body.into())), Ok(Frame::trailers(trailers))];
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

/// A response read to its end.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailer fields.
    pub trailers: Option<http::HeaderMap>,
}

/// A connection.
pub struct H2Client {
    sender: SendRequest<Outgoing>,
    driver: JoinHandle<()>,
    authority: String,
}

impl Drop for H2Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl H2Client {
    /// Connects and shakes hands.
    pub async fn connect(addr: SocketAddr) -> Self {
        within("an HTTP/2 handshake", async {
            let stream = TcpStream::connect(addr).await.expect("connect");
            let (sender, connection) = Builder::new(TokioExecutor::new())
                // Above any server's limit, so that the limit that is seen is the server's.
                .initial_max_send_streams(10_000)
                .handshake(TokioIo::new(stream))
                .await
                .expect("an HTTP/2 handshake");
            let driver = tokio::spawn(async move { drop(connection.await) });
            Self { sender, driver, authority: addr.to_string() }
        })
        .await
    }

    /// A request builder with the connection's authority.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.authority))
    }

    /// A handle that can send while others do.
    pub fn sender(&self) -> SendRequest<Outgoing> {
        self.sender.clone()
    }

    /// Sends and waits for the head.
    pub async fn start(&self, request: Request<Outgoing>) -> hyper::Result<Response<Incoming>> {
        within("an HTTP/2 response", self.sender.clone().send_request(request)).await
    }

    /// Sends and reads the whole response.
    pub async fn call(&self, request: Request<Outgoing>) -> Whole {
        collect(self.start(request).await.expect("an HTTP/2 response")).await
    }
}

/// Reads a response to its end.
pub async fn collect(response: Response<Incoming>) -> Whole {
    let (head, body) = response.into_parts();
    let body = within("the response body", body.collect()).await.expect("a whole response body");
    let trailers = body.trailers().cloned();
    Whole { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers }
}
