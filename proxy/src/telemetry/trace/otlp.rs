//! The HTTP client of the exporter: OTLP over HTTP/1.1, in clear or over TLS, one connection for each export.
//!
//! At most a few exports a second make a pool not worth its failure modes. One deadline bounds all of an export: resolving,
//! connecting, sending, waiting, reading, and the retries that the OTLP specification allows ("OTLP/HTTP Throttling": 429,
//! 502, 503, 504; and a connection that could not be made).

use std::{
    fmt,
    future::Future,
    io::{self, Write as _},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    config::model::{Compression, HeaderSource, Otlp},
    wire::{
        tls::{self, ClientTls, HTTP11},
        transport::Transport,
    },
};

/// Bytes of a collector's answer at most; a real one has a few.
const MAX_ANSWER: usize = 64 * 1024;
/// The wait before the first retry; it doubles, up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What the exporter itself has to say of an export.
const EXPORTERS: [header::HeaderName; 2] = [header::CONTENT_TYPE, header::USER_AGENT];

/// An OTLP/HTTP receiver.
pub(super) struct Collector {
    host: String,
    port: u16,
    authority: String,
    path: String,
    timeout: Duration,
    compression: Compression,
    /// How it is known, where it is reached over TLS. Its files are read for each export, so that they can be replaced.
    tls: Option<ClientTls>,
    headers: Vec<(header::HeaderName, HeaderSource)>,
}

/// Why an export cannot be sent: the operator's to cure.
#[derive(Debug, thiserror::Error)]
enum Undeliverable {
    #[error("telemetry.otlp.headers: {}: {source}", file.display())]
    Header { file: std::path::PathBuf, source: io::Error },
    #[error("telemetry.otlp.headers: {}: its first line is no value of a header", file.display())]
    NoValue { file: std::path::PathBuf },
    #[error("telemetry.otlp: {0}")]
    Tls(String),
}

impl Collector {
    /// `None` if the endpoint is not `http://` or `https://` with a host.
    pub(super) fn new(otlp: &Otlp) -> Option<Self> {
        let endpoint = &otlp.endpoint;
        let is_secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        if !is_secure && endpoint.scheme() != Some(&Scheme::HTTP) {
            return None;
        }
        let authority = endpoint.authority().filter(|authority| !authority.host().is_empty())?;
        // Credentials in a URL are not part of the host.
        let authority = authority.as_str().rsplit('@').next()?;
        Some(Self {
            host: endpoint.host()?.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.to_owned(),
            path: format!("{}/v1/traces", endpoint.path().trim_end_matches('/')),
            timeout: otlp.timeout,
            compression: otlp.compression,
            tls: is_secure.then(|| otlp.tls.as_deref().cloned().unwrap_or_default()),
            headers: otlp.headers.clone(),
        })
    }

    /// Where traces go.
    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    /// What is sent beside the export's own fields, as it is now.
    fn add_headers(&self, headers: &mut http::HeaderMap) -> Result<(), Undeliverable> {
        for (name, source) in &self.headers {
            let value = match source {
                HeaderSource::Text(value) => value.clone(),
                HeaderSource::File { file, prefix } => {
                    let read = std::fs::read_to_string(file);
                    let text = read.map_err(|source| Undeliverable::Header { file: file.clone(), source })?;
                    let line = text.lines().next().unwrap_or_default().trim_end();
                    let value = header::HeaderValue::try_from(format!("{prefix}{line}"));
                    value.map_err(|_| Undeliverable::NoValue { file: file.clone() })?
                }
            };
            headers.insert(name, value);
        }
        Ok(())
    }

    /// What is written into: the socket, or TLS over it.
    async fn over(&self, stream: TcpStream) -> Result<Transport, Undeliverable> {
        let Some(tls) = &self.tls else { return Ok(Transport::Clear(stream)) };
        let config = tls::settled(|| tls.config(&[HTTP11])).await;
        let config = config.map_err(|error| Undeliverable::Tls(error.to_string()))?;
        let name = rustls::pki_types::ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| Undeliverable::Tls(error.to_string()))?;
        let shaken = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let explain = |error: io::Error| tls::of_io(&error).map_or_else(|| error.to_string(), tls::explain);
        Ok(Transport::secure(shaken.map_err(|error| Undeliverable::Tls(explain(error)))?))
    }

    /// Posts until it is answered for good.
    async fn deliver(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        // The exporter adds OTEL_EXPORTER_OTLP_HEADERS by itself, unchecked, also where the configuration says otherwise.
        let mut own = http::HeaderMap::new();
        for name in EXPORTERS {
            if let Some(value) = head.headers.remove(&name) {
                own.insert(name, value);
            }
        }
        self.add_headers(&mut own)?;
        // The crate would ask the environment, also where the configuration says otherwise: so it packs nothing, and this does.
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => {
                own.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
                packed(&body)?
            }
        };
        head.headers = own;
        let mut wait = FIRST_WAIT;
        loop {
            let mut again =
                Request::builder().method(head.method.clone()).uri(self.path.as_str()).body(body.clone())?;
            *again.headers_mut() = head.headers.clone();
            match TcpStream::connect((self.host.as_str(), self.port)).await {
                Ok(stream) => {
                    let answer = self.post(self.over(stream).await?, again).await?;
                    if !is_retryable(answer.status()) {
                        return Ok(answer);
                    }
                    wait = wait.max(retry_after(&answer).unwrap_or_default());
                }
                Err(error) => tracing::debug!(%error, "cannot connect to the collector"),
            }
            sleep(wait).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    async fn post(&self, stream: Transport, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().insert(header::HOST, self.authority.parse()?);
        request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection has nothing more to do; the exchange has its answer, or its error, by now.
            _ = connection => exchange.await,
        }
    }
}

fn packed(body: &[u8]) -> io::Result<Bytes> {
    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(body)?;
    packer.finish().map(Bytes::from)
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collector").field(&Uri::try_from(self.url())).finish()
    }
}

impl HttpClient for Collector {
    fn send_bytes<'client, 'exchange>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'exchange>>
    where
        'client: 'exchange,
        Self: 'exchange,
    {
        Box::pin(async move { timeout(self.timeout, self.deliver(request)).await? })
    }
}
