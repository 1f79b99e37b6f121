use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 150 };

fn parse_text(text: &str) -> Result<Option<(usize, Head)>, Malformed> {
    parse(&Bytes::copy_from_slice(text.as_bytes()), false, LIMITS)
}

#[track_caller]
fn whole(text: &str) -> Head {
    let (length, head) = parse_text(text).unwrap().unwrap_or_else(|| panic!("incomplete: {text:?}"));
    assert_eq!(length, text.find("\r\n\r\n").unwrap() + 4, "{text:?}");
    head
}

fn framed(status: &str, fields: &str) -> Result<Framing, Malformed> {
    Ok(parse_text(&format!("HTTP/1.1 {status}\r\n{fields}\r\n"))?.expect("it is whole").1.framing)
}

#[test]
fn a_head_is_read() {
    let head = whole("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b c \r\n\r\nhello");
    assert_eq!((head.status, head.version, head.framing), (StatusCode::OK, Version::HTTP_11, Framing::Length(5)));
    assert_eq!((head.headers["x-a"].to_str().unwrap(), head.keep_alive, head.reason), ("b c", true, None));
}

#[test]
fn only_an_unusual_reason_is_kept() {
    assert_eq!(whole("HTTP/1.1 200 Fine\r\n\r\n").reason.as_deref(), Some(&b"Fine"[..]));
    for usual in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n"] {
        assert_eq!(whole(usual).reason, None, "{usual:?}");
    }
}

#[test]
fn a_head_is_incomplete_until_its_last_byte() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n";
    for end in 0..text.len() {
        assert!(parse_text(&text[..end]).unwrap().is_none(), "{end}");
    }
    whole(text);
}

#[test]
fn what_is_no_response_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "\0\0\0\0",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\x01: b\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        assert_eq!(parse_text(text).map(|_| ()), Err(Malformed::Syntax), "{text:?}");
    }
}

#[test]
fn a_head_is_bounded() {
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    for limits in [1, 50, STACK_FIELDS, STACK_FIELDS + 1, 150].map(|fields| HeadLimits { fields, ..LIMITS }) {
        let parse = |count| parse(&fields(count).into(), false, limits).map(|parsed| parsed.unwrap().1.headers.len());
        assert_eq!(parse(limits.fields), Ok(limits.fields));
        assert_eq!(parse(limits.fields + 1), Err(Malformed::TooLarge), "{limits:?}");
    }
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(LIMITS.bytes));
    assert_eq!(parse_text(&long).map(|_| ()), Err(Malformed::TooLarge));
    assert_eq!(parse_text(&format!("{long}\r\n\r\n")).map(|_| ()), Err(Malformed::TooLarge));
}

