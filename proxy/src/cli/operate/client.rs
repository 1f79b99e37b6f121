//! A client of the admin listener: one connection per request, HTTP/1.1, in clear or over TLS.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{net::TcpStream, sync::OnceCell, time::timeout};

use super::secure::{Secure, SecureArgs};
use crate::wire::transport::Transport;

/// For a connection on loopback, or to a pod.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For an answer: an act may ask the service itself, which has 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a listener for TLS says to whoever speaks in clear.
const SPEAKS_TLS: &str = "this port speaks TLS";
/// Bytes of an answer: a page of 200 operations takes some 200 KiB.
const MAX_ANSWER: usize = 16 << 20;

/// Items of one page.
const PAGE: usize = 200;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The operator's: the command line.
    #[error("{0}")]
    Usage(String),
    /// The operator's: the token.
    #[error("the token in {} cannot be read: {source}", path.display())]
    Token { path: PathBuf, source: io::Error },
    /// There is no such thing, or more than one.
    #[error("{0}")]
    NotFound(String),
    /// It was done for some: others refused it, or are left in doubt. What came of it, and the exit code for that.
    #[error("{told}")]
    Partly { told: String, code: u8 },
    /// Nobody is there, or not who was expected.
    #[error(
        "cannot reach {address}: {reason}\nIs the proxy running, and `admin` on? Name its listener with --admin or \
         MAINSTAY_ADMIN; in a pod: kubectl exec POD -c mainstay -- mainstay ops ls"
    )]
    Unreachable { address: String, reason: String },
    /// Somebody is there; neither side may trust the other, or they have no protocol in common.
    #[error("cannot reach {address}: {reason}")]
    Untrusted { address: String, reason: String },
    /// The proxy says no.
    #[error("{detail}{}", cure(*status))]
    Refused { status: StatusCode, detail: String },
}

impl ClientError {
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::NotFound(_) => 1,
            Self::Usage(_) | Self::Token { .. } => 2,
            Self::Unreachable { .. } | Self::Untrusted { .. } => 3,
            Self::Partly { code, .. } => *code,
        }
    }
}

/// What to do about a refusal, where its own words do not say.
fn cure(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "\nGive the token's file with --token-file.",
        StatusCode::PRECONDITION_FAILED => {
            "\nNothing was changed. Look again with `mainstay ops show`, then decide again."
        }
        _ => "",
    }
}

/// An answer of the proxy.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) etag: Option<String>,
    pub(super) document: Value,
}

/// A response whose body goes on.
pub(super) struct Streamed {
    pub(super) body: Incoming,
    _connection: Connection,
}

/// A connection; it ends with its owner.
struct Connection {
    /// While it is there, the connection is not at its end.
    sender: SendRequest<Full<Bytes>>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A client of one proxy.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    authority: http::uri::Authority,
    /// Through TLS, where it is asked for.
    secure: Option<Secure>,
    token: Option<String>,
    identity: OnceCell<Identity>,
}

/// Who answers, and whom it takes the caller for.
#[derive(Debug)]
struct Identity {
    name: String,
    caller: Option<String>,
}

impl Client {
    /// Of the listener at `address`; `secure` is how it is known if it speaks TLS, `None` that it never does.
    pub(super) fn new(
        address: &str,
        secure: Option<&SecureArgs>,
        token_file: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let usage = || ClientError::Usage(format!("`{address}` is no address of a proxy: write http://127.0.0.1:9191"));
        let uri: Uri = address.parse().map_err(|_| usage())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(usage)?;
        let secure = match (uri.scheme_str(), secure) {
            (None | Some("http"), _) => None,
            (Some("https"), Some(secure)) => Some(
                secure.open(bare(authority.host())).map_err(|why| ClientError::Usage(format!("{address}: {why}")))?,
            ),
            (_, None) => {
                return Err(ClientError::Usage(format!(
                    "`{address}`: the probes listener speaks HTTP in clear: write http://"
                )));
            }
            (Some(_), Some(_)) => return Err(usage()),
        };
        let token = token_file.map(|path| {
            let token = std::fs::read_to_string(path);
            token
                .map(|token| token.trim().to_owned())
                .map_err(|source| ClientError::Token { path: path.to_owned(), source })
        });
        Ok(Self {
            address: address.to_owned(),
            authority: authority.clone(),
            secure,
            token: token.transpose()?,
            identity: OnceCell::new(),
        })
    }

    pub(super) async fn get(&self, target: &str) -> Result<Answer, ClientError> {
        self.call(Method::GET, target, None, None).await
    }

    pub(super) async fn post(&self, target: &str, etag: Option<&str>, body: &Value) -> Result<Answer, ClientError> {
        self.call(Method::POST, target, etag, Some(body)).await
    }

    pub(super) async fn put(&self, target: &str, body: &Value) -> Result<Answer, ClientError> {
        self.call(Method::PUT, target, None, Some(body)).await
    }

    pub(super) async fn delete(&self, target: &str) -> Result<Answer, ClientError> {
        self.call(Method::DELETE, target, None, None).await
    }

