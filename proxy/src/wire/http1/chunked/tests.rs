use proptest::prelude::*;

use super::*;

/// What a body decodes to, fed in pieces of `sizes`, over and over.
fn decode(bytes: &[u8], sizes: &[usize]) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Malformed> {
    let mut decoder = Decoder::default();
    let (mut body, mut used, mut sizes) = (Vec::new(), 0, sizes.iter().cycle());
    let mut seen = 0;
    while seen < bytes.len() {
        seen = (seen + sizes.next().expect("never empty").max(&1)).min(bytes.len());
        while used < seen {
            match decoder.decode(&bytes[used..seen])? {
                Decoded::Data { skip, data } => {
                    assert!(data > 0, "an empty piece");
                    body.extend_from_slice(&bytes[used + skip..used + skip + data]);
                    used += skip + data;
                }
                Decoded::More => used = seen,
                Decoded::End { used: last, trailers } => {
                    assert!(decoder.has_ended());
                    return Ok((body, trailers, used + last));
                }
            }
        }
    }
    Err(Malformed::Byte)
}

#[track_caller]
fn check(bytes: &str, expected: Result<&str, Malformed>) {
    for sizes in [vec![usize::MAX / 2], vec![1], vec![3, 2]] {
        let decoded = decode(bytes.as_bytes(), &sizes).map(|(body, _, _)| String::from_utf8(body).unwrap());
        assert_eq!(decoded.as_deref().map_err(|error| *error), expected, "{bytes:?} in pieces of {sizes:?}");
    }
}

#[test]
fn chunks_are_joined() {
    check("5\r\nhello\r\n0\r\n\r\n", Ok("hello"));
    check("1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n", Ok("a0123456789"));
    check("0\r\n\r\n", Ok(""));
}

#[test]
fn extensions_are_skipped() {
    check("5;name=value\r\nhello\r\n0;last\r\n\r\n", Ok("hello"));
    check("5 \t;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", Ok("hello"));
}

#[test]
fn what_follows_the_body_is_not_touched() {
    let (body, trailers, used) = decode(b"1\r\na\r\n0\r\n\r\nHTTP/1.1", &[usize::MAX / 2]).unwrap();
    assert_eq!((&body[..], trailers, used), (&b"a"[..], None, 11));
}

#[test]
fn trailers_are_read() {
    for sizes in [[usize::MAX / 2], [1]] {
        let (_, trailers, _) = decode(b"1\r\na\r\n0\r\nX-Sum: 7\r\nX-Sum:8\r\nB: \r\n\r\n", &sizes).unwrap();
        let trailers = trailers.unwrap();
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!(trailers["b"], "");
    }
}

#[test]
fn anything_else_is_refused() {
    for bytes in [
        "\r\n0\r\n\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\na",
        "0x1\r\na",
        " 1\r\na",
        ";a\r\n",
        "1\na\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\nab\r\n",
        "1\r\na0\r\n",
        "1\ra\r\n",
        "1;a\n\r\na\r\n",
        "1;a\rb\r\na\r\n",
        "1;\0\r\na\r\n",
        "1 a\r\na\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "1\t\r\na\r\n0\r\n\r\n",
        "1;a \r\na\r\n0\r\n\r\n",
        "1\r\na\r\n0 \r\n\r\n",
        "0\r\n\n",
        "0\r\n\ra",
        "0\r\na: b\n\r\n",
        "0\r\na: b\rc: d\r\n\r\n",
        "0\r\n\r\r\n",
    ] {
        check(bytes, Err(Malformed::Byte));
    }
    for trailers in ["0\r\na b: c\r\n\r\n", "0\r\nno colon\r\n\r\n", "0\r\n a: b\r\n\r\n", "0\r\na: b\r\n c\r\n\r\n"] {
        check(trailers, Err(Malformed::Trailers));
    }
}

