use http::Request;

use super::*;

const SECRET: [u8; 32] = [1; 32];

/// A request as the tables below write it: method and target, headers, body.
struct Case(&'static str, &'static [(&'static str, &'static str)], &'static str);

fn print(rule: &Fingerprint, Case(line, headers, body): Case) -> [u8; 32] {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = request.body(Bytes::from_static(body.as_bytes())).unwrap().into_parts();
    Fingerprinter::new(&SECRET, rule.clone()).of(&parts, &body)
}

fn exact() -> Fingerprint {
    Fingerprint { body: FingerprintBody::Exact, headers: Vec::new() }
}

fn json() -> Fingerprint {
    Fingerprint { body: FingerprintBody::Json, headers: Vec::new() }
}

const BASE: Case = Case("POST /p?q=1", &[("content-type", "application/json")], "{}");

#[test]
fn each_part_of_the_request_counts() {
    let base = print(&exact(), BASE);
    for case in [
        Case("PATCH /p?q=1", &[("content-type", "application/json")], "{}"),
        Case("POST /q?q=1", &[("content-type", "application/json")], "{}"),
        Case("POST /p?q=2", &[("content-type", "application/json")], "{}"),
        Case("POST /p", &[("content-type", "application/json")], "{}"),
        Case("POST /p?q=1", &[("content-type", "text/plain")], "{}"),
        Case("POST /p?q=1", &[("content-type", "application/json"), ("content-encoding", "gzip")], "{}"),
        Case("POST /p?q=1", &[("content-type", "application/json")], "{ }"),
        Case("POST /p?q=1", &[("content-type", "application/json")], ""),
    ] {
        let line = case.0;
        assert_ne!(print(&exact(), case), base, "{line}");
    }
    assert_ne!(print(&exact(), Case("POST /p", &[], "")), print(&exact(), Case("POST /p?", &[], "")));
}

/// What ledgers hold was made in one piece.
#[test]
fn steps_make_no_difference() {
    let fingerprinter = Fingerprinter::new(&SECRET, exact());
    let (parts, ()) = Request::post("/p").body(()).unwrap().into_parts();
    for length in [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES + 5] {
        let body: Bytes = (0..length).map(|n| n as u8).collect();
        let mut whole = Hmac::<Sha256>::new(&keyed_block(&SECRET));
        let none = 0_u64.to_be_bytes();
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| whole.update(part));
        add(&[&4_u64.to_be_bytes(), b"POST"]);
        // No host.
        add(&[&[0], &none]);
        add(&[&2_u64.to_be_bytes(), b"/p"]);
        // No query, no media type, no encodings.
        add(&[&[0], &none, &none, &none]);
        add(&[&5_u64.to_be_bytes(), b"exact", &(length as u64).to_be_bytes()]);
        whole.update(&body);
        let expected: [u8; 32] = whole.finalize().into_bytes().into();

        let mut begun = fingerprinter.in_steps(&parts, &body);
        let mut steps = 1;
        while begun.step() {
            steps += 1;
        }
        assert_eq!(begun.finish(), expected, "{length} bytes in {steps} steps");
        assert_eq!(steps, length.div_ceil(STEP_BYTES).max(1));
        assert_eq!(fingerprinter.in_steps(&parts, &body).finish(), expected, "{length} bytes without a step");
        assert_eq!(fingerprinter.of(&parts, &body), expected);
    }
}

#[test]
fn what_belongs_to_one_try_does_not_count() {
    let again = Case(
        "POST /p?q=1",
        &[
            ("content-type", "Application/JSON; charset=utf-8"),
            ("authorization", "Bearer fresh"),
            ("traceparent", "00-1-2-01"),
            ("user-agent", "other"),
            ("idempotency-key", "k"),
        ],
        "{}",
    );
    assert_eq!(print(&exact(), again), print(&exact(), BASE));
}

#[test]
fn paths_that_mean_the_same_are_the_same() {
    let plain = print(&exact(), Case("POST /a/~b", &[], ""));
    assert_eq!(print(&exact(), Case("POST /a/%7eb", &[], "")), plain);
    assert_eq!(print(&exact(), Case("POST /a/x/../~b", &[], "")), plain);
    assert_ne!(print(&exact(), Case("POST /a%2F~b", &[], "")), plain);
}

#[test]
fn listed_headers_count_value_by_value() {
    let rule = Fingerprint { headers: vec![HeaderName::from_static("x-currency")], ..exact() };
    let with = |headers| print(&rule, Case("POST /p", headers, ""));
    let euro = with(&[("x-currency", "EUR")]);
    assert_ne!(euro, with(&[("x-currency", "USD")]));
    assert_ne!(euro, with(&[]));
    assert_ne!(with(&[("x-currency", "a"), ("x-currency", "b")]), with(&[("x-currency", "a, b")]));
    assert_eq!(euro, with(&[("x-currency", "EUR"), ("x-other", "1")]));
}

