//! Heads as anybody may send them. A request that passes is framed in one way only, and its path leads to one route; a
//! response that passes states at most one length, and chunks are the same however they arrive.

#![no_main]

use bytes::Bytes;
use http::{HeaderMap, Method, header::CONTENT_LENGTH};
use libfuzzer_sys::fuzz_target;
use mainstay::{
    config::model::Match,
    listener::http1::request::{self, HeadLimits},
    router::{Router, Target},
    wire::http1::{
        chunked::{Decoded, Decoder, Malformed},
        head::{self, Refused},
        response,
    },
};
use mainstay_policies::path::{PathPattern, params};

const MAX_BYTES: usize = 4096;
const MAX_FIELDS: usize = 16;

fuzz_target!(|data: &[u8]| {
    let limits = HeadLimits { bytes: MAX_BYTES, fields: MAX_FIELDS };
    if let Ok(Some((length, head))) = response::parse(&data.to_vec().into(), false, limits) {
        assert!(length <= data.len() && head.headers.len() <= MAX_FIELDS);
        assert!(head.headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
    }
    assert_eq!(unchunked(data, data.len().max(1)), unchunked(data, 1));
    let data = without_blank_lines(data);
    let Some(length) = head::length(data) else { return };
    let request = &data[..length];
    let checked = head::check(request, MAX_BYTES, MAX_FIELDS);
    let parsed = match (request::parse(&Bytes::copy_from_slice(request), limits), checked) {
        (Ok(parsed), checked) => {
            assert_eq!(checked, Ok(parsed.framing), "what is parsed passes the check, and both see one framing");
            parsed
        }
        (Err(refused), checked) => {
            assert_eq!(refused, checked.err().unwrap_or(Refused::Malformed));
            return;
        }
    };
    assert!(length <= MAX_BYTES);
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let fields: Vec<&str> = text.split('\n').skip(1).map(|line| line.trim_end_matches('\r')).collect();
    let fields = &fields[..fields.iter().position(|line| line.is_empty()).unwrap_or(fields.len())];
    assert!(fields.len() <= MAX_FIELDS);
    let framing = fields.iter().filter(|line| {
        line.split_once(':').is_some_and(|(name, _)| {
            matches!(name.trim_end_matches([' ', '\t']), "content-length" | "transfer-encoding")
        })
    });
    assert!(framing.count() <= 1, "two framings passed: {text:?}");
    route(parsed.parts.uri.path());
});

/// Blank lines before a request line do not count.
fn without_blank_lines(mut data: &[u8]) -> &[u8] {
    while let Some(rest) = data.strip_prefix(b"\r\n").or_else(|| data.strip_prefix(b"\n")) {
        data = rest;
    }
    data
}

/// The data of a chunked body that comes in pieces of `size`, and where it ends.
fn unchunked(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Option<usize>), Malformed> {
    let (mut decoder, mut body, mut at) = (Decoder::default(), Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let end = at + piece.len();
        while at < end {
            match decoder.decode(&bytes[at..end])? {
                Decoded::Data { skip, data } => {
                    body.extend_from_slice(&bytes[at + skip..at + skip + data]);
                    at += skip + data;
                }
                Decoded::More => at = end,
                Decoded::End { used, .. } => return Ok((body, Some(at + used))),
            }
        }
    }
    Ok((body, None))
}

/// The tree, the patterns and the parameters agree about any path.
fn route(path: &str) {
    let pattern = |text: &str| text.parse::<PathPattern>().expect("a valid pattern");
    let patterns = ["/a/{x}/b", "/a/**", "/{y}", "/**"].map(pattern);
    let router = Router::new(patterns.iter().map(|path| (Match::of_path(path.clone()), path.clone())));
    let target = Target { method: &Method::GET, host: "", port: None, path, headers: &HeaderMap::new() };
    let (found, _) = router.find(target).expect("the last pattern matches everything");
    for (_, value) in params(found, path) {
        assert!(!value.contains('/') && !value.is_empty());
    }
}
