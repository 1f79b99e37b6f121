//! What a body says, whatever it was sent as: decoded (RFC 9110 section 8.4.1) and without its byte order mark.
//!
//! A key that is made of a body must be made of all bodies that say the same, or refused: a body that is not looked into would pass
//! without protection, and nobody would know.

use std::io::Read;

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_ENCODING};

/// Bytes of the window that a zstd frame may ask for (RFC 9659); what decoding it costs before a byte is there.
const MAX_ZSTD_WINDOW: u64 = 8 << 20;
/// Codings that one body may have, one about another. One is usual; each is work that the sender did not have.
const MAX_CODINGS: usize = 3;

/// Why nothing can be said of a body. Each text goes on from "in this request that".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A coding that is not known here.
    #[error("is in a body with a Content-Encoding that is not understood: send gzip, br, zstd or none")]
    Coding,
    /// The body is not what its coding says.
    #[error("is in a body that is not what its Content-Encoding says")]
    Damaged,
    /// Decoded, it is larger than a body may be.
    #[error("is in a body that is too large when it is decoded")]
    TooLarge,
    /// It is in another form of Unicode.
    #[error("is in a body that is not UTF-8")]
    Charset,
}

/// The body's content, at most `max` bytes of it.
pub(super) fn plain(headers: &HeaderMap, body: &Bytes, max: usize) -> Result<Bytes, Unreadable> {
    let mut body = body.clone();
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        codings.extend(value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    }
    codings.retain(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if codings.len() > MAX_CODINGS {
        return Err(Unreadable::Coding);
    }
    // They are listed in the order in which they were applied.
    for coding in codings.into_iter().rev() {
        body = decoded(coding, &body, max)?;
    }
    if body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") {
        return Err(Unreadable::Charset);
    }
    Ok(body)
}

fn decoded(coding: &[u8], body: &[u8], max: usize) -> Result<Bytes, Unreadable> {
    match coding.to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => read(flate2::bufread::MultiGzDecoder::new(body), max),
        b"deflate" => read(flate2::bufread::ZlibDecoder::new(body), max),
        b"br" => read(brotli_decompressor::Decompressor::new(body, 4096), max),
        b"zstd" => {
            if zstd_window(body).is_none_or(|window| window > MAX_ZSTD_WINDOW) {
                return Err(Unreadable::Damaged);
            }
            let mut rest = body;
            let frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|_| Unreadable::Damaged)?;
            let content = read(frame, max)?;
            // A second frame would be read by some and not by others.
            if rest.is_empty() { Ok(content) } else { Err(Unreadable::Damaged) }
        }
        _ => Err(Unreadable::Coding),
    }
}

fn read(decoder: impl Read, max: usize) -> Result<Bytes, Unreadable> {
    let mut content = Vec::new();
    decoder.take(max as u64 + 1).read_to_end(&mut content).map_err(|_| Unreadable::Damaged)?;
    if content.len() > max { Err(Unreadable::TooLarge) } else { Ok(content.into()) }
}

/// The window of a zstd frame, in bytes (RFC 8878 section 3.1.1.1); `None` if it is no frame. A frame without a window of its own is
/// as large as its content, and that is bounded.
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let frame = frame.strip_prefix(b"\x28\xb5\x2f\xfd")?;
    let (descriptor, rest) = frame.split_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    if is_single_segment {
        let bytes = match (descriptor >> 6, rest) {
            (0, [size, ..]) => u64::from(*size),
            (1, rest) => u64::from(u16::from_le_bytes(*rest.first_chunk()?)) + 256,
            (2, rest) => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
            (3, rest) => u64::from_le_bytes(*rest.first_chunk()?),
            _ => return None,
        };
        return Some(bytes);
    }
    let window = rest.first()?;
    let base = 1u64 << (10 + u32::from(window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &[u8] = br#"{"id":"a-7"}"#;
    /// `TEXT` by the reference implementations: `brotli -c`, `zstd -c`.
    const BROTLI: &[u8] = b"\x8b\x05\x80{\"id\":\"a-7\"}\x03";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x61\x00\x00{\"id\":\"a-7\"}\x00\x6b\x47\xc3";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(codings: &[&str], body: &[u8], max: usize, expected: Result<&[u8], Unreadable>) {
        let headers = codings.iter().map(|coding| (CONTENT_ENCODING, coding.parse().unwrap())).collect();
        let content = plain(&headers, &Bytes::copy_from_slice(body), max);
        assert_eq!(content.as_deref().map_err(|error| *error), expected, "{codings:?}");
    }

    #[test]
    fn every_usual_coding_is_decoded() {
        check(&[], TEXT, 100, Ok(TEXT));
        check(&["identity"], TEXT, 100, Ok(TEXT));
        check(&["GZip"], &gzip(TEXT), 100, Ok(TEXT));
        check(&["x-gzip"], &gzip(TEXT), 100, Ok(TEXT));
        check(&["br"], BROTLI, 100, Ok(TEXT));
        check(&["zstd"], ZSTD, 100, Ok(TEXT));
        check(&["gzip, gzip"], &gzip(&gzip(TEXT)), 100, Ok(TEXT));
        check(&["gzip", "identity"], &gzip(TEXT), 100, Ok(TEXT));
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_and_not_passed_over() {
        check(&["compress"], TEXT, 100, Err(Unreadable::Coding));
        check(&["gzip, gzip, gzip, gzip"], TEXT, 100, Err(Unreadable::Coding));
        for coding in ["gzip", "deflate", "br", "zstd"] {
            check(&[coding], b"\0nonsense that no coding makes", 100, Err(Unreadable::Damaged));
        }
        check(&["gzip"], &gzip(TEXT)[..15], 100, Err(Unreadable::Damaged));
        check(&["zstd"], &[ZSTD, ZSTD].concat(), 100, Err(Unreadable::Damaged));
        check(&[], b"\xff\xfe{\0}\0", 100, Err(Unreadable::Charset));
    }

    #[test]
    fn a_little_that_becomes_much_is_refused_before_it_is_there() {
        let bomb = gzip(&vec![b' '; 1 << 20]);
        check(&["gzip"], &bomb, 1000, Err(Unreadable::TooLarge));
        // A window of 2 GiB, for no content at all.
        check(&["zstd"], b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 1000, Err(Unreadable::Damaged));
    }
}