#[test]
fn canonical_json_ignores_order_and_space_where_the_policy_says_so() {
    let one = || Case("POST /p", &[], r#"{"a":1,"b":[1.0]}"#);
    let other = || Case("POST /p", &[], r#"{ "b": [1], "a": 1 }"#);
    assert_eq!(print(&json(), one()), print(&json(), other()));
    assert_ne!(print(&exact(), one()), print(&exact(), other()));
}

#[test]
fn a_body_that_is_no_json_or_is_encoded_counts_byte_by_byte() {
    let encoded: &[_] = &[("content-encoding", "x")];
    assert_ne!(print(&json(), Case("POST /p", &[], "a=1")), print(&json(), Case("POST /p", &[], "a= 1")));
    assert_ne!(print(&json(), Case("POST /p", encoded, "{}")), print(&json(), Case("POST /p", encoded, "{ }")));
    assert_ne!(
        print(&json(), Case("POST /p", &[], r#"{"a":1,"a":2}"#)),
        print(&json(), Case("POST /p", &[], r#"{"a":2}"#))
    );
}

#[test]
fn another_secret_makes_another_fingerprint() {
    let (parts, body) = Request::post("/p").body(Bytes::new()).unwrap().into_parts();
    let of = |secret| Fingerprinter::new(&[secret; 32], exact()).of(&parts, &body);
    assert_ne!(of(1), of(2));
}

#[test]
fn it_is_hmac_sha_256() {
    // RFC 4231, test case 2 in shape: the same as HMAC under the unpadded key.
    let mut long_way = <Hmac<Sha256> as KeyInit>::new_from_slice(&SECRET).unwrap();
    let mut short_way = Hmac::<Sha256>::new(&keyed_block(&SECRET));
    long_way.update(b"x");
    short_way.update(b"x");
    assert_eq!(long_way.finalize().into_bytes(), short_way.finalize().into_bytes());
}

fn host_of(line: &'static str, headers: &'static [(&'static str, &'static str)]) -> [u8; 32] {
    print(&exact(), Case(line, headers, ""))
}

#[test]
fn the_host_counts_without_its_port_and_in_any_case() {
    let shop = host_of("POST /p", &[("host", "shop.example")]);
    for headers in [&[("host", "SHOP.example")][..], &[("host", "shop.example:8080")]] {
        assert_eq!(host_of("POST /p", headers), shop, "{headers:?}");
    }
    // Over HTTP/2, and in absolute form, the target names it.
    assert_eq!(host_of("POST http://shop.example:80/p", &[("host", "other")]), shop);
    for headers in [&[("host", "other.example")][..], &[("host", "")], &[]] {
        assert_ne!(host_of("POST /p", headers), shop, "{headers:?}");
    }
}

#[test]
fn an_address_or_localhost_counts_as_no_host() {
    let none = host_of("POST /p", &[]);
    for headers in [
        &[("host", "10.0.0.7:8080")][..],
        &[("host", "127.0.0.1")],
        &[("host", "[::1]:80")],
        &[("host", "LocalHost:9000")],
        &[("host", "")],
    ] {
        assert_eq!(host_of("POST /p", headers), none, "{headers:?}");
    }
    assert_ne!(host_of("POST /p", &[("host", "10.0.0.7.example")]), none);
}

#[test]
fn a_host_did_not_count_in_the_first_version() {
    let of = |host: &str| {
        let (parts, body) = Request::post("/p").header("host", host).body(Bytes::new()).unwrap().into_parts();
        Fingerprinter::new(&SECRET, exact()).of_version(FingerprintVersion::WithoutHost, &parts, &body)
    };
    assert_eq!(of("shop.example"), of("other.example"));
}

#[test]
fn every_credential_counts_and_nothing_else_does() {
    let of = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let alone = credentials(&SECRET, &headers);
        assert_eq!(Fingerprinter::new(&SECRET, exact()).of_credentials(&headers), alone, "{fields:?}");
        alone
    };
    let all = [
        of(&[]),
        of(&[("authorization", "a")]),
        of(&[("proxy-authorization", "a")]),
        of(&[("x-api-key", "a")]),
        of(&[("cookie", "a")]),
        of(&[("authorization", "b")]),
        of(&[("authorization", "a"), ("x-api-key", "a")]),
    ];
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    assert_eq!(of(&[("accept", "a"), ("host", "x")]), of(&[]));
    assert_eq!(of(&[("cookie", "a=1"), ("cookie", "b=2")]), of(&[("cookie", "a=1; b=2")]));
}
