//! Buffers that the connections of one worker lend each other: who waits needs none, and those in use stay warm. They belong to
//! the worker's thread, so that no lock stands before them.

use std::cell::RefCell;

use bytes::BytesMut;

/// A buffer for reading: most requests fit.
pub(super) const READ_BYTES: usize = 4 * 1024;

/// A buffer for writing: most heads with a small body fit.
const WRITE_BYTES: usize = 4 * 1024;

/// One that has grown beyond this is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// How many of each kind are kept.
const KEPT: usize = 256;

thread_local! {
    static READING: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static WRITING: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer to read into.
pub(super) fn take_reading() -> BytesMut {
    READING.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
}

/// An empty buffer to write from.
pub(super) fn take_writing() -> Vec<u8> {
    WRITING.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(WRITE_BYTES))
}

/// Takes back an empty buffer that nothing is read into for now.
pub(super) fn put_reading(buffer: &mut BytesMut) {
    debug_assert!(buffer.is_empty());
    let buffer = std::mem::take(buffer);
    READING.with_borrow_mut(|kept| {
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && kept.len() < KEPT {
            kept.push(buffer);
        }
    });
}

/// Takes back a buffer whose bytes have been written.
pub(super) fn put_writing(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    WRITING.with_borrow_mut(|kept| {
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && kept.len() < KEPT {
            buffer.clear();
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again() {
        let mut buffer = take_writing();
        buffer.extend_from_slice(b"x");
        let at = buffer.as_ptr();
        put_writing(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let again = take_writing();
        assert!(again.is_empty() && again.as_ptr() == at);
    }

    #[test]
    fn large_ones_and_many_are_not_kept() {
        put_writing(&mut Vec::with_capacity(KEPT_BYTES + 1));
        for _ in 0..2 * KEPT {
            put_reading(&mut BytesMut::with_capacity(READ_BYTES));
        }
        assert_eq!((WRITING.with_borrow(Vec::len), READING.with_borrow(Vec::len)), (0, KEPT));
    }
}
