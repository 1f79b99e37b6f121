//! A raw HTTP/1.1 client: sends exactly the bytes it is given and reports exactly what came back.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    wire::{Body, Framing, Head, Headers, Wire, latin1},
    within,
};

/// A response as it came.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// 1xx responses before it.
    pub interim: Vec<Head>,
    /// The status.
    pub status: u16,
    /// The head.
    pub head: Head,
    /// The body and its trailers.
    pub body: Body,
}

impl Reply {
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
        latin1(&self.body.data)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body.data)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {:?}", self.status, self.text()))
    }

    /// The slug of Mainstay's own error, if this is one.
    pub fn slug(&self) -> Option<&str> {
        self.header("mainstay-error")
    }

    /// Fails unless this is the problem `slug` with that status; gives its document.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!((self.status, self.slug()), (status, Some(slug)), "{:#?} {}", self.head, self.text());
        self.json()
    }

    /// Fails unless this is a complete answer of that status which Mainstay did not make itself.
    #[track_caller]
    pub fn expect_upstream(&self, status: u16) -> &Self {
        assert_eq!((self.status, self.slug()), (status, None), "{:#?} {}", self.head, self.text());
        assert!(self.body.complete, "the body was cut off: {self:#?}");
        self
    }

    /// The id that `Operation-Location` names.
    #[track_caller]
    pub fn operation(&self) -> String {
        let location = self.header("operation-location").unwrap_or_else(|| panic!("no Operation-Location: {self:#?}"));
        location.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// A request to be put on the wire.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunked: bool,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None, chunked: false }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST with a body.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// A POST with a body and an idempotency key.
    pub fn keyed(target: &str, key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::post(target, body).header("Idempotency-Key", key)
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends the body in chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The head, with the framing of the body but without the body.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            out += "Host: app.test\r\n";
        }
        for (name, value) in &self.headers {
            out.extend([name, ": ", value, "\r\n"]);
        }
        match &self.body {
            Some(_) if self.chunked => out += "Transfer-Encoding: chunked\r\n",
            Some(body) => out.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]),
            None => {}
        }
        out += "\r\n";
        out.into_bytes()
    }

    /// The whole message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.head_bytes();
        if let Some(body) = &self.body {
            if self.chunked {
                for part in body.chunks(1000) {
                    out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    out.extend_from_slice(part);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            } else {
                out.extend_from_slice(body);
            }
        }
        out
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, addr: SocketAddr) -> Reply {
        let mut client = Client::connect(addr).await;
        client.write(&self.bytes()).await;
        client.reply_to(&self.method).await
    }
}

/// A client connection.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub wire: Wire,
}

impl Client {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within("a connection to the proxy", TcpStream::connect(addr)).await;
        Self { wire: Wire::new(stream.unwrap_or_else(|error| panic!("connect to {addr}: {error}"))) }
    }

    /// Connects from another address of this machine.
    pub async fn connect_from(own: IpAddr, addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((own, 0).into()).unwrap_or_else(|error| panic!("bind to {own}: {error}"));
        let stream = within("a connection to the proxy", socket.connect(addr)).await;
        Self { wire: Wire::new(stream.unwrap_or_else(|error| panic!("connect to {addr}: {error}"))) }
    }

    /// Sends bytes; a peer that has closed already is not a failure here, the reply tells.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("the peer takes our bytes", self.wire.send(bytes)).await.ok();
    }

    /// Sends a request and reads its response.
    pub async fn call(&mut self, request: &Request) -> Reply {
        self.write(&request.bytes()).await;
        self.reply_to(&request.method).await
    }

    /// Reads the response to a request other than HEAD.
    pub async fn reply(&mut self) -> Reply {
        self.reply_to("GET").await
    }

    /// Reads the response to a request of that method.
    pub async fn reply_to(&mut self, method: &str) -> Reply {
        within("a response", self.read(method)).await.unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Reads the response, or tells why there is none.
    pub async fn try_reply(&mut self) -> io::Result<Reply> {
        within("a response or an end", self.read("GET")).await
    }

    async fn read(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.read_head().await?;
        let framing = response_framing(method, &reply);
        // An error here is a truncated body: `complete` stays false.
        self.wire.body(framing, &mut reply.body).await.ok();
        Ok(reply)
    }

    /// Reads only the head of the response; the body stays on the wire.
    pub async fn head(&mut self) -> Reply {
        within("a response head", self.read_head()).await.unwrap_or_else(|error| panic!("no response: {error}"))
    }

    async fn read_head(&mut self) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let head = self.wire.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = status_of(&head)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            return Ok(Reply { interim, status, head, body: Body::default() });
        }
    }

    /// Reads one head, 1xx or not.
    pub async fn any_head(&mut self) -> Head {
        within("a head", self.wire.head()).await.ok().flatten().expect("a head, not the end of the connection")
    }

    /// Reads a body with that framing.
    pub async fn body(&mut self, framing: Framing) -> Body {
        let mut body = Body::default();
        within("the rest of the body", self.wire.body(framing, &mut body)).await.ok();
        body
    }

    /// Fails unless the peer ends the connection without another byte of response.
    pub async fn expect_closed(&mut self) {
        let rest = within("the peer closes", self.wire.some()).await;
        assert!(!matches!(&rest, Ok(bytes) if !bytes.is_empty()), "more came: {:?}", rest.map(|b| latin1(&b)));
    }

    /// Leaves with RST.
    pub fn reset(self) {
        self.wire.reset();
    }
}

fn status_of(head: &Head) -> io::Result<u16> {
    let mut words = head.start_line.splitn(3, ' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match status.parse() {
        Ok(status) if version.starts_with("HTTP/1.") => Ok(status),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, head.start_line.clone())),
    }
}

fn response_framing(method: &str, reply: &Reply) -> Framing {
    let headers: &Headers = &reply.head.headers;
    if method == "HEAD" || matches!(reply.status, 101 | 204 | 304) || (method == "CONNECT" && reply.status == 200) {
        Framing::None
    } else if headers.value("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked")) {
        Framing::Chunked
    } else if let Some(length) = headers.value("content-length") {
        length.parse().map_or(Framing::UntilClose, Framing::Length)
    } else {
        Framing::UntilClose
    }
}
