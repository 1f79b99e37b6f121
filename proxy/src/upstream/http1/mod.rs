//! One attempt over HTTP/1.1: a request goes out over a connection that this future owns, and one of three facts comes back:
//! nothing was sent, something may have been sent, or a response has started.
//!
//! The kernel's count is the evidence. As long as it has taken no byte the request was not sent, whatever happens to the
//! connection; from the first byte on it may have been. Nothing is read before that byte, so that what a server says unasked is
//! never taken for an answer.

pub(crate) mod body;
pub(crate) mod buffers;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(super) mod switched;

use std::{
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode, header::UPGRADE};
use hyper::ext::ReasonPhrase;
use mainstay_policies::evidence::{AttemptError, Cause, Sent};

use self::{
    body::Http1ResponseBody,
    incoming::Incoming,
    outgoing::{Outgoing, Stuck},
};
use super::{
    Progress,
    handshake::refused_late,
    head::RequestHead,
    informed::{Informed, MAX_INTERIM},
    pool::{AGED_CONNECTIONS, Lease, Pool},
};
use crate::wire::{
    body::ProxyBody,
    http1::{
        HeadLimits, head,
        response::{self, Head},
    },
};

/// Sends over HTTP/1.1.
pub(super) async fn send(
    pool: &Arc<Pool>,
    head: RequestHead<'_>,
    body: ProxyBody,
    progress: &Progress,
    informed: Informed<'_>,
) -> Result<Response<Http1ResponseBody>, AttemptError> {
    let form = AnswerForm { to_head: head.method == Method::HEAD, limits: pool.head_limits() };
    let mut outgoing = Outgoing::new(head, body, pool.authority());
    let mut aged = 0;
    loop {
        let lease = { pin!(pool.lease(aged >= AGED_CONNECTIONS)).await? };
        progress.meet(|| lease.peer());
        let reused = lease.is_reused();
        let mut exchange = Exchange::new(lease, outgoing, progress, form);
        let failed = match std::future::poll_fn(|cx| exchange.poll(informed, cx)).await {
            // Nobody asked: a tunnel would pass by every rule of this proxy, and what comes behind is no HTTP.
            Ok((answer, _))
                if answer.status == StatusCode::SWITCHING_PROTOCOLS && !head.headers.contains_key(UPGRADE) =>
            {
                Failed::Switched
            }
            Ok((head, ahead)) => return Ok(exchange.answer(head, ahead)),
            Err(failed) => failed,
        };
        let refusal = if reused { None } else { exchange.refusal(&failed) };
        if let Some(refusal) = refusal {
            progress.set(false);
            return Err(refusal);
        }
        outgoing = exchange.outgoing;
        if outgoing.has_begun() || matches!(failed, Failed::Body(_) | Failed::Withdrawn) {
            return Err(failed.into_error(&outgoing));
        }
        // The peer closed the idle connection before anything was written: proven unsent, so another one takes the request.
        if !reused {
            return Err(AttemptError::new(Cause::Refused, Sent::No).with_source(failed));
        }
        aged += 1;
    }
}

/// A request and its response's head, on one connection.
struct Exchange<'a> {
    lease: Lease,
    outgoing: Outgoing,
    progress: &'a Progress,
    form: AnswerForm,
    /// The beginning of a head whose end has not come.
    partial: BytesMut,
    /// So many bytes of it hold no end of a head.
    searched: usize,
    interim: usize,
    /// Why the rest of the request cannot be sent. A server may answer and close before it has read all, so its answer is
    /// still worth reading.
    write_error: Option<io::Error>,
}

/// What the head of an answer may be.
#[derive(Clone, Copy)]
struct AnswerForm {
    /// It answers a HEAD request.
    to_head: bool,
    limits: HeadLimits,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("it may not be sent any more")]
    Withdrawn,
    #[error("the connection failed before a response")]
    Connection(#[source] io::Error),
    #[error("the connection was closed before a response")]
    Closed,
    #[error("{reason}")]
    Malformed {
        reason: response::Malformed,
        /// What its status line says.
        status: Option<StatusCode>,
    },
    #[error("there is no end of interim responses")]
    Interim,
    #[error("the protocol was changed unasked")]
    Switched,
    #[error(transparent)]
    Body(Stuck),
}

impl Failed {
    fn into_error(self, outgoing: &Outgoing) -> AttemptError {
        let (cause, status) = match self {
            Self::Malformed { status, .. } => (Cause::Malformed, status),
            Self::Withdrawn if !outgoing.has_begun() => (Cause::Refused, None),
            Self::Interim | Self::Switched => (Cause::Malformed, None),
            Self::Withdrawn | Self::Connection(_) | Self::Closed | Self::Body(_) => (Cause::Reset, None),
        };
        let sent = if outgoing.has_begun() { Sent::Maybe } else { Sent::No };
        let error = AttemptError::new(cause, sent).with_status(status);
        let error = if matches!(self, Self::Closed) { error.named("eof") } else { error };
        error.with_source(self)
    }
}

