//! A scripted HTTP/2 upstream (prior knowledge).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, Response, request::Parts};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::net::loopback;

/// What is done with one stream.
#[derive(Clone, Debug)]
pub enum H2Step {
    /// Reads the whole request, then answers with status, headers, body and trailers.
    Answer(u16, Vec<(&'static str, &'static str)>, Bytes, Vec<(&'static str, &'static str)>),
    /// Reads the whole request and sends its body back with its content type and gRPC trailers.
    GrpcEcho,
    /// `RST_STREAM` with `REFUSED_STREAM`, the request unread.
    Refuse,
    /// Reads the whole request, then `RST_STREAM` with `INTERNAL_ERROR`.
    ResetUnanswered,
    /// Reads the whole request, sends a head, then `RST_STREAM`.
    ResetAfterHead,
    /// Reads the whole request and never answers.
    Stall,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct H2Seen {
    /// Which request, from 0.
    pub index: usize,
    /// The connection it came on, from 0.
    pub connection: usize,
    /// Its head.
    pub head: Arc<Parts>,
    /// Its body, once read.
    pub body: Option<Bytes>,
    /// Its trailers, once read.
    pub trailers: Option<HeaderMap>,
}

type Script = dyn Fn(&H2Seen) -> H2Step + Send + Sync;

#[derive(Default)]
struct State {
    connections: usize,
    requests: Vec<H2Seen>,
}

/// A running upstream; it ends when dropped.
pub struct H2Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Drop for H2Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl H2Upstream {
    /// Serves every stream by `script`.
    pub async fn start(script: impl Fn(&H2Seen) -> H2Step + Send + Sync + 'static) -> Self {
        Self::with_goaway(0, script).await
    }

    /// The first `goaways` connections answer their first stream with `GOAWAY(last stream 0)` and close: nothing on them
    /// was processed.
    pub async fn with_goaway(goaways: usize, script: impl Fn(&H2Seen) -> H2Step + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, script) = (Arc::clone(&state), Arc::new(script) as Arc<Script>);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut state = shared.lock();
                    state.connections += 1;
                    state.connections - 1
                };
                if number < goaways {
                    connections.spawn(async move { drop(go_away(stream).await) });
                } else {
                    connections.spawn(serve(stream, number, Arc::clone(&shared), Arc::clone(&script)));
                }
            }
        });
        Self { addr, state, accepting }
    }

    /// Connections accepted.
    pub fn connections(&self) -> usize {
        self.state.lock().connections
    }

    /// Requests seen.
    pub fn requests(&self) -> Vec<H2Seen> {
        self.state.lock().requests.clone()
    }
}

async fn serve(stream: TcpStream, connection: usize, state: Arc<Mutex<State>>, script: Arc<Script>) {
    let Ok(mut server) = h2::server::handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = server.accept().await {
        let (head, body) = request.into_parts();
        let seen = {
            let mut state = state.lock();
            let index = state.requests.len();
            let seen = H2Seen { index, connection, head: Arc::new(head), body: None, trailers: None };
            state.requests.push(seen.clone());
            seen
        };
        streams.spawn(answer(script(&seen), seen.index, body, respond, Arc::clone(&state)));
    }
}

async fn answer(
    step: H2Step,
    index: usize,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    state: Arc<Mutex<State>>,
) {
    if matches!(step, H2Step::Refuse) {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let mut read = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).ok();
        read.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.ok().flatten();
    let read = Bytes::from(read);
    let content_type = {
        let mut state = state.lock();
        let seen = &mut state.requests[index];
        seen.body = Some(read.clone());
        seen.trailers = trailers;
        seen.head.headers.get("content-type").cloned()
    };
    match step {
        H2Step::Answer(status, headers, body, trailers) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            send(respond, response, body, &trailers);
        }
        H2Step::GrpcEcho => {
            let response = Response::builder().header(
                "content-type",
                content_type.unwrap_or_else(|| "application/grpc".parse().expect("a header value")),
            );
            send(respond, response, read, &[("grpc-status", "0"), ("grpc-message", "echoed")]);
        }
        H2Step::ResetAfterHead => {
            let head = Response::builder().status(200).body(()).expect("a valid response");
            if let Ok(mut stream) = respond.send_response(head, false) {
                // Lets the head leave before the reset overtakes it.
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
        H2Step::ResetUnanswered => respond.send_reset(Reason::INTERNAL_ERROR),
        H2Step::Stall => std::future::pending().await,
        H2Step::Refuse => {}
    }
}

fn send(
    mut respond: SendResponse<Bytes>,
    response: http::response::Builder,
    body: Bytes,
    trailers: &[(&'static str, &'static str)],
) {
    let head = response.body(()).expect("a valid response");
    let Ok(mut stream) = respond.send_response(head, body.is_empty() && trailers.is_empty()) else { return };
    if !body.is_empty() {
        stream.send_data(body, trailers.is_empty()).ok();
    }
    if !trailers.is_empty() {
        let fields = trailers.iter().map(|(k, v)| (k.parse().expect("a name"), v.parse().expect("a value"))).collect();
        stream.send_trailers(fields).ok();
    }
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Reads up to the first HEADERS frame, then says that no stream was or will be processed.
async fn go_away(mut stream: TcpStream) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await?;
        if head[3] == HEADERS {
            break;
        }
    }
    // Last stream 0, NO_ERROR.
    stream.write_all(&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await?;
    stream.shutdown().await?;
    tokio::time::timeout(Duration::from_secs(1), async {
        while stream.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    })
    .await
    .unwrap_or(Ok(()))
}
