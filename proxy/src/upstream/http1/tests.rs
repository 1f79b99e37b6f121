use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::upstream::slots::Slots;
use crate::{
    upstream::connect::Target,
    wire::{
        gate::Gate,
        interim::InterimReceiver,
        turns::{self, STEP_BYTES},
    },
};

/// A server whose n-th connection does what `on_connection` says, and a pool of connections to it.
async fn server<F, R>(on_connection: F) -> Arc<Pool>
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        let accepted = AtomicUsize::new(0);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(on_connection(accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed), stream));
        }
    });
    let second = Duration::from_secs(1);
    let limits = HeadLimits { bytes: 64 * 1024, fields: 150 };
    let target = Arc::new(Target::new(authority, &crate::config::model::Resolve::default()));
    Arc::new(Pool::new(target, second, (60 * second, 600 * second), Slots::new(10), limits))
}

/// Reads until the bytes end with `end`.
async fn read_to(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let read = stream.read_buf(&mut seen).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
    }
    seen
}

fn request(method: Method, body: &'static str) -> Request<ProxyBody> {
    let mut request = Request::new(ProxyBody::from(Bytes::from_static(body.as_bytes())));
    *request.method_mut() = method;
    *request.uri_mut() = "/a?b".parse().unwrap();
    request.headers_mut().insert("host", HeaderValue::from_static("x"));
    request
}

async fn send_request(
    pool: &Arc<Pool>,
    request: Request<ProxyBody>,
    progress: &Progress,
    informed: Informed<'_>,
) -> Result<Response<Http1ResponseBody>, AttemptError> {
    let (head, body) = request.into_parts();
    let head = RequestHead { method: &head.method, uri: &head.uri, headers: &head.headers, host: None, added: None };
    send(pool, head, body, progress, informed).await
}

async fn call(pool: &Arc<Pool>, request: Request<ProxyBody>) -> Result<(StatusCode, Bytes), AttemptError> {
    let response = send_request(pool, request, &Progress::default(), Informed::default()).await?;
    let (head, body) = response.into_parts();
    Ok((head.status, body.collect().await.unwrap().to_bytes()))
}

