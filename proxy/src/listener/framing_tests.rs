use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 5 };

/// Where the first request of `bytes` ends when they come in parts of these lengths; `None` if it does not.
fn end_of(bytes: &[u8], parts: &[usize]) -> Result<Option<usize>, Refused> {
    let mut messages = Messages::new(LIMITS);
    let (mut at, mut parts) = (0, parts.iter().cycle());
    while at < bytes.len() {
        let length = (*parts.next().unwrap()).min(bytes.len() - at);
        at += messages.take(&bytes[at..at + length])?;
        if messages.is_whole() {
            return Ok(Some(at));
        }
        if messages.is_lost() {
            return Ok(None);
        }
    }
    Ok(None)
}

proptest! {
    #[test]
    fn a_chunked_request_ends_at_the_same_byte_however_it_is_split(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
        blank in 0_usize..3,
        extension in "(;[a-z]{1,4}(=[a-z\"]{1,4})?)?",
        trailer in "([a-z]{1,4}: [a-z]{0,6}\r\n){0,2}",
        behind in prop::collection::vec(any::<u8>(), 0..20),
        parts in prop::collection::vec(1_usize..30, 1..8),
    ) {
        let mut bytes = b"\r\n".repeat(blank);
        bytes.extend_from_slice(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
        let end = bytes.len();
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(end_of(&bytes, &parts), Ok(Some(end)));
    }

    #[test]
    fn anything_is_understood_alike_however_it_is_split(
        body in "[0-3a\r\n; x]{0,40}",
        parts in prop::collection::vec(1_usize..9, 1..8),
    ) {
        let bytes = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes();
        prop_assert_eq!(end_of(&bytes, &parts), end_of(&bytes, &[bytes.len()]));
    }
}

#[test]
fn a_body_of_known_length_ends_after_that_many_bytes() {
    let bytes = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n";
    for split in 1..bytes.len() {
        assert_eq!(end_of(bytes, &[split, bytes.len()]), Ok(Some(41)), "split at {split}");
    }
}

#[test]
fn a_bad_chunk_is_the_end_of_following() {
    for body in ["zz\r\n", "4\r\nbodyXX", "3\nabc", "1;a\nb", "ffffffffffffffff0\r\n", "0\r\n\rX"] {
        let bytes = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let mut messages = Messages::new(LIMITS);
        messages.take(bytes.as_bytes()).unwrap();
        assert!(messages.is_lost(), "{body:?}");
    }
}

#[test]
fn blank_lines_before_a_request_are_few() {
    assert_eq!(end_of(&b"\r\n".repeat(100), &[1]), Err(Refused::Malformed));
}