#[test]
fn blanks_behind_a_size_are_passed_over_in_a_response_only() {
    for bytes in ["1  \r\na\r\n0 \r\n\r\n", "1;a b \t\r\na\r\n0\r\n\r\n"] {
        let mut decoder = Decoder::lenient();
        let Ok(Decoded::Data { skip, data: 1 }) = decoder.decode(bytes.as_bytes()) else { panic!("{bytes:?}") };
        let rest = &bytes.as_bytes()[skip + 1..];
        assert_eq!(decoder.decode(rest), Ok(Decoded::End { used: rest.len(), trailers: None }), "{bytes:?}");
        check(bytes, Err(Malformed::Byte));
    }
}

#[test]
fn a_size_has_at_most_64_bits() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(b"ffffffffffffffff\r\nx"), Ok(Decoded::Data { skip: 18, data: 1 }));
    check("10000000000000000\r\n", Err(Malformed::Size));
    check("00000000000000001\r\na\r\n0\r\n\r\n", Err(Malformed::Size));
}

#[test]
fn extensions_are_bounded_in_all_of_a_body() {
    let long = "x".repeat(usize::from(MAX_EXTENSION_BYTES) / 2);
    let chunk = format!("1;{long}\r\na\r\n");
    check(&format!("{chunk}0\r\n\r\n"), Ok("a"));
    check(&format!("{chunk}{chunk}0\r\n\r\n"), Err(Malformed::Extensions));
    check(
        &format!("1{}\r\na\r\n0\r\n\r\n", " ".repeat(usize::from(MAX_EXTENSION_BYTES) + 1)),
        Err(Malformed::Extensions),
    );
}

#[test]
fn trailers_are_bounded_in_bytes_and_number() {
    let long = format!("0\r\nx: {}\r\n\r\n", "x".repeat(MAX_TRAILER_BYTES));
    check(&long, Err(Malformed::Trailers));
    check(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(MAX_TRAILERS)), Ok(""));
    check(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(MAX_TRAILERS + 1)), Err(Malformed::Trailers));
}

#[test]
fn sizes_are_written_in_full_and_without_zeros_before_them() {
    for (length, head) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65_535, "ffff\r\n"), (65_536, "10000\r\n")] {
        let mut out = Vec::new();
        write_chunk_head(&mut out, length);
        assert_eq!(String::from_utf8(out).unwrap(), head);
    }
    let mut out = Vec::new();
    write_chunk_head(&mut out, usize::MAX);
    assert_eq!(out.len(), MAX_CHUNK_HEAD_BYTES);
}

#[test]
fn no_trailer_changes_what_the_message_is() {
    let mut trailers = HeaderMap::new();
    for name in ["x-sum", "content-length", "transfer-encoding", "host", "authorization", "connection", "keep-alive"] {
        trailers.insert(name, http::HeaderValue::from_static("1"));
    }
    let mut out = Vec::new();
    write_end(&mut out, Some(&trailers));
    assert_eq!(String::from_utf8(out).unwrap(), "0\r\nx-sum: 1\r\n\r\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_however_it_is_split(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        sum in prop::option::of("[ -~]{0,8}"),
        sizes in prop::collection::vec(1_usize..20, 1..8),
    ) {
        let trailers = sum.map(|sum| HeaderMap::from_iter([("x-sum".parse().unwrap(), sum.trim().parse().unwrap())]));
        let mut out = Vec::new();
        for chunk in &chunks {
            write_chunk_head(&mut out, chunk.len());
            out.extend_from_slice(chunk);
            out.extend_from_slice(CHUNK_END);
        }
        write_end(&mut out, trailers.as_ref());
        let written = out.len();
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
        prop_assert_eq!(decode(&out, &sizes), Ok((chunks.concat(), trailers, written)));
    }

    #[test]
    fn any_bytes_give_the_same_result_however_they_are_split(
        bytes in "[0-2a;: \t\r\nxX]{0,40}",
        sizes in prop::collection::vec(1_usize..5, 1..5),
    ) {
        let bytes = bytes.into_bytes();
        prop_assert_eq!(decode(&bytes, &sizes), decode(&bytes, &[usize::MAX / 2]));
    }
}