#[tokio::test]
async fn a_request_is_one_write_of_what_it_is() {
    let pool = server(|_, mut stream| async move {
        for expected in
            ["GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n", "POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"]
        {
            let mut seen = [0; 512];
            let read = stream.read(&mut seen).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&seen[..read]), expected);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    for (method, body) in [(Method::GET, ""), (Method::POST, "body")] {
        assert_eq!(call(&pool, request(method, body)).await.unwrap(), (StatusCode::OK, Bytes::from_static(b"ok")));
    }
}

/// Long bodies all at once where turns are kept: to a server that takes its time, that answers before the end, and for a caller that
/// leaves while it waits for its turn.
#[tokio::test]
async fn long_bodies_go_out_in_turns_and_each_arrives_whole() {
    const LENGTH: usize = 5 * STEP_BYTES + 7;
    tokio::spawn(turns::keep());
    let pool = server(|nth, mut stream| async move {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if nth % 3 == 0 {
            stream.write_all(answer).await.unwrap();
        }
        let (mut seen, mut piece) = (Vec::new(), [0; 10_000]);
        let head = |seen: &[u8]| seen.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        while seen.len() < LENGTH + head(&seen).unwrap_or(0) {
            match stream.read(&mut piece).await {
                Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
                // Its caller has left.
                _ => return,
            }
            tokio::task::yield_now().await;
        }
        let body = &seen[head(&seen).unwrap()..];
        let expected = (0..LENGTH).all(|at| body[at] == (usize::from(body[0]) + at) as u8);
        if nth % 3 != 0 && expected && body.len() == LENGTH {
            stream.write_all(answer).await.unwrap();
        }
        std::future::pending::<()>().await;
    })
    .await;
    let calls: Vec<_> = (0..9_usize)
        .map(|number| {
            let pool = Arc::clone(&pool);
            let mut request = request(Method::POST, "");
            *request.body_mut() = ProxyBody::from((0..LENGTH).map(|at| (number + at) as u8).collect::<Bytes>());
            tokio::spawn(async move { call(&pool, request).await.unwrap() })
        })
        .collect();
    let leaves = {
        let pool = Arc::clone(&pool);
        let mut request = request(Method::POST, "");
        *request.body_mut() = ProxyBody::from(Bytes::from(vec![0; LENGTH]));
        tokio::spawn(async move { call(&pool, request).await.map(|_| ()) })
    };
    tokio::task::yield_now().await;
    leaves.abort();
    for call in calls {
        let answered = tokio::time::timeout(Duration::from_secs(30), call).await.expect("nobody waits for ever");
        assert_eq!(answered.unwrap(), (StatusCode::OK, Bytes::from_static(b"ok")));
    }
}

#[tokio::test]
async fn a_response_may_come_byte_by_byte() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n\
        HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\nSum: 1\r\n\r\n";
    let pool = server(|_, mut stream| async move {
        loop {
            read_to(&mut stream, b"\r\n\r\n").await;
            for byte in ANSWER {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    for _ in 0..2 {
        let (mut receiver, gate) = (InterimReceiver::new(), Gate::default());
        let interim = receiver.next_request();
        let informed = Informed { gate: Some(&gate), interim: Some(&interim) };
        let response = send_request(&pool, request(Method::GET, ""), &Progress::default(), informed).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Made");
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["sum"], "1");
        assert_eq!(whole.to_bytes(), "abcd");
        let (status, headers) = receiver.try_next().unwrap();
        assert_eq!((status, &headers["link"]), (StatusCode::EARLY_HINTS, &HeaderValue::from_static("</a>")));
        assert!(!headers.contains_key("x") && !headers.contains_key("connection"), "{headers:?}");
        assert!(receiver.try_next().is_none(), "100 Continue is not passed on this way");
        assert!(gate.is_open());
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_a_request_nothing() {
    let pool = server(|_, mut stream| async move {
        read_to(&mut stream, b"\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    for _ in 0..3 {
        call(&pool, request(Method::POST, "")).await.unwrap();
        // Until the end of the connection has been seen here.
        while !pool.is_idle_closed() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_after_a_byte_was_sent_proves_nothing() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let pool = server(move |_, mut stream| async move {
            read_to(&mut stream, b"\r\n\r\n").await;
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let progress = Progress::default();
        let error = send_request(&pool, request(Method::POST, ""), &progress, Informed::default()).await.err().unwrap();
        assert_eq!((error.cause, error.sent, progress.sent()), (Cause::Reset, Sent::Maybe, Sent::Maybe));
    }
}

#[tokio::test]
async fn what_is_no_response_is_malformed_and_proves_nothing() {
    for answer in ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"] {
        let pool = server(move |_, mut stream| async move {
            read_to(&mut stream, b"\r\n\r\n").await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let error = call(&pool, request(Method::POST, "")).await.err().unwrap();
        assert_eq!((error.cause, error.sent), (Cause::Malformed, Sent::Maybe));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_before_the_first_write_proves_that_nothing_was_sent() {
    let pool = server(|_, mut stream| async move {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "something was sent");
    })
    .await;
    let broken = http_body_util::StreamBody::new(futures_util::stream::iter([Err("broken".into())]));
    let progress = Progress::default();
    let request = request(Method::POST, "").map(|_| ProxyBody::stream(broken));
    let error = send_request(&pool, request, &progress, Informed::default()).await.err().unwrap();
    assert_eq!((error.cause, error.sent, progress.sent()), (Cause::Reset, Sent::No, Sent::No));
}

#[tokio::test]
async fn what_may_not_be_sent_any_more_when_the_connection_is_up_is_not_sent() {
    let pool = server(|_, mut stream| async move {
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "something was sent");
    })
    .await;
    let progress = Progress::default().only_if(|| false);
    let error = send_request(&pool, request(Method::POST, ""), &progress, Informed::default()).await.err().unwrap();
    assert_eq!((error.cause, error.sent, progress.sent()), (Cause::Refused, Sent::No, Sent::No));
}

#[tokio::test]
async fn a_streamed_body_is_framed_as_its_head_says() {
    let pool = server(|_, mut stream| async move {
        let seen = read_to(&mut stream, b"0\r\nsum: 1\r\n\r\n").await;
        let large = "x".repeat(20_000);
        let body = format!("3\r\nabc\r\n4e20\r\n{large}\r\n1\r\nd\r\n0\r\nsum: 1\r\n\r\n");
        let seen = String::from_utf8(seen).unwrap();
        assert_eq!(seen, format!("POST /a?b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}"));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let frames = ["abc".to_owned(), "x".repeat(20_000), String::new(), "d".to_owned()];
    let trailers = http::HeaderMap::from_iter([("sum".parse().unwrap(), HeaderValue::from_static("1"))]);
    let frames = frames
        .map(|data| Ok(http_body::Frame::data(Bytes::from(data))))
        .into_iter()
        .chain([Ok(http_body::Frame::trailers(trailers))]);
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
    let request = request(Method::POST, "").map(|_| ProxyBody::stream(body));
    assert_eq!(call(&pool, request).await.unwrap().0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_answered_upload_goes_on_to_its_end_unless_it_was_refused() {
    for (status, whole) in [("200 OK", true), ("413 Content Too Large", false)] {
        let (told, heard) = tokio::sync::oneshot::channel();
        let told = Arc::new(parking_lot::Mutex::new(Some(told)));
        let pool = server(move |_, mut stream| {
            let told = told.clone();
            async move {
                read_to(&mut stream, b"first").await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                told.lock().take().unwrap().send(rest).unwrap();
            }
        })
        .await;
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, crate::wire::body::BoxError>::new(1);
        let mut request = request(Method::POST, "").map(|_| ProxyBody::stream(body));
        request.headers_mut().insert("content-length", HeaderValue::from_static("9"));
        sender.send_data(Bytes::from_static(b"first")).await.unwrap();
        call(&pool, request).await.unwrap();
        let sent = sender.send_data(Bytes::from_static(b"rest")).await;
        assert!(sent.is_ok() || !whole, "{status}");
        drop(sender);
        assert_eq!(heard.await.unwrap(), if whole { &b"rest"[..] } else { b"" }, "{status}");
    }
}
