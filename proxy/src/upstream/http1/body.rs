//! Bodies of an HTTP/1 exchange, in both directions.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{buffers, incoming::Incoming, outgoing::Outgoing, switched::Switched};
use crate::{
    upstream::{
        pool::Lease,
        upload::{Sending, Upload},
    },
    wire::{
        body::BoxError,
        transport::{Reader, Writer},
    },
};

/// The body of a response over HTTP/1.1.
pub(in crate::upstream) enum Http1ResponseBody {
    /// All of it came with the head.
    Whole(Bytes),
    /// It still arrives.
    Arriving(Box<Reading>),
    /// No body: the connection itself.
    Switched(Option<Box<Switched>>),
}

impl Http1ResponseBody {
    pub(in crate::upstream) const EMPTY: Self = Self::Whole(Bytes::new());

    /// A body that goes on with the connection, or is there already. `upload`: what is not sent of the request.
    pub(super) fn new(
        mut incoming: Incoming,
        lease: Lease,
        reusable: bool,
        upload: Option<Outgoing>,
        status: StatusCode,
    ) -> Self {
        let first = incoming.next().map_err(BoxError::from).transpose();
        let connection = match upload {
            None => Connection::Leased(lease),
            Some(outgoing) => {
                let (reader, writer, permit) = lease.split();
                let permit = Arc::new(permit);
                let rest = OnConnection { outgoing, writer, _permit: permit.clone() };
                Connection::Split { reader, upload: Upload::start(rest), _permit: permit }
            }
        };
        let mut reading = Reading { incoming, first, connection: Some(connection), reusable, bulk: false, status };
        if reading.incoming.has_ended() && matches!(&reading.first, None | Some(Ok(_))) {
            reading.release();
            match reading.first.take().and_then(Result::ok).map(Frame::into_data) {
                None => return Self::EMPTY,
                Some(Ok(data)) => return Self::Whole(data),
                Some(Err(trailers)) => reading.first = Some(Ok(trailers)),
            }
        }
        Self::Arriving(Box::new(reading))
    }

    pub(super) fn switched(lease: Lease, ahead: Bytes) -> Self {
        Self::Switched(Some(Box::new(Switched::new(lease, ahead))))
    }
}

impl Body for Http1ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Arriving(reading) => reading.poll_frame(cx),
            Self::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Arriving(reading) => reading.first.is_none() && reading.incoming.has_ended(),
            Self::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving(reading) => reading.size_hint(),
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

/// A body that still arrives over HTTP/1.1.
pub(in crate::upstream) struct Reading {
    incoming: Incoming,
    /// What came with the head.
    first: Option<Result<Frame<Bytes>, BoxError>>,
    /// `None` once it has ended, or broken.
    connection: Option<Connection>,
    /// Whether the connection may carry another request after this.
    reusable: bool,
    /// Whether the last read was filled, so that more is likely to wait.
    bulk: bool,
    status: StatusCode,
}

enum Connection {
    Leased(Lease),
    /// The request is still on its way out, which goes on beside the reading.
    Split {
        reader: Reader,
        upload: Upload,
        /// The upload has the other one: the connection is in use until both are through.
        _permit: Arc<OwnedSemaphorePermit>,
    },
}

impl Reading {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            if first.is_err() {
                self.connection = None;
            }
            return Poll::Ready(Some(first));
        }
        let polled = ready!(self.poll_next(cx));
        if self.incoming.has_ended() {
            self.release();
        }
        if polled.is_err() {
            // Closed at once: nothing behind this can be told from the body.
            self.connection = None;
        }
        Poll::Ready(polled.transpose())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        loop {
            match self.incoming.next() {
                Ok(None) if !self.incoming.has_ended() => {}
                next => return Poll::Ready(next.map_err(Into::into)),
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            let at_most = if self.bulk { Some(self.incoming.worth_reading()) } else { None };
            let (bytes, filled) = ready!(connection.poll_read(at_most, cx))?;
            self.bulk = filled;
            self.incoming.read(bytes)?;
        }
    }

    fn size_hint(&self) -> SizeHint {
        let first = match &self.first {
            None => 0,
            Some(Ok(frame)) if frame.is_data() => frame.data_ref().map_or(0, Bytes::len) as u64,
            // No bytes, but not nothing: whoever took trailers for an empty body would lose them.
            Some(_) => return SizeHint::default(),
        };
        self.incoming.size_hint().exact().map_or_else(SizeHint::default, |left| SizeHint::with_exact(first + left))
    }

    /// The body has ended: what becomes of its connection.
    fn release(&mut self) {
        match self.connection.take() {
            Some(Connection::Leased(lease)) if self.reusable && !self.incoming.has_more() => {
                lease.give_back();
            }
            // An upstream that refuses needs no more of the request (RFC 9112 section 9.5); else it gets all of it.
            Some(Connection::Split { upload, .. })
                if !self.status.is_client_error() && !self.status.is_server_error() =>
            {
                upload.detach();
            }
            Some(_) | None => {}
        }
    }
}

impl Connection {
    fn poll_read(&mut self, at_most: Option<usize>, cx: &mut Context<'_>) -> Poll<std::io::Result<(Bytes, bool)>> {
        match (self, at_most) {
            (Self::Leased(lease), None) => buffers::poll_read(lease.stream(), cx),
            (Self::Leased(lease), Some(at_most)) => buffers::poll_read_bulk(lease.stream(), at_most, cx),
            (Self::Split { reader, .. }, _) => buffers::poll_read(reader, cx),
        }
    }
}

/// The rest of a request over HTTP/1.1.
struct OnConnection {
    outgoing: Outgoing,
    writer: Writer,
    /// What makes the connection count as one in use.
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Sending for OnConnection {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.outgoing.poll_send(&mut self.writer, cx).map_err(Into::into)
    }

    fn written(&self) -> u64 {
        self.outgoing.written()
    }

    /// Dropped, it would end the connection's sending side, which some servers take for a client that has left.
    fn finish(self) {
        self.writer.forget();
    }
}
