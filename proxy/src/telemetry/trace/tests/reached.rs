//! What a client span says of where its attempt went.

use super::*;
use crate::wire::peer::{Peer, Place};

/// What the span of an attempt says of where it went: to `endpoint`, where it `met` these, one after the other.
async fn said(endpoint: Endpoint, met: Vec<Peer>) -> Vec<(&'static str, String)> {
    let mut receiver = Receiver::start(&[]).await;
    let (tracing, _) = tracing_to(&url(&receiver), 1.0);
    let (method, upstream) = (Method::GET, "app".into());
    let trace = tracing.start(&HeaderMap::new(), Instant::now());
    let start = AttemptStart {
        number: 1,
        method: &method,
        path: "/a",
        endpoint: &endpoint,
        upstream: &upstream,
        retry_reason: None,
    };
    let mut attempt = trace.attempt(&start, Instant::now());
    let id = *attempt.context();
    let place = attempt.met().expect("somebody will read it");
    for peer in met {
        place.note(peer);
    }
    attempt.finish(Instant::now());
    drop(trace);
    tracing.shutdown(PATIENCE).await;
    let spans = receiver.spans().await;
    let names = [
        "url.full",
        "server.address",
        "server.port",
        "network.transport",
        "network.peer.address",
        "network.peer.port",
        "network.protocol.version",
        "tls.protocol.version",
    ];
    let attributes = &by_id(&spans, &id).attributes;
    names.into_iter().filter_map(|name| Some((name, attribute(attributes, name)?))).collect()
}

fn texts<'a>(said: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    said.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_client_span_says_whom_it_met_last_and_what_was_spoken() {
    let secure = Endpoint { is_secure: true, ..in_clear("api.test:443") };
    let aged = Peer { place: None, http: "1.1", tls: None };
    let there = Place::Network("[2001:db8::7]:443".parse().unwrap());
    let met = Peer { place: Some(there), http: "2", tls: Some("1.3") };
    let expected = [
        ("url.full", "https://api.test:443/a"),
        ("server.address", "api.test"),
        ("server.port", "443"),
        ("network.peer.address", "2001:db8::7"),
        ("network.peer.port", "443"),
        ("network.protocol.version", "2"),
        ("tls.protocol.version", "1.3"),
    ];
    assert_eq!(texts(&said(secure.clone(), vec![aged, met]).await), expected);
    assert_eq!(texts(&said(secure, Vec::new()).await), expected[..3], "nobody was met");
}

#[tokio::test]
async fn a_unix_socket_has_a_path_for_an_address_and_no_port() {
    let path = "/run/app.sock";
    let local = Endpoint { socket: Some(std::path::Path::new(path).into()), ..in_clear("localhost:80") };
    let met = Peer { place: Some(Place::Local(path.to_owned())), http: "1.1", tls: None };
    let expected = [
        ("url.full", "http://localhost:80/a"),
        ("server.address", path),
        ("network.transport", "unix"),
        ("network.peer.address", path),
        ("network.protocol.version", "1.1"),
    ];
    assert_eq!(texts(&said(local, vec![met]).await), expected);
}

#[tokio::test]
async fn an_address_of_version_6_stands_without_brackets() {
    let said = said(in_clear("[::1]:80"), Vec::new()).await;
    assert_eq!(texts(&said)[..2], [("url.full", "http://[::1]:80/a"), ("server.address", "::1")]);
}