#[test]
fn a_body_is_delimited_in_one_way() {
    assert_eq!(framed("200 OK", ""), Ok(Framing::Close));
    assert_eq!(framed("200 OK", "Content-Length: 7\r\n"), Ok(Framing::Length(7)));
    assert_eq!(framed("200 OK", "Transfer-Encoding: Chunked \r\n"), Ok(Framing::Chunked));
    assert_eq!(framed("200 OK", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
    for status in ["204 No Content", "304 Not Modified", "103 Early Hints", "101 Switching Protocols"] {
        assert_eq!(framed(status, "Content-Length: 7\r\n"), Ok(Framing::Length(0)), "{status}");
        assert_eq!(framed(status, ""), Ok(Framing::Length(0)), "{status}");
    }
    let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let (_, head) = parse(&head, true, LIMITS).unwrap().unwrap();
    assert_eq!((head.framing, &head.headers[CONTENT_LENGTH]), (Framing::Length(0), &HeaderValue::from(7)));
}

#[test]
fn equal_lengths_are_one_and_others_none() {
    for equal in ["5\r\nX: y\r\nContent-Length: 5", "5, 5", "5,05", "5 ,5\r\nContent-Length:\t5"] {
        let head = whole(&format!("HTTP/1.1 200 OK\r\nContent-Length: {equal}\r\n\r\n"));
        assert_eq!(head.headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"], "{equal:?}");
        assert_eq!(head.framing, Framing::Length(5));
    }
    for other in
        ["", "x", "+5", "-5", "0x5", "5 5", "5,", "5;6", "5\r\nContent-Length: 6", "5,6", "9223372036854775808"]
    {
        assert_eq!(framed("200 OK", &format!("Content-Length: {other}\r\n")), Err(Malformed::Length), "{other:?}");
    }
    assert_eq!(framed("200 OK", "Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(i64::MAX as u64)));
}

#[test]
fn a_length_beside_chunks_is_taken_out() {
    let head = whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(!head.headers.contains_key(CONTENT_LENGTH));
}

#[test]
fn only_one_coding_is_understood() {
    for codings in ["gzip", "gzip, chunked", "chunked, gzip", "chunked\r\nTransfer-Encoding: chunked", "identity", ""] {
        let fields = format!("Transfer-Encoding: {codings}\r\n");
        assert_eq!(framed("200 OK", &fields), Err(Malformed::Coding), "{codings:?}");
    }
}

#[test]
fn a_connection_is_kept_only_where_both_sides_agree_on_its_messages() {
    let kept = |version: &str, fields: &str| whole(&format!("HTTP/{version} 200 OK\r\n{fields}\r\n")).keep_alive;
    assert!(kept("1.1", "Content-Length: 0\r\n"));
    assert!(!kept("1.1", "Content-Length: 0\r\nConnection: x, Close\r\n"));
    assert!(!kept("1.1", ""), "the body ends with the connection");
    assert!(!kept("1.0", "Content-Length: 0\r\n"));
    assert!(kept("1.0", "Content-Length: 0\r\nConnection: keep-alive\r\n"));
    assert!(!kept("1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_a_prefix_never_says_more_than_the_whole(
        tail in "[ -~\r\n:]{0,60}",
        cut in 0_usize..80,
    ) {
        let text = format!("HTTP/1.1 200 OK\r\n{tail}");
        let cut = cut.min(text.len());
        if let Ok(Some((length, _))) = parse_text(&text[..cut]) {
            prop_assert_eq!(parse_text(&text).unwrap().unwrap().0, length);
        }
    }
}

#[test]
fn white_space_before_a_colon_is_removed() {
    let head = whole("HTTP/1.1 201 Created\r\nA \t: b\r\nTransfer-Encoding : chunked\r\n\r\n");
    assert_eq!((&head.headers["a"], head.framing), (&HeaderValue::from_static("b"), Framing::Chunked));
}

#[test]
fn a_later_minor_version_is_read_as_the_last_one() {
    let head = whole("HTTP/1.7 200 OK\r\nA: b\r\n\r\n");
    assert_eq!((head.version, &head.headers["a"]), (Version::HTTP_11, &HeaderValue::from_static("b")));
}

#[test]
fn a_status_line_tells_the_status_whatever_follows() {
    for (text, expected) in [
        ("HTTP/1.1 201 Created\r\n: x", Some(201)),
        ("HTTP/1.0 503\n", Some(503)),
        ("HTTP/1.1 422 \r\n\0", Some(422)),
        ("HTTP/1.9 200 OK\r\n", Some(200)),
        ("HTTP/1.1 201 Created\r", None),
        ("HTTP/1.1 2010\r\n", None),
        ("HTTP/1.1 20\r\n", None),
        ("HTTP/1.1  201\r\n", None),
        ("HTTP/1.1 103 Early Hints\r\n", None),
        ("HTTP/2.0 200 OK\r\n", None),
        ("SSH-2.0\r\n", None),
        ("", None),
    ] {
        assert_eq!(status(text.as_bytes()).map(|status| status.as_u16()), expected, "{text:?}");
    }
}
