use proptest::prelude::*;

use super::*;
use crate::listener::http1::{
    request::{self, HeadLimits},
    search::HeadSearch,
};

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 16 };

/// A wire without a socket, whose bytes the test puts there.
fn wire() -> Wire {
    Wire::with(None, BytesMut::new())
}

/// The requests in `bytes`, as target and body, when they arrive in parts of `sizes`, over and over. It ends at the first
/// that cannot be read.
fn requests(bytes: &[u8], sizes: &[usize]) -> Vec<(String, Option<String>)> {
    let (mut wire, mut seen, mut found) = (wire(), 0, Vec::new());
    let mut sizes = sizes.iter().cycle();
    let mut more = |wire: &mut Wire| {
        let until = (seen + sizes.next().unwrap()).min(bytes.len());
        wire.state().unread.extend_from_slice(&bytes[seen..until]);
        let any = until > seen;
        seen = until;
        any
    };
    'requests: loop {
        let mut search = HeadSearch::default();
        let head = loop {
            match search.take(&mut wire.state().unread, LIMITS.bytes) {
                Ok(Some(head)) => break head,
                Ok(None) => {}
                Err(_) => return found,
            }
            if !more(&mut wire) {
                return found;
            }
        };
        let Ok(head) = request::parse(&head, LIMITS) else { return found };
        let body = wire.begin_body(head.framing, false);
        let mut text = Vec::new();
        loop {
            let next = wire.state().next();
            match next {
                Ok(Next::Data(data)) => text.extend_from_slice(&data),
                Ok(Next::Trailers(_)) => {}
                Ok(Next::End) => break,
                Ok(Next::More) if more(&mut wire) => {}
                Ok(Next::More) | Err(_) => {
                    found.push((head.parts.uri.to_string(), None));
                    break 'requests found;
                }
            }
        }
        drop(body);
        found.push((head.parts.uri.to_string(), Some(String::from_utf8_lossy(&text).into_owned())));
    }
}

#[test]
fn pipelined_requests_are_told_apart_wherever_they_are_split() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nT: u\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    let expected = [("/1", ""), ("/2", "abc"), ("/3", "def"), ("/4", "")]
        .map(|(target, body)| (target.to_owned(), Some(body.to_owned())));
    for split in 1..bytes.len() {
        assert_eq!(requests(bytes, &[split, bytes.len()]), expected, "split at {split}");
        assert_eq!(requests(bytes, &[split]), expected, "by {split}");
    }
}

#[test]
fn nothing_behind_a_body_that_cannot_be_followed_is_a_request() {
    for body in ["zz\r\n", "4\r\nbodyXX", "3\nabc", "1;a\nb", "ffffffffffffffff0\r\n", "0\r\n\rX"] {
        let bytes = format!(
            "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        for size in [1, 7, bytes.len()] {
            assert_eq!(requests(bytes.as_bytes(), &[size]), [("/1".to_owned(), None)], "{body:?} by {size}");
        }
    }
}

#[test]
fn a_body_that_is_cut_off_is_an_error_and_no_end() {
    for (head, parts) in [("Content-Length: 5", "four"), ("Transfer-Encoding: chunked", "4\r\nfour\r\n")] {
        let bytes = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n{parts}");
        assert_eq!(requests(bytes.as_bytes(), &[bytes.len()]), [("/".to_owned(), None)]);
    }
    let mut wire = wire();
    let mut body = wire.begin_body(Framing::Length(5), false).unwrap();
    wire.state().unread.extend_from_slice(b"four");
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(wire.close().is_none());
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Err(_)))));
    assert!(!body.is_end_stream());
}

#[test]
fn what_nobody_wants_is_passed_over_if_it_is_there() {
    let mut cx = Context::from_waker(Waker::noop());
    for (there, whole) in [("abc", true), ("ab", false)] {
        let mut wire = wire();
        drop(wire.begin_body(Framing::Length(3), true));
        let mut state = wire.state();
        assert!(!state.body_held);
        state.unread.extend_from_slice(there.as_bytes());
        assert_eq!(state.skip_body(&mut cx), whole, "{there}");
    }
}

#[test]
fn a_reader_that_stays_beyond_its_body_has_no_part_in_the_next() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut wire = wire();
    let mut first = wire.begin_body(Framing::Length(1), false).unwrap();
    wire.state().unread.extend_from_slice(b"a");
    assert!(matches!(Pin::new(&mut first).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    wire.end_body();
    let mut second = wire.begin_body(Framing::Length(2), false).unwrap();
    wire.state().unread.extend_from_slice(b"b");
    assert!(first.is_end_stream() && first.size_hint().exact() == Some(0));
    assert!(matches!(Pin::new(&mut first).poll_frame(&mut cx), Poll::Ready(None)));
    drop(first);
    assert!(wire.state().body_held);
    assert!(matches!(Pin::new(&mut second).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(!second.is_end_stream());
}

#[test]
fn an_open_body_stays_shared() {
    let mut wire = wire();
    let body = wire.begin_body(Framing::Length(3), false).unwrap();
    wire.end_body();
    assert!(!body.is_end_stream() && body.size_hint().exact() == Some(3));
    assert!(wire.state().body_held);
}

proptest! {
    #[test]
    fn any_bytes_are_understood_alike_however_they_are_split(
        body in "[0-3a\r\n; x]{0,40}",
        chunked in any::<bool>(),
        sizes in prop::collection::vec(1_usize..9, 1..8),
    ) {
        let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 7" };
        let bytes = format!("POST /1 HTTP/1.1\r\n{framing}\r\n\r\n{body}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        prop_assert_eq!(requests(&bytes, &sizes), requests(&bytes, &[bytes.len()]));
    }
}
