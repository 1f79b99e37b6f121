//! The HTTP client of the exporter: OTLP over HTTP/1.1 in clear, one connection for each export.
//!
//! At most a few exports a second make a pool not worth its failure modes. One deadline bounds all of an export: resolving,
//! connecting, sending, waiting, reading, and the retries that the OTLP specification allows ("OTLP/HTTP Throttling": 429,
//! 502, 503, 504; and a connection that could not be made).

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::config::model::Otlp;

/// Bytes of a collector's answer at most; a real one has a few.
const MAX_ANSWER: usize = 64 * 1024;
/// The wait before the first retry; it doubles, up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(1);

/// An OTLP/HTTP receiver.
pub(super) struct Collector {
    host: String,
    port: u16,
    authority: String,
    path: String,
    timeout: Duration,
}

impl Collector {
    /// `None` if the endpoint is not `http://` with a host.
    pub(super) fn new(otlp: &Otlp) -> Option<Self> {
        let endpoint = &otlp.endpoint;
        if endpoint.scheme() != Some(&Scheme::HTTP) {
            return None;
        }
        let authority = endpoint.authority().filter(|authority| !authority.host().is_empty())?;
        // Credentials in a URL are not part of the host.
        let authority = authority.as_str().rsplit('@').next()?;
        Some(Self {
            host: endpoint.host()?.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_u16().unwrap_or(80),
            authority: authority.to_owned(),
            path: format!("{}/v1/traces", endpoint.path().trim_end_matches('/')),
            timeout: otlp.timeout,
        })
    }

    /// Where traces go.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }

    /// Posts until it is answered for good.
    async fn deliver(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let mut wait = FIRST_WAIT;
        loop {
            let mut again =
                Request::builder().method(head.method.clone()).uri(self.path.as_str()).body(body.clone())?;
            *again.headers_mut() = head.headers.clone();
            match TcpStream::connect((self.host.as_str(), self.port)).await {
                Ok(stream) => {
                    let answer = self.post(stream, again).await?;
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

    async fn post(&self, stream: TcpStream, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
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
