//! What a request asks for and of whom: targets that are none, requests without a host, heads with too many fields over HTTP/2.

use mainstay_tests::{
    h2c::{H2Client, full},
    prelude::*,
};

#[tokio::test]
async fn a_target_that_is_neither_a_path_nor_a_url_goes_nowhere() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    for line in ["GET shop", "GET shop:80", "POST shop", "GET *", "DELETE *"] {
        let mut client = proxy.connect().await;
        client.write(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        let document = client.reply().await.expect_problem(400, "bad-request");
        assert_eq!(document["effect"], "none", "{line}");
    }
    assert_eq!(upstream.count(), 0);
    let mut client = proxy.connect().await;
    client.write(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.reply().await.expect_upstream(200);
    assert_eq!(upstream.only().target, "*");
}

#[tokio::test]
async fn a_service_is_always_told_whom_a_request_is_for() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::single(upstream.addr, "timeout: 5s").await;
    let mut old = proxy.connect().await;
    old.write(b"GET /old HTTP/1.0\r\n\r\n").await;
    old.reply().await.expect_upstream(200);
    proxy.send(Request::get("/named")).await.expect_upstream(200);
    let seen = upstream.requests();
    let hosts: Vec<_> = seen.iter().map(|seen| (seen.target.as_str(), seen.headers("host"))).collect();
    let endpoint = upstream.addr.to_string();
    assert_eq!(hosts[0], ("/old", vec![endpoint.as_str()]));
    assert!(hosts[1].1.len() == 1 && hosts[1].1[0] != endpoint, "{hosts:?}");
}

#[tokio::test]
async fn too_many_fields_are_a_431_over_http2_as_well() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s").top("limits: { header_count: 10 }")).await;
    let client = H2Client::connect(proxy.addr).await;
    let with = |fields: usize| {
        let request = (0..fields).fold(client.request("GET", "/"), |request, i| request.header(format!("x-{i}"), "v"));
        client.call(request.body(full("")).unwrap())
    };
    assert_eq!(with(10).await.status, 200);
    let refused = with(11).await;
    assert_eq!((refused.status, &refused.headers["mainstay-error"]), (431, &"bad-request".parse().unwrap()));
    assert_eq!(upstream.count(), 1);
}
