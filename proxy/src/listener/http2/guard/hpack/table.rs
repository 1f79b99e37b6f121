//! The tables of HPACK: the static one (RFC 7541 appendix A), and behind it the connection's own (section 2.3).

use std::collections::VecDeque;

use super::{
    Broken,
    field::{Field, Kind},
};

/// What a table may hold until we say otherwise, which we do not (RFC 9113 section 6.5.2).
pub(super) const MAX_BYTES: usize = 4096;

/// What each entry counts besides its octets (RFC 7541 section 4.1).
pub(in super::super) const ENTRY_BYTES: usize = 32;

/// A field that was sent once and can be named by a number since.
pub(super) struct Entry {
    kind: Kind,
    name_bytes: usize,
    /// The name, and at once behind it the value.
    text: Box<[u8]>,
}

impl Entry {
    pub(super) fn new(field: &Field<'_>) -> Self {
        Self { kind: field.kind, name_bytes: field.name.len(), text: [field.name, field.value].concat().into() }
    }

    fn bytes(&self) -> usize {
        self.text.len() + ENTRY_BYTES
    }

    fn name(&self) -> &[u8] {
        &self.text[..self.name_bytes]
    }
}

/// Both tables, which share one run of numbers.
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, max_bytes: MAX_BYTES }
    }
}

impl Table {
    /// The field that a number stands for.
    pub(super) fn field(&self, number: usize) -> Result<Field<'_>, Broken> {
        if let Some(&(kind, name, value)) = STATIC.get(number) {
            // Number 0 stands for nothing.
            return if number == 0 { Err(Broken) } else { Ok(Field { kind, name, value }) };
        }
        let entry = self.entries.get(number - STATIC.len()).ok_or(Broken)?;
        Ok(Field { kind: entry.kind, name: entry.name(), value: &entry.text[entry.name_bytes..] })
    }

    /// The name of the field that a number stands for, and of which kind fields of this name are.
    pub(super) fn name(&self, number: usize) -> Result<(Kind, &[u8]), Broken> {
        let field = self.field(number)?;
        // What the connection sent may be malformed for its value alone.
        let kind = if number < STATIC.len() { field.kind } else { Kind::of(field.name) };
        Ok((kind, field.name))
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let bytes = entry.bytes();
        self.make_room(bytes);
        // One that is larger than the table empties it (RFC 7541 section 4.4).
        if bytes <= self.max_bytes {
            self.bytes += bytes;
            self.entries.push_front(entry);
        }
    }

    /// Bounds the table, as its peer says.
    pub(super) fn resize(&mut self, max_bytes: usize) -> Result<(), Broken> {
        if max_bytes > MAX_BYTES {
            return Err(Broken);
        }
        self.max_bytes = max_bytes;
        self.make_room(0);
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.max_bytes
            && let Some(oldest) = self.entries.pop_back()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

#[rustfmt::skip]
static STATIC: [(Kind, &[u8], &[u8]); 62] = {
    use Kind::{Authority, ContentType, Malformed, Method, Path, Regular, Scheme};
    [
        (Malformed, b"", b""),
        (Authority, b":authority", b""),
        (Method, b":method", b"GET"),
        (Method, b":method", b"POST"),
        (Path, b":path", b"/"),
        (Path, b":path", b"/index.html"),
        (Scheme, b":scheme", b"http"),
        (Scheme, b":scheme", b"https"),
        (Malformed, b":status", b"200"),
        (Malformed, b":status", b"204"),
        (Malformed, b":status", b"206"),
        (Malformed, b":status", b"304"),
        (Malformed, b":status", b"400"),
        (Malformed, b":status", b"404"),
        (Malformed, b":status", b"500"),
        (Regular, b"accept-charset", b""),
        (Regular, b"accept-encoding", b"gzip, deflate"),
        (Regular, b"accept-language", b""),
        (Regular, b"accept-ranges", b""),
        (Regular, b"accept", b""),
        (Regular, b"access-control-allow-origin", b""),
        (Regular, b"age", b""),
        (Regular, b"allow", b""),
        (Regular, b"authorization", b""),
        (Regular, b"cache-control", b""),
        (Regular, b"content-disposition", b""),
        (Regular, b"content-encoding", b""),
        (Regular, b"content-language", b""),
        (Regular, b"content-length", b""),
        (Regular, b"content-location", b""),
        (Regular, b"content-range", b""),
        (ContentType, b"content-type", b""),
        (Regular, b"cookie", b""),
        (Regular, b"date", b""),
        (Regular, b"etag", b""),
        (Regular, b"expect", b""),
        (Regular, b"expires", b""),
        (Regular, b"from", b""),
        (Regular, b"host", b""),
        (Regular, b"if-match", b""),
        (Regular, b"if-modified-since", b""),
        (Regular, b"if-none-match", b""),
        (Regular, b"if-range", b""),
        (Regular, b"if-unmodified-since", b""),
        (Regular, b"last-modified", b""),
        (Regular, b"link", b""),
        (Regular, b"location", b""),
        (Regular, b"max-forwards", b""),
        (Regular, b"proxy-authenticate", b""),
        (Regular, b"proxy-authorization", b""),
        (Regular, b"range", b""),
        (Regular, b"referer", b""),
        (Regular, b"refresh", b""),
        (Regular, b"retry-after", b""),
        (Regular, b"server", b""),
        (Regular, b"set-cookie", b""),
        (Regular, b"strict-transport-security", b""),
        (Malformed, b"transfer-encoding", b""),
        (Regular, b"user-agent", b""),
        (Regular, b"vary", b""),
        (Regular, b"via", b""),
        (Regular, b"www-authenticate", b""),
    ]
};
