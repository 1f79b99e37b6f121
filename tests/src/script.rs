//! What a scripted upstream does with one connection and one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::wire::{Body, Framing, Head, Headers};

/// What happens to a connection before any request on it is looked at.
#[derive(Clone, Debug)]
pub enum Accept {
    /// Requests are served.
    Serve,
    /// RST at once.
    Reset,
    /// FIN at once.
    Close,
    /// RST after so many bytes of the first head.
    ResetAfter(usize),
    /// FIN after so many bytes of the first head.
    CloseAfter(usize),
    /// Nothing is ever read.
    Stall,
    /// These bytes, before anything is read; then FIN.
    Say(Bytes),
}

/// One thing done with a request whose head has been read.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads the rest of the request; now its effect has happened.
    Body,
    /// Reads so many raw bytes of the body.
    BodyBytes(usize),
    /// Sends bytes.
    Send(Bytes),
    /// Sends bytes many times over.
    Repeat(Bytes, usize),
    /// Waits.
    Delay(Duration),
    /// Waits until the test opens the gate.
    Gate(Gate),
    /// Waits until the peer closes.
    Stall,
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Sends back every byte until the peer closes its side, then closes.
    Echo,
    /// Waits for the first byte of the next request, then RST without reading it.
    ResetOnNextByte,
}

/// A gate that a test opens.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        self.0.acquire().await.ok();
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which request this is, over all connections, from 0.
    pub index: usize,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Which request of its connection it is, from 0.
    pub nth: usize,
    /// The method.
    pub method: String,
    /// The target, byte for byte.
    pub target: String,
    /// The whole head.
    pub head: Head,
    /// The body as far as it was read.
    pub body: Body,
}

impl Seen {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.value(name)
    }

    /// Every value of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head.headers.all(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        crate::wire::latin1(&self.body.data)
    }

    /// How the request's body is framed.
    pub fn framing(&self) -> Framing {
        if self.header("transfer-encoding").is_some() {
            return Framing::Chunked;
        }
        match self.header("content-length").and_then(|v| v.parse().ok()) {
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        }
    }
}

/// An answer to be put on the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    framing: AnswerFraming,
    trailers: Headers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerFraming {
    Length,
    Chunked,
    Close,
    Headless,
}

impl Answer {
    /// An answer with a status and no body.
    pub fn status(status: u16) -> Self {
        let framing = if status == 204 || status == 304 { AnswerFraming::Headless } else { AnswerFraming::Length };
        Self { status, headers: Vec::new(), body: Bytes::new(), framing, trailers: Headers::default() }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// 200 with a JSON body.
    pub fn json(status: u16, body: &str) -> Self {
        Self::status(status).header("Content-Type", "application/json").body(body.to_owned())
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Frames the body in chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = AnswerFraming::Chunked;
        self
    }

    /// Ends the body by closing.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = AnswerFraming::Close;
        self
    }

    /// Frames the body in chunks and adds a trailer field.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.0.push((name.to_owned(), value.to_owned()));
        self.chunked()
    }

    /// The head with its empty line.
    pub fn head_bytes(&self) -> Bytes {
        let mut out = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            out.extend([name, ": ", value, "\r\n"]);
        }
        match self.framing {
            AnswerFraming::Length => out.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]),
            AnswerFraming::Chunked => out += "Transfer-Encoding: chunked\r\n",
            AnswerFraming::Close => out += "Connection: close\r\n",
            AnswerFraming::Headless => {}
        }
        out += "\r\n";
        Bytes::from(out)
    }

    /// The whole message.
    pub fn bytes(&self) -> Bytes {
        let mut out = self.head_bytes().to_vec();
        if self.framing == AnswerFraming::Chunked {
            for part in self.body.chunks(16 * 1024) {
                out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            for (name, value) in &self.trailers.0 {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(&self.body);
        }
        Bytes::from(out)
    }

    /// Reads the whole request, then answers.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Body, Step::Send(self.bytes())];
        if self.framing == AnswerFraming::Close {
            steps.push(Step::Close);
        }
        steps
    }

    /// Reads the whole request, waits, then answers.
    pub fn after(&self, delay: Duration) -> Vec<Step> {
        vec![Step::Body, Step::Delay(delay), Step::Send(self.bytes())]
    }

    /// Reads the whole request, waits for the gate, then answers.
    pub fn behind(&self, gate: &Gate) -> Vec<Step> {
        vec![Step::Body, Step::Gate(gate.clone()), Step::Send(self.bytes())]
    }

    /// Reads the whole request, then sends only the first bytes of the answer; the caller adds how it ends.
    pub fn cut(&self, bytes: usize) -> Vec<Step> {
        vec![Step::Body, Step::Send(self.bytes().slice(..bytes.min(self.bytes().len())))]
    }
}