    /// Follows the cursors of a listing until it has `limit` of its `member`s (0 is all), and whether there are more.
    pub(super) async fn pages(
        &self,
        path: &str,
        query: &[(&str, String)],
        member: &str,
        limit: usize,
    ) -> Result<(Vec<Value>, bool), ClientError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut found: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = vec![("limit", PAGE.min(limit).to_string())];
            page.extend(query.iter().cloned());
            page.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let mut document = self.get(&format!("{path}?{}", query_string(&page))).await?.document;
            if let Value::Array(more) = document[member].take() {
                found.extend(more);
            }
            cursor = document["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || found.len() >= limit {
                let has_more = cursor.is_some() || found.len() > limit;
                found.truncate(limit);
                return Ok((found, has_more));
            }
        }
    }

    /// The name that the proxy knows by the token, or by our certificate.
    pub(super) async fn caller(&self) -> Result<Option<&str>, ClientError> {
        if self.token.is_none() && !self.secure.as_ref().is_some_and(Secure::has_certificate) {
            return Ok(None);
        }
        Ok(self.identity().await?.caller.as_deref())
    }

    /// Whose answers these are: `payments-7c9f (127.0.0.1:9191)`.
    pub(super) async fn named(&self) -> String {
        match self.identity().await {
            Ok(Identity { name, .. }) if !name.is_empty() => format!("{name} ({})", self.authority),
            // What was asked for has been answered: a name that is missing is no failure.
            _ => self.authority.to_string(),
        }
    }

    async fn identity(&self) -> Result<&Identity, ClientError> {
        let asked = async || {
            let status = self.get("/status").await?.document;
            let text = |member: &str| status[member].as_str().map(str::to_owned);
            Ok(Identity { name: text("name").unwrap_or_default(), caller: text("caller") })
        };
        self.identity.get_or_try_init(asked).await
    }

    /// The status and the text of what is no document.
    pub(super) async fn look(&self, target: &str) -> Result<(StatusCode, String), ClientError> {
        let request = Request::get(target).header(header::HOST, self.authority.as_str()).body(Full::default());
        let request = request.map_err(|error| ClientError::Usage(error.to_string()))?;
        match timeout(ANSWER_TIMEOUT, self.exchange(request)).await {
            Ok(Ok((parts, bytes))) => Ok((parts.status, String::from_utf8_lossy(&bytes).into_owned())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.unreachable("no answer in 30s")),
        }
    }

    async fn call(
        &self,
        method: Method,
        target: &str,
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(method, target);
        if let Some(etag) = if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Usage(error.to_string()))?;
        let (parts, bytes) = match timeout(ANSWER_TIMEOUT, self.exchange(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(self.unreachable("no answer in 30s")),
        };
        let document: Option<Value> = serde_json::from_slice(&bytes).ok();
        if !parts.status.is_success() {
            return Err(self.refusal(&parts, &bytes));
        }
        let document = document.ok_or_else(|| self.unreachable("this is not the admin listener of a Mainstay"))?;
        let etag = parts.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Answer { etag, document })
    }

    /// A response that goes on, such as one of events.
    pub(super) async fn stream(&self, target: &str) -> Result<Streamed, ClientError> {
        let request = self.request(Method::GET, target).body(Full::default());
        let request = request.map_err(|error| ClientError::Usage(error.to_string()))?;
        let sent = timeout(ANSWER_TIMEOUT, self.send(request)).await;
        let (response, connection) = sent.map_err(|_| self.unreachable("no answer in 30s"))??;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(Streamed { body, _connection: connection });
        }
        let body = timeout(ANSWER_TIMEOUT, Limited::new(body, MAX_ANSWER).collect()).await;
        let bytes = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(self.refusal(&parts, &bytes))
    }

    fn request(&self, method: Method, target: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(target).header(header::HOST, self.authority.as_str());
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// What an answer means that is no success.
    fn refusal(&self, parts: &http::response::Parts, bytes: &[u8]) -> ClientError {
        // Not ours: something else listens there.
        let ours = parts.headers.contains_key("mainstay-error");
        if ours && bytes.trim_ascii() == SPEAKS_TLS.as_bytes() {
            return self.untrusted(format!("{SPEAKS_TLS}: write https://"));
        }
        let document: Option<Value> = serde_json::from_slice(bytes).ok().filter(|_| ours);
        match document.as_ref().and_then(|document| document["detail"].as_str()) {
            Some(detail) => ClientError::Refused { status: parts.status, detail: detail.to_owned() },
            None => self.unreachable("this is not the admin listener of a Mainstay"),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(http::response::Parts, Bytes), ClientError> {
        let (response, _connection) = self.send(request).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| self.unreachable(error.to_string()))?.to_bytes();
        Ok((parts, body))
    }

    /// The head of the answer, and the connection that its body comes by.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Connection), ClientError> {
        let transport = self.connect().await?;
        let failed = |error: hyper::Error| match self.secure.as_ref().and_then(|secure| secure.explain(&error)) {
            Some(reason) => self.untrusted(reason),
            None => self.unreachable(error.to_string()),
        };
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(transport)).await.map_err(failed)?;
        let driver = tokio::spawn(connection).abort_handle();
        let mut connection = Connection { sender, driver };
        let response = connection.sender.send_request(request).await.map_err(failed)?;
        Ok((response, connection))
    }

    async fn connect(&self) -> Result<Transport, ClientError> {
        let port = self.authority.port_u16().unwrap_or(9191);
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((bare(self.authority.host()), port))).await;
        let stream = stream.map_err(|_| self.unreachable("no connection in 3s"))?;
        let stream = stream.map_err(|error| self.unreachable(error.to_string()))?;
        let Some(secure) = &self.secure else { return Ok(Transport::Clear(stream)) };
        let shaken = timeout(CONNECT_TIMEOUT, secure.shake(stream)).await;
        shaken.map_err(|_| self.unreachable("no TLS handshake in 3s"))?.map_err(|reason| self.untrusted(reason))
    }

    fn untrusted(&self, reason: String) -> ClientError {
        ClientError::Untrusted { address: self.address.clone(), reason }
    }

    fn unreachable(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Unreachable { address: self.address.clone(), reason: reason.into() }
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// One segment of a path, whatever is in it.
pub(super) fn segment(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Parameters of a query.
pub(super) fn query_string(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", segment(value)));
    pairs.collect::<Vec<_>>().join("&")
}
