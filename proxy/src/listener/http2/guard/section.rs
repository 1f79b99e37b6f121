//! The frames of a header section: one HEADERS, and as many CONTINUATION as it needs (RFC 9113 sections 6.2 and 6.10).

use std::borrow::Cow;

/// Bytes of a frame's own head.
pub(super) const HEAD_BYTES: usize = 9;

/// The longest frame that we have said we take, which is the least that anybody takes (RFC 9113 section 4.2).
pub(super) const MAX_FRAME_BYTES: usize = 16_384;

pub(super) const HEADERS: u8 = 1;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// What the first bytes of a frame say of it.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Bytes of the frame without this head.
    pub(super) length: usize,
}

impl Head {
    /// `None` if it is not whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        Some(Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
            length: u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize,
        })
    }

    /// Appends a frame.
    pub(super) fn write(self, payload: &[u8], out: &mut impl bytes::BufMut) {
        debug_assert_eq!(self.length, payload.len());
        out.put_uint(self.length as u64, 3);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
        out.put_slice(payload);
    }
}

/// What stands at the beginning of some bytes, where a HEADERS frame begins.
pub(super) enum Found<'a> {
    /// Not all of it has come.
    Part,
    /// A frame is longer than any may be.
    TooLong,
    /// Nobody may send such frames.
    Broken,
    Whole(Section<'a>),
}

/// A whole section.
pub(super) struct Section<'a> {
    /// Bytes of all its frames.
    pub(super) bytes: usize,
    /// The fields, as HPACK.
    pub(super) block: Cow<'a, [u8]>,
    /// It depends on itself, which is an error of the stream (RFC 9113 section 5.3 and RFC 7540 section 5.3.1).
    pub(super) is_circular: bool,
}

/// The section that begins with the frame of this head. More than so many CONTINUATION frames that are not its last are too many.
pub(super) fn find(bytes: &[u8], first: Head, max_continuations: usize) -> Found<'_> {
    if first.length > MAX_FRAME_BYTES {
        return Found::TooLong;
    }
    let Some(payload) = bytes.get(HEAD_BYTES..HEAD_BYTES + first.length) else { return Found::Part };
    let Some((fragment, is_circular)) = fragment(payload, first) else { return Found::Broken };
    let mut section = Section { bytes: HEAD_BYTES + first.length, block: Cow::Borrowed(fragment), is_circular };
    if first.flags & END_HEADERS != 0 {
        return Found::Whole(section);
    }
    // Looked at before they are put together, so that one that comes in small pieces is not copied with each of them.
    let mut fragments = Vec::new();
    loop {
        let rest = &bytes[section.bytes..];
        let Some(head) = Head::read(rest) else { return Found::Part };
        if head.kind != CONTINUATION || head.stream != first.stream {
            return Found::Broken;
        }
        if head.length > MAX_FRAME_BYTES {
            return Found::TooLong;
        }
        let is_last = head.flags & END_HEADERS != 0;
        if !is_last && fragments.len() == max_continuations {
            return Found::Broken;
        }
        let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.length) else { return Found::Part };
        fragments.push(payload);
        section.bytes += HEAD_BYTES + head.length;
        if is_last {
            fragments.insert(0, fragment);
            section.block = Cow::Owned(fragments.concat());
            return Found::Whole(section);
        }
    }
}

/// The block's part in a HEADERS frame, and whether the stream depends on itself; `None` where padding or priority are not whole.
fn fragment(mut payload: &[u8], head: Head) -> Option<(&[u8], bool)> {
    let mut padding = 0;
    if head.flags & PADDED != 0 {
        let (&first, rest) = payload.split_first()?;
        (padding, payload) = (usize::from(first), rest);
    }
    let mut is_circular = false;
    if head.flags & PRIORITY != 0 {
        let (priority, rest) = payload.split_at_checked(5)?;
        let on = u32::from_be_bytes([priority[0] & 0x7f, priority[1], priority[2], priority[3]]);
        (is_circular, payload) = (on == head.stream, rest);
    }
    let length = payload.len().checked_sub(padding)?;
    Some((&payload[..length], is_circular))
}