impl<'a> Exchange<'a> {
    fn new(lease: Lease, outgoing: Outgoing, progress: &'a Progress, form: AnswerForm) -> Self {
        let (partial, searched, interim) = (BytesMut::new(), 0, 0);
        Self { lease, outgoing, progress, form, partial, searched, interim, write_error: None }
    }

    /// Writes and reads until the head of the final response is there, with the bytes that came behind it.
    fn poll(&mut self, informed: Informed<'_>, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), Failed>> {
        loop {
            self.poll_send(cx)?;
            if !self.outgoing.has_begun() {
                return Poll::Pending;
            }
            let (head, ahead) = ready!(self.poll_head(cx))?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok((head, ahead)));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(Failed::Interim));
            }
            informed.hear(head.status, head.version, head.headers);
            self.partial.extend_from_slice(&ahead);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Failed> {
        if self.write_error.is_some() {
            return Ok(());
        }
        // Before the first byte, and before every one that follows: a process may stand still in the midst of a body, too.
        if !self.outgoing.is_out() && !self.progress.may_go_on() {
            return Err(Failed::Withdrawn);
        }
        let polled = self.outgoing.poll_send(self.lease.stream(), cx);
        if self.outgoing.has_begun() {
            self.progress.set(true);
        }
        match polled {
            Poll::Ready(Err(Stuck::Connection(error))) if self.outgoing.has_begun() => self.write_error = Some(error),
            Poll::Ready(Err(Stuck::Connection(error))) => return Err(Failed::Connection(error)),
            Poll::Ready(Err(stuck)) => return Err(Failed::Body(stuck)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Head, Bytes), Failed>> {
        loop {
            if !self.partial.is_empty() {
                let complete = head::length(&self.partial[self.searched..]).is_some();
                if complete || self.partial.len() > self.form.limits.bytes {
                    self.searched = 0;
                    let bytes = self.partial.split().freeze();
                    let parsed = parse(&bytes, self.form)?;
                    return Poll::Ready(parsed.ok_or_else(|| malformed(&bytes, response::Malformed::Syntax)));
                }
                // The blank line may have begun in the last three bytes.
                self.searched = self.partial.len().saturating_sub(3);
            }
            let bytes = match ready!(buffers::poll_read(self.lease.stream(), cx)) {
                Ok((bytes, _)) if bytes.is_empty() => return Poll::Ready(Err(self.ended(None))),
                Ok((bytes, _)) => bytes,
                Err(error) => return Poll::Ready(Err(self.ended(Some(error)))),
            };
            // In most cases it is all of the head, and then it is not copied again.
            if self.partial.is_empty()
                && let Some(parsed) = parse(&bytes, self.form)?
            {
                return Poll::Ready(Ok(parsed));
            }
            self.partial.extend_from_slice(&bytes);
        }
    }

    /// The peer's word that it does not take our certificate, where it has said nothing before.
    fn refusal(&self, failed: &Failed) -> Option<AttemptError> {
        let Failed::Connection(error) = failed else { return None };
        if self.interim == 0 && self.partial.is_empty() { refused_late(error) } else { None }
    }

    /// The connection ended before a response: because of what `error` says, or of what kept the request from being sent.
    fn ended(&mut self, error: Option<io::Error>) -> Failed {
        match error {
            // What the peer says itself counts more than that it takes nothing any more.
            Some(error) if refused_late(&error).is_some() => return Failed::Connection(error),
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.write_error.is_none() => {
                return Failed::Closed;
            }
            _ => {}
        }
        self.write_error.take().or(error).map_or(Failed::Closed, Failed::Connection)
    }

    /// The response, whose body goes on with the connection.
    fn answer(self, head: Head, ahead: Bytes) -> Response<Http1ResponseBody> {
        let Self { lease, outgoing, write_error, .. } = self;
        let mut response = Response::new(Http1ResponseBody::EMPTY);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        *response.headers_mut() = head.headers;
        if let Some(reason) = head.reason
            && let Ok(reason) = ReasonPhrase::try_from(reason)
        {
            response.extensions_mut().insert(reason);
        }
        let upload = (!outgoing.is_out() && write_error.is_none()).then_some(outgoing);
        *response.body_mut() = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            Http1ResponseBody::switched(lease, ahead)
        } else {
            let reusable = head.keep_alive && upload.is_none() && write_error.is_none();
            let incoming = Incoming::new(head.framing, response.headers(), ahead);
            Http1ResponseBody::new(incoming, lease, reusable, upload, head.status)
        };
        response
    }
}

fn parse(bytes: &Bytes, form: AnswerForm) -> Result<Option<(Head, Bytes)>, Failed> {
    let parsed = response::parse(bytes, form.to_head, form.limits).map_err(|reason| malformed(bytes, reason))?;
    Ok(parsed.map(|(length, head)| (head, bytes.slice(length..))))
}

fn malformed(bytes: &[u8], reason: response::Malformed) -> Failed {
    Failed::Malformed { reason, status: response::status(bytes) }
}

#[cfg(test)]
mod tests;
