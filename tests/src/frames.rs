//! HTTP/2 frames by hand, for what no library sends: both a client and an upstream that break off where they like.

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{net::loopback, script::Gate, wire::Wire, within};

/// Frame types (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// `RST_STREAM`.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const PING: u8 = 6;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Flag of HEADERS.
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Error codes (RFC 9113 section 7).
pub const NO_ERROR: u32 = 0;
/// `PROTOCOL_ERROR`.
pub const PROTOCOL_ERROR: u32 = 1;
/// `REFUSED_STREAM`.
pub const REFUSED_STREAM: u32 = 7;
/// `CANCEL`.
pub const CANCEL: u32 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A HEADERS frame with these fields, all of them literal.
pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// The same in two frames, of which the first has so many bytes of the fields.
pub fn continued(stream: u32, flags: u8, fields: &[(&str, &str)], first_bytes: usize) -> Vec<u8> {
    let block = block(fields);
    let (first, rest) = block.split_at(first_bytes);
    [frame(HEADERS, flags, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
}

/// Fields as HPACK, all of them literal and in no table (RFC 7541 section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let mut length = text.len();
            if length < 127 {
                block.push(u8::try_from(length).expect("a short string"));
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128) as u8 | 128);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A `RST_STREAM` frame.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A GOAWAY frame without an error.
pub fn goaway(last_stream: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last_stream.to_be_bytes(), [0; 4]].concat())
}

/// A `PUSH_PROMISE` on `stream`, of a GET on stream `promised`.
pub fn push_promise(stream: u32, promised: u32) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/pushed")];
    let block = headers(promised, 0, &fields).split_off(9);
    frame(PUSH_PROMISE, END_HEADERS, stream, &[&promised.to_be_bytes()[..], &block].concat())
}

/// SETTINGS that give every stream a window of `bytes`, those that are open included (RFC 9113 section 6.9.2).
pub fn initial_window(bytes: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4][..], &bytes.to_be_bytes()].concat())
}

/// Room for `bytes` more on a stream, or on the connection, which is stream 0.
pub fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether the sender says nothing more on the stream.
    pub fn ends(&self) -> bool {
        self.kind == RST_STREAM || (matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0)
    }
}

/// The next frame; SETTINGS and PING are acknowledged on the way.
async fn next(wire: &mut Wire) -> io::Result<Frame> {
    let head = wire.take(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let frame_in = Frame { kind: head[3], flags: head[4], stream, payload: wire.take(length).await? };
    if matches!(frame_in.kind, SETTINGS | PING) && frame_in.flags & ACK == 0 {
        let echoed = if frame_in.kind == PING { &frame_in.payload[..] } else { &[] };
        wire.send(&frame(frame_in.kind, ACK, 0, echoed)).await?;
    }
    Ok(frame_in)
}

/// A client that sends what it is given.
#[derive(Debug)]
pub struct FrameClient {
    wire: Wire,
}

impl FrameClient {
    /// Connects and sends the preface.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within("a connection to the proxy", TcpStream::connect(addr)).await.expect("connect");
        let mut wire = Wire::new(stream);
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("send the preface");
        Self { wire }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        within("the proxy takes our frames", self.wire.send(bytes)).await.expect("send frames");
    }

    /// The head of a POST without its `END_STREAM`.
    pub fn post(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", "app.test"), (":path", path)];
        headers(stream, 0, &[&pseudo[..], more].concat())
    }

    /// A whole GET.
    pub fn get(stream: u32, path: &str) -> Vec<u8> {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", path)];
        headers(stream, END_STREAM, &fields)
    }

    /// Waits until the proxy has taken in every frame sent so far.
    pub async fn taken_in(&mut self) {
        self.send(&frame(PING, 0, 0, b"barrier!")).await;
        within("the proxy acknowledges a PING", async {
            loop {
                let frame = next(&mut self.wire).await.expect("a frame, not the end of the connection");
                if frame.kind == PING && frame.flags & ACK != 0 && frame.payload == b"barrier!" {
                    return;
                }
            }
        })
        .await;
    }

    /// The next frame on a stream.
    pub async fn frame(&mut self, stream: u32) -> Frame {
        within("a frame on the stream", async {
            loop {
                let frame = next(&mut self.wire).await.expect("a frame, not the end of the connection");
                if frame.stream == stream {
                    return frame;
                }
            }
        })
        .await
    }

    /// Every frame on a stream up to its end, or to that of the connection.
    pub async fn answer(&mut self, stream: u32) -> Vec<Frame> {
        let mut seen = Vec::new();
        within("the stream ends", async {
            while let Ok(frame) = next(&mut self.wire).await {
                if frame.stream == stream {
                    let last = frame.ends();
                    seen.push(frame);
                    if last {
                        return;
                    }
                }
            }
        })
        .await;
        seen
    }
}

/// An upstream that answers every request with bytes of the test's choice.
pub struct FrameUpstream {
    /// Where it listens.
    pub addr: SocketAddr,
    requests: Arc<Mutex<usize>>,
    accepting: JoinHandle<()>,
}

impl Drop for FrameUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FrameUpstream {
    /// `answer` gives the frames for a request on that stream; they are sent once the request is complete.
    pub async fn start(answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::answering_at(Frame::ends, answer).await
    }

    /// The answer is sent as soon as the request's head is there; the body is never given room beyond the first window.
    pub async fn early(answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::answering_at(|frame| frame.kind == HEADERS, answer).await
    }

    /// What `early` gives is sent once the request is complete, what `late` gives when the gate has opened.
    pub async fn in_two(
        early: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
        gate: &Gate,
        late: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let gate = gate.clone();
        Self::serving(Frame::ends, gate, Arc::new(move |stream| (early(stream), late(stream)))).await
    }

    async fn answering_at(when: fn(&Frame) -> bool, answer: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let open = Gate::new();
        open.open();
        Self::serving(when, open, Arc::new(move |stream| (answer(stream), Vec::new()))).await
    }

    async fn serving(when: fn(&Frame) -> bool, gate: Gate, answer: Arc<InTwo>) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let requests = Arc::new(Mutex::new(0));
        let count = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (count, answer, gate) = (Arc::clone(&count), Arc::clone(&answer), gate.clone());
                connections.spawn(async move { drop(serve(Wire::new(stream), &count, when, (&gate, &*answer)).await) });
            }
        });
        Self { addr, requests, accepting }
    }

    /// Requests answered.
    pub fn count(&self) -> usize {
        *self.requests.lock()
    }
}

/// What is sent for a request on a stream: at once, and when a gate has opened.
type InTwo = dyn Fn(u32) -> (Vec<u8>, Vec<u8>) + Send + Sync;

async fn serve(
    mut wire: Wire,
    count: &Mutex<usize>,
    when: fn(&Frame) -> bool,
    (gate, answer): (&Gate, &InTwo),
) -> io::Result<()> {
    wire.take(PREFACE.len()).await?;
    wire.send(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let frame = next(&mut wire).await?;
        if frame.kind != RST_STREAM && when(&frame) {
            *count.lock() += 1;
            let (early, late) = answer(frame.stream);
            wire.send(&early).await?;
            gate.passed().await;
            wire.send(&late).await?;
        }
    }
}
