//! Buffers that the connections of one worker lend each other: who waits needs none, and those in use stay warm.

use bytes::BytesMut;
use parking_lot::Mutex;

/// A buffer for reading: most requests fit.
pub(super) const READ_BYTES: usize = 4 * 1024;

/// A buffer for writing: most heads with a small body fit.
const WRITE_BYTES: usize = 4 * 1024;

/// One that has grown beyond this is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// How many of each kind are kept.
const KEPT: usize = 256;

/// The spare buffers of one worker.
#[derive(Default)]
pub(super) struct Buffers {
    reading: Mutex<Vec<BytesMut>>,
    writing: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer to read into.
    pub(super) fn take_reading(&self) -> BytesMut {
        self.reading.lock().pop().unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
    }

    /// An empty buffer to write from.
    pub(super) fn take_writing(&self) -> Vec<u8> {
        self.writing.lock().pop().unwrap_or_else(|| Vec::with_capacity(WRITE_BYTES))
    }

    /// Takes back an empty buffer that nothing is read into for now.
    pub(super) fn put_reading(&self, buffer: &mut BytesMut) {
        debug_assert!(buffer.is_empty());
        let buffer = std::mem::take(buffer);
        let mut kept = self.reading.lock();
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && kept.len() < KEPT {
            kept.push(buffer);
        }
    }

    /// Takes back a buffer whose bytes have been written.
    pub(super) fn put_writing(&self, buffer: &mut Vec<u8>) {
        let mut buffer = std::mem::take(buffer);
        let mut kept = self.writing.lock();
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && kept.len() < KEPT {
            buffer.clear();
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take_writing();
        buffer.extend_from_slice(b"x");
        let at = buffer.as_ptr();
        buffers.put_writing(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = buffers.take_writing();
        assert!(again.is_empty() && again.as_ptr() == at);
    }

    #[test]
    fn large_ones_and_many_are_not_kept() {
        let buffers = Buffers::default();
        buffers.put_writing(&mut Vec::with_capacity(KEPT_BYTES + 1));
        for _ in 0..2 * KEPT {
            buffers.put_reading(&mut BytesMut::with_capacity(READ_BYTES));
        }
        assert_eq!((buffers.writing.lock().len(), buffers.reading.lock().len()), (0, KEPT));
    }
}
