//! A request as the stack gets it, whichever HTTP it came by.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::{
    ending::Ending,
    http1::{reader::Http1Body, upgrade::Upgrade},
    phase::Connection,
};
use crate::{
    config::model::Limits,
    wire::{
        body::{BoxError, ProxyBody},
        http1::head::Refused,
        http2::Http2Body,
        interim::Interim,
    },
};

/// Whoever answers requests.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Answers one request. Never fails: every error is an answer.
    fn serve(
        self: &Arc<Self>,
        request: ClientRequest,
        extras: ClientExtras,
    ) -> impl Future<Output = Response<ProxyBody>> + Send;
}

/// A request off its client's connection. The head goes through many hands, so it is boxed: none of them moves it.
pub(crate) struct ClientRequest {
    pub(crate) parts: Box<Parts>,
    pub(crate) body: ClientIncoming,
}

/// What a connection can do for a request besides carrying its answer.
#[derive(Default)]
pub(crate) struct ClientExtras {
    /// Takes interim responses; `None` for a client of HTTP/1.0, which knows none.
    pub(crate) interim: Option<Interim>,
    /// The connection itself, once the answer has been `101 Switching Protocols`. There only if the client asked.
    pub(crate) upgrade: Option<Upgrade>,
}

/// A request's body off its client's connection.
pub(crate) enum ClientIncoming {
    /// There is none.
    Empty,
    Http1(Http1Body),
    Http2(Box<Http2Body>),
}

impl Body for ClientIncoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// What a connection needs to serve.
pub(crate) struct Serving<S> {
    pub(crate) service: Arc<S>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) limits: Limits,
    pub(crate) last_word: LastWord<S>,
    pub(crate) draining: watch::Receiver<Ending>,
    /// It was agreed on by ALPN.
    pub(crate) speaks_http2: bool,
    /// What the client showed for itself is valid no longer than this, or the connection grows no older.
    pub(crate) valid_for: Option<Duration>,
}

/// Makes the answer to a head that was refused before there was a request, of which these fields are known.
pub(crate) type LastWord<S> = fn(&Arc<S>, Refused, &HeaderMap) -> Response<ProxyBody>;
