//! Buffers that belong to the worker and not to its connections: an idle connection holds none, and a request that goes out
//! and comes back in one piece each allocates none but what its answer keeps.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Bytes of one ordinary read: most answers fit, head and body.
const READ_BYTES: usize = 16 * 1024;

/// Bytes of one read while a body arrives faster than ordinary reads take it; they are handed on without a copy.
const BULK_READ_BYTES: usize = 64 * 1024;

/// A write buffer that has grown beyond this many bytes is not kept.
const KEPT_WRITE_BYTES: usize = 16 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
    static WRITE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer to write into; [`give_back`] it.
pub(super) fn take() -> Vec<u8> {
    WRITE.take()
}

/// Keeps a buffer for the next request of this worker. One is enough: it is away only while the kernel takes no more.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if (1..=KEPT_WRITE_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        WRITE.set(buffer);
    }
}

/// What can be read now; nothing at the end of the stream. Whether the buffer was filled tells whether more may be waiting.
pub(crate) fn poll_read<R>(reader: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<(Bytes, bool)>>
where
    R: AsyncRead + Unpin,
{
    READ.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(reader).poll_read(cx, &mut read))?;
        Poll::Ready(Ok((Bytes::copy_from_slice(read.filled()), read.remaining() == 0)))
    })
}

/// The same, up to `at_most` bytes into a buffer of their own.
pub(crate) fn poll_read_bulk<R>(reader: &mut R, at_most: usize, cx: &mut Context<'_>) -> Poll<io::Result<(Bytes, bool)>>
where
    R: AsyncRead + Unpin,
{
    let at_most = at_most.min(BULK_READ_BYTES);
    let mut buffer = BytesMut::with_capacity(at_most);
    let mut limited = (&mut buffer).limit(at_most);
    let read = ready!(pin!(reader.read_buf(&mut limited)).poll(cx))?;
    Poll::Ready(Ok((buffer.freeze(), read == at_most)))
}
