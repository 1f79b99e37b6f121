//! A peer that encodes as it likes, and `h2` with the guard before it.

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{
    Guard, PREFACE_BYTES,
    hpack::huffman,
    section::{CONTINUATION, END_HEADERS, HEADERS, Head},
};

/// The path of a connection's last request.
pub(super) const END: &str = "/end";

pub(super) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

pub(super) fn fields(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// A frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Head { kind, flags, stream, length: payload.len() }.write(payload, &mut out);
    out
}

/// A client with an encoder that takes every way there is.
pub(super) struct Peer {
    pub(super) random: fastrand::Rng,
    /// What has been said so that it can be named by a number, the newest first.
    table: Vec<(Vec<u8>, Vec<u8>)>,
    max_bytes: usize,
}

impl Peer {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), table: Vec::new(), max_bytes: 4096 }
    }

    /// The frames of a section.
    pub(super) fn section(&mut self, flags: u8, stream: u32, fields: &Fields, circular: bool) -> Vec<u8> {
        let block = self.block(fields);
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = &block[..];
        // Never so many that they are too many.
        while rest.len() > 16_000 || (block.len() < 16_000 && pieces.len() < 4 && self.random.u8(..3) == 0) {
            let bytes = if rest.len() > 16_000 { 16_000 } else { self.random.usize(..=rest.len()) };
            let (piece, behind) = rest.split_at(bytes);
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        let last = pieces.len() - 1;
        let mut out = Vec::new();
        for (nth, piece) in pieces.into_iter().enumerate() {
            let end = if nth == last { END_HEADERS } else { 0 };
            if nth > 0 {
                out.extend(frame(CONTINUATION, end, stream, piece));
                continue;
            }
            let (mut flags, mut payload, mut behind) = (flags | end, Vec::new(), Vec::new());
            if self.random.bool() {
                flags |= 0x8;
                behind = vec![0; self.random.usize(..20)];
                payload.push(behind.len() as u8);
            }
            if circular || self.random.bool() {
                flags |= 0x20;
                let on = if circular { stream } else { 0 };
                payload.extend([&on.to_be_bytes()[..], &[7]].concat());
            }
            out.extend(frame(HEADERS, flags, stream, &[&payload, piece, &behind].concat()));
        }
        out
    }

    fn block(&mut self, fields: &Fields) -> Vec<u8> {
        let mut block = Vec::new();
        if self.random.u8(..8) == 0 {
            for bytes in [self.random.usize(..=4096), 4096] {
                self.max_bytes = bytes;
                self.make_room(0);
                number(&mut block, 0x20, 5, bytes);
            }
        }
        for (name, value) in fields {
            let known = self.table.iter().position(|entry| entry.0 == *name && entry.1 == *value);
            if let Some(at) = known
                && self.random.u8(..4) > 0
            {
                number(&mut block, 0x80, 7, at + 62);
                continue;
            }
            let (first, prefix_bits) = [(0x40, 6), (0, 4), (0x10, 4)][self.random.usize(..3)];
            let named = self.table.iter().position(|entry| entry.0 == *name).map(|at| at + 62);
            let of_all = [(":authority", 1), (":method", 2), (":path", 4), (":scheme", 6), ("content-type", 31)];
            let named = named.or_else(|| of_all.iter().find(|row| row.0.as_bytes() == name).map(|row| row.1));
            if let Some(at) = named.filter(|_| self.random.bool()) {
                number(&mut block, first, prefix_bits, at);
            } else {
                number(&mut block, first, prefix_bits, 0);
                self.text(&mut block, name);
            }
            self.text(&mut block, value);
            if first == 0x40 {
                let bytes = name.len() + value.len() + 32;
                self.make_room(bytes);
                if bytes <= self.max_bytes {
                    self.table.insert(0, (name.clone(), value.clone()));
                }
            }
        }
        block
    }

    fn make_room(&mut self, bytes: usize) {
        let held = |table: &[(Vec<u8>, Vec<u8>)]| -> usize { table.iter().map(|(n, v)| n.len() + v.len() + 32).sum() };
        while !self.table.is_empty() && held(&self.table) + bytes > self.max_bytes {
            self.table.pop();
        }
    }

    fn text(&mut self, block: &mut Vec<u8>, text: &[u8]) {
        let coded = huffman::encode(text);
        let (first, bytes) = if self.random.bool() { (0x80, &coded[..]) } else { (0, text) };
        number(block, first, 7, bytes.len());
        block.extend(bytes);
    }
}

fn number(block: &mut Vec<u8>, first: u8, prefix_bits: u32, mut number: usize) {
    let most = (1 << prefix_bits) - 1;
    if number < most {
        block.push(first | number as u8);
        return;
    }
    block.push(first | most as u8);
    number -= most;
    while number >= 0x80 {
        block.push(number as u8 | 0x80);
        number >>= 7;
    }
    block.push(number as u8);
}

/// What comes out of a guard for `bytes`, the preface aside, if they come in pieces of random size.
pub(super) fn guarded(guard: &mut Guard, bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    assert_eq!(guard.look(&[0; PREFACE_BYTES]), PREFACE_BYTES);
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let longest = rest.len().min([3, 40, 20_000][random.usize(..3)]);
        let (piece, behind) = rest.split_at(random.usize(1..=longest));
        rest = behind;
        let passed = guard.look(piece);
        out.extend(&piece[..passed]);
        let mut room = vec![0; random.usize(1..500)];
        loop {
            let mut room = ReadBuf::new(&mut room);
            if !guard.give(&mut room) {
                break;
            }
            out.extend(room.filled());
        }
    }
    out
}

/// What a server made of some bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Served {
    /// Streams with their request: method, target and fields, then trailers or how the body ended.
    pub(super) requests: Vec<(u32, String)>,
    /// Streams that it reset, and by which code.
    pub(super) resets: BTreeMap<u32, u32>,
    /// It ended the connection by this code.
    pub(super) goaway: Option<u32>,
}

/// Has `h2` read `bytes`, behind a preface and settings, up to the request for [`END`].
pub(super) async fn served(bytes: &[u8], list_bytes: usize) -> Served {
    let (mut client, ours) = tokio::io::duplex(16 << 20);
    let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat();
    client.write_all(&begin).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(u32::try_from(list_bytes).unwrap());
    let mut connection = builder.handshake::<_, Bytes>(ours).await.unwrap();
    let mut accepted: Vec<(Request<RecvStream>, SendResponse<Bytes>)> = Vec::new();
    while let Some(Ok(stream)) = connection.accept().await {
        if stream.0.uri().path() == END {
            break;
        }
        accepted.push(stream);
    }
    let mut served = Served::default();
    for (request, respond) in &mut accepted {
        let mut text = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        let body = request.body_mut();
        let mut over = false;
        while let Some(data) = body.data().await {
            over = data.is_err();
            if over {
                break;
            }
        }
        if over {
            text.push_str(" broken off");
        } else if let Ok(Some(trailers)) = body.trailers().await {
            let _ = write!(text, " {trailers:?}");
        }
        served.requests.push((respond.stream_id().as_u32(), text));
    }
    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
    while let Some(Ok(_)) = connection.accept().await {}
    drop((accepted, connection));
    let mut answered = Vec::new();
    client.read_to_end(&mut answered).await.unwrap();
    let mut rest = &answered[..];
    while let Some(head) = Head::read(rest) {
        let payload = &rest[9..9 + head.length];
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head.kind {
            3 => drop(served.resets.insert(head.stream, code(0))),
            7 if code(4) != 0 => served.goaway = Some(code(4)),
            _ => {}
        }
        rest = &rest[9 + head.length..];
    }
    served
}
