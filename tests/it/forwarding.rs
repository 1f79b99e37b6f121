//! What a message looks like after it went through.

use mainstay_tests::prelude::*;

#[tokio::test]
async fn every_method_passes_with_and_without_a_body() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"] {
        proxy.send(Request::new(method, "/m")).await.expect_upstream(200);
        proxy.send(Request::new(method, "/m").body("content")).await.expect_upstream(200);
        proxy.send(Request::new(method, "/m").body("content").chunked()).await.expect_upstream(200);
        let seen = upstream.requests();
        let [empty, length, chunked] = &seen[seen.len() - 3..] else { panic!("three requests") };
        for request in [empty, length, chunked] {
            assert_eq!(request.method, method);
        }
        assert_eq!([empty.text(), length.text(), chunked.text()], ["", "content", "content"], "{method}");
        assert_eq!(length.framing(), Framing::Length(7), "{method}");
        assert_eq!(chunked.framing(), Framing::Chunked, "{method}");
    }
}

#[tokio::test]
async fn a_post_without_a_body_arrives_without_one() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.send(Request::post("/", "")).await.expect_upstream(200);
    assert_eq!((upstream.only().framing(), upstream.only().text()), (Framing::None, String::new()));
}

#[tokio::test]
async fn response_framings_pass() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/length" => Answer::ok("0123456789").steps(),
        "/empty" => Answer::ok("").steps(),
        "/chunked" => Answer::ok("0123456789").chunked().steps(),
        _ => Answer::ok("0123456789").until_close().steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for target in ["/length", "/chunked", "/close"] {
        assert_eq!(proxy.get(target).await.expect_upstream(200).text(), "0123456789", "{target}");
    }
    let empty = proxy.get("/empty").await;
    assert_eq!((empty.text().as_str(), empty.header("content-length")), ("", Some("0")));
    assert_eq!(proxy.get("/length").await.header("content-length"), Some("10"));
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_leave_the_connection_usable() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/head" if seen.method == "HEAD" => {
            vec![Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"v1\"\r\n\r\n".into())]
        }
        "/204" => Answer::status(204).header("X-Kept", "yes").steps(),
        "/304" => Answer::status(304).header("ETag", "\"v1\"").steps(),
        _ => Answer::ok("next").steps(),
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let head = client.call(&Request::new("HEAD", "/head")).await;
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, Some("1234"), Some("\"v1\"")));
    let no_content = client.call(&Request::get("/204")).await;
    assert_eq!((no_content.status, no_content.header("x-kept")), (204, Some("yes")));
    assert!(!no_content.head.headers.has("content-length") && !no_content.head.headers.has("transfer-encoding"));
    let not_modified = client.call(&Request::get("/304").header("If-None-Match", "\"v1\"")).await;
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"v1\"")));
    assert_eq!(client.call(&Request::get("/next")).await.text(), "next");
}

#[tokio::test]
async fn response_trailers_reach_a_client_that_takes_them() {
    let upstream =
        Upstream::answering(Answer::ok("body").trailer("X-Checksum", "abc").header("Trailer", "X-Checksum")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let reply = proxy.send(Request::get("/").header("TE", "trailers")).await;
    assert_eq!(reply.expect_upstream(200).text(), "body");
    assert_eq!(reply.body.trailers.value("x-checksum"), Some("abc"), "{reply:#?}");
}

#[tokio::test]
async fn what_an_answer_makes_its_connections_own_comes_in_no_trailer() {
    let answer = Answer::ok("body").header("Connection", "X-Private").header("Trailer", "X-Private, X-Checksum");
    let upstream = Upstream::answering(answer.trailer("X-Private", "1").trailer("X-Checksum", "abc")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let reply = proxy.send(Request::get("/").header("TE", "trailers")).await;
    assert_eq!(reply.expect_upstream(200).text(), "body");
    assert_eq!(reply.body.trailers.value("x-checksum"), Some("abc"), "{reply:#?}");
    assert!(!reply.body.trailers.has("x-private"), "{reply:#?}");
}

#[tokio::test]
async fn request_trailers_reach_the_upstream() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client
        .write(b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n")
        .await;
    client.reply().await.expect_upstream(200);
    let seen = upstream.only();
    assert_eq!((seen.text().as_str(), seen.body.trailers.value("x-sum")), ("body", Some("7")));
}

#[tokio::test]
async fn hop_by_hop_request_headers_end_here() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let request = Request::get("/")
        .header("Connection", "keep-alive, X-Private")
        .header("X-Private", "secret")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("X-Public", "kept");
    proxy.send(request).await.expect_upstream(200);
    let seen = upstream.only();
    for name in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(seen.header(name), None, "{name} went through");
    }
    assert!(!seen.headers("connection").iter().any(|v| v.to_lowercase().contains("x-private")));
    assert_eq!(seen.header("x-public"), Some("kept"));
}

#[tokio::test]
async fn hop_by_hop_response_headers_end_here() {
    let answer = Answer::ok("ok")
        .header("Connection", "X-Private")
        .header("X-Private", "secret")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("X-Public", "kept");
    let upstream = Upstream::answering(answer).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let reply = proxy.get("/").await;
    for name in ["x-private", "keep-alive", "proxy-connection"] {
        assert_eq!(reply.header(name), None, "{name} went through");
    }
    assert_eq!(reply.expect_upstream(200).header("x-public"), Some("kept"));
}

/// A pseudonym of this process, after the version that it was called by.
fn is_ours(via: &str) -> bool {
    let digits = via.strip_prefix("1.1 mainstay-").unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[tokio::test]
async fn via_and_forwarded_headers_are_added_and_host_is_kept() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.send(Request::get("/").header("Host", "shop.example:8443")).await.expect_upstream(200);
    let seen = upstream.only();
    assert_eq!(seen.headers("host"), ["shop.example:8443"]);
    assert!(is_ours(&seen.headers("via").join(", ")), "{seen:#?}");
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example:8443"));
}

