//! The scripted caller: one connection a call, like the curl line that is printed beside it.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// Far beyond every timeout of the story: reaching it means that something hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// One scripted request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    to: SocketAddr,
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) took: Duration,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the connection died ({0})")]
    Died(#[from] hyper::Error),
    #[error("nothing for {PATIENCE:?}")]
    Silence,
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
}

impl Call {
    /// Reads.
    pub(super) fn get(to: SocketAddr, target: &str) -> Self {
        Self { to, method: Method::GET, target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// A keyed payment.
    pub(super) fn pay(to: SocketAddr, key: &str, body: &str) -> Self {
        Self {
            to,
            method: Method::POST,
            target: "/payments".to_owned(),
            headers: vec![("Idempotency-Key", key.to_owned())],
            body: Some(body.to_owned()),
        }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same request for a shell.
    pub(super) fn curl(&self) -> String {
        let mut line = format!("curl -i {}", quoted(&format!("http://{}{}", self.to, self.target)));
        for (name, value) in &self.headers {
            let _ = write!(line, " -H {}", quoted(&format!("{name}: {value}")));
        }
        if let Some(body) = &self.body {
            let _ = write!(line, " --json {}", quoted(body));
        }
        line
    }

    /// Sends it on a connection of its own.
    pub(super) async fn send(&self) -> Result<Answer, CallError> {
        tokio::time::timeout(PATIENCE, self.exchange()).await.map_err(|_| CallError::Silence)?
    }

    async fn exchange(&self) -> Result<Answer, CallError> {
        let began = Instant::now();
        let stream = TcpStream::connect(self.to).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection, which ends with `sender`.
        let driver = tokio::spawn(connection);
        let response = sender.send_request(self.request()?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        driver.abort();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            took: began.elapsed(),
        })
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(&self.target)
            .header(header::HOST, self.to.to_string())
            .header(header::USER_AGENT, "mainstay-demo")
            .header(header::ACCEPT, "*/*");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(self.body.clone().unwrap_or_default()))
    }
}

impl Answer {
    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value at a JSON Pointer of the body.
    pub(super) fn json(&self, pointer: &str) -> Option<serde_json::Value> {
        serde_json::from_str::<serde_json::Value>(&self.body).ok()?.pointer(pointer).cloned()
    }
}

/// Quotes for a POSIX shell where it must be.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