#[tokio::test]
async fn an_earlier_via_and_x_forwarded_for_are_extended() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let trusting = Config::single(upstream.addr, "timeout: 5s").listener("client: { trusted: [local] }");
    let proxy = Proxy::start(trusting).await;
    let request = Request::get("/").header("Via", "1.0 edge").header("X-Forwarded-For", "203.0.113.9");
    proxy.send(request).await.expect_upstream(200);
    let seen = upstream.only();
    let via = seen.headers("via").join(", ");
    assert!(via.strip_prefix("1.0 edge, ").is_some_and(is_ours), "{via}");
    assert_eq!(seen.headers("x-forwarded-for").join(", "), "203.0.113.9, 127.0.0.1");
}

#[tokio::test]
async fn repeated_headers_stay_apart_and_in_order() {
    let answer = Answer::ok("ok")
        .header("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
        .header("Set-Cookie", "b=2")
        .header("X-Multi", "one")
        .header("X-Multi", "two");
    let upstream = Upstream::answering(answer).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let request = Request::get("/").header("Cookie", "c=3").header("X-In", "one").header("X-In", "two, three");
    let reply = proxy.send(request).await;
    assert_eq!(reply.headers("set-cookie"), ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
    assert_eq!(reply.headers("x-multi"), ["one", "two"]);
    let seen = upstream.only();
    assert_eq!((seen.headers("cookie"), seen.headers("x-in")), (vec!["c=3"], vec!["one", "two, three"]));
}

#[tokio::test]
async fn header_values_pass_byte_for_byte() {
    let upstream =
        Upstream::start(|seen| Answer::ok("ok").header("X-Back", seen.header("x-odd").unwrap_or("")).steps()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd: tab\there \xe9\xff \"q\"; a=b\r\nX-Empty:\r\n\r\n").await;
    client.reply().await.expect_upstream(200);
    let seen = upstream.only();
    assert_eq!(seen.header("x-odd"), Some("tab\there \u{e9}\u{ff} \"q\"; a=b"));
    assert_eq!(seen.header("x-empty"), Some(""));
}

#[tokio::test]
async fn target_passes_byte_for_byte() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for target in [
        "/",
        "/a%2Fb/%20/%e2%82%ac?x=%20+&y",
        "//double//slash/",
        "/a/./b/../c",
        "/q?",
        "/q?a=1&a=2?b=/c",
        "/semi;v=1,2/@:!$&'()*",
        "/%00%ff",
    ] {
        proxy.get(target).await.expect_upstream(200);
        assert_eq!(upstream.requests().last().unwrap().target, target);
    }
}

#[tokio::test]
async fn status_and_error_bodies_of_the_upstream_pass_unchanged() {
    let upstream = Upstream::start(|seen| {
        Answer::status(seen.target[1..].parse().unwrap()).header("X-Own", "yes").body("its own words").steps()
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for status in [201, 207, 301, 307, 400, 401, 404, 409, 418, 422, 429, 500, 501, 502, 503, 504, 599] {
        let reply = proxy.get(&format!("/{status}")).await;
        assert_eq!(reply.expect_upstream(status).text(), "its own words");
        assert_eq!(reply.header("x-own"), Some("yes"));
    }
}

#[tokio::test]
async fn absolute_form_target_becomes_origin_form_and_its_authority_the_host() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    proxy.send(Request::get("http://real.example/a?b=c").header("Host", "fake.example")).await.expect_upstream(200);
    let seen = upstream.only();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/a?b=c", Some("real.example")));
}

#[tokio::test]
async fn options_asterisk_is_answered_and_the_connection_lives() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let reply = client.call(&Request::new("OPTIONS", "*")).await;
    assert!(reply.status < 500, "{reply:#?}");
    client.call(&Request::get("/after")).await.expect_upstream(200);
}

#[tokio::test]
async fn connect_is_refused_and_opens_no_tunnel() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let reply = proxy.send(Request::new("CONNECT", "db.internal:5432").header("Host", "db.internal:5432")).await;
    assert!((400..=501).contains(&reply.status), "{reply:#?}");
    assert!(reply.slug().is_some(), "the refusal is Mainstay's own: {reply:#?}");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn http_1_0_clients_get_an_answer_and_the_end_of_the_connection() {
    let upstream = Upstream::answering(Answer::ok("0123456789").chunked()).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    client.write(b"GET /old HTTP/1.0\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.header("transfer-encoding")), (200, None), "chunked is unknown to HTTP/1.0");
    assert_eq!(reply.text(), "0123456789");
    client.expect_closed().await;
    assert!(upstream.only().head.start_line.ends_with("HTTP/1.1"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|seen| {
        let delay = if seen.target == "/0" { 150 } else { 0 };
        Answer::ok(seen.target.clone()).after(Duration::from_millis(delay))
    })
    .await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.extend(Request::post(&format!("/{n}"), "body").bytes());
    }
    client.write(&all).await;
    for n in 0..5 {
        assert_eq!(client.reply().await.expect_upstream(200).text(), format!("/{n}"));
    }
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut client = proxy.connect().await;
    let reply = client.call(&Request::get("/").header("Connection", "close")).await;
    assert_eq!(reply.expect_upstream(200).header("connection").map(str::to_lowercase).as_deref(), Some("close"));
    client.expect_closed().await;
}

#[tokio::test]
async fn upstream_connections_are_reused() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top("limits: { workers: 1 }")).await;
    for _ in 0..20 {
        proxy.get("/").await.expect_upstream(200);
    }
    assert_eq!(upstream.log().connections, 1);
}
