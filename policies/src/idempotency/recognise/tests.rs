use std::time::Duration;

use http::{Method, request::Parts};

use super::*;
use crate::idempotency::{
    KeySource, KeyTemplate, Mint,
    test_kit::{Kit, from_content},
};

fn keyed(method: &Method, key: Option<&'static str>) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/p");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(()).unwrap().into_parts().0
}

fn recognise(params: Idempotency, method: &Method, key: Option<&'static str>, who: Option<&[u8]>) -> String {
    let parts = keyed(method, key);
    match Kit::new(params).protection.recognise(&Incoming { parts: &parts, principal: who, path_params: &[] }) {
        Ok(Recognised::Unprotected) => "unprotected".into(),
        Ok(Recognised::Unnamed) => "unnamed".into(),
        Ok(Recognised::Keyed(key)) => format!("keyed {}", key.as_str()),
        Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.problem.slug()),
    }
}

fn from_template(text: &str) -> Idempotency {
    let from = Some(KeyFrom::Template(KeyTemplate::parse(text).unwrap()));
    Idempotency { key: KeySource { from, ..KeySource::default() }, ..Idempotency::default() }
}

#[test]
fn a_key_is_made_where_the_client_sends_none() {
    let by_who = from_template("{principal}:7");
    let required = Idempotency { required: true, ..by_who.clone() };
    let known = Idempotency { principal_required: true, ..required.clone() };
    let minting = Idempotency { key: KeySource { mint: Mint::Snowflake, ..by_who.key.clone() }, ..by_who.clone() };
    let by_body = from_template("{json:/id}");
    let by_content = from_content(Duration::from_secs(10));
    for (params, key, who, expected) in [
        (&by_who, None, Some(&b"me"[..]), "keyed me:7"),
        (&by_who, Some("k"), Some(b"me"), "keyed k"),
        (&by_who, Some(""), Some(b"me"), "400 key-invalid"),
        (&by_who, None, None, "unprotected"),
        (&by_who, None, Some(b""), "unprotected"),
        (&required, None, None, "400 key-missing"),
        (&known, None, None, "401 principal-missing"),
        (&minting, None, None, "unnamed"),
        (&minting, None, Some(b"me"), "keyed me:7"),
        (&by_body, None, None, "unnamed"),
        (&by_content, None, None, "unnamed"),
        (&by_content, Some("k"), None, "keyed k"),
    ] {
        assert_eq!(recognise(params.clone(), &Method::POST, key, who), expected, "{key:?} {who:?}");
    }
}

async fn made(params: &Idempotency, body: &'static str) -> String {
    let parts = keyed(&Method::POST, None);
    let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
    match Kit::new(params.clone()).protection.key(&incoming, &Bytes::from_static(body.as_bytes())).await {
        Ok(None) => "unprotected".into(),
        Ok(Some(key)) if key.is_minted() => "minted".into(),
        Ok(Some(key)) => format!("keyed {}", key.as_str()),
        Err(refusal) => format!("{} {}", refusal.status.as_u16(), refusal.problem.slug()),
    }
}

#[tokio::test]
async fn a_key_of_the_body_is_there_or_is_missing() {
    let optional = from_template("{json:/id}");
    let required = Idempotency { required: true, ..optional.clone() };
    let minting = Idempotency { key: KeySource { mint: Mint::UuidV7, ..optional.key.clone() }, ..required.clone() };
    let known = Idempotency { principal_required: true, ..optional.clone() };
    for (params, body, expected) in [
        (&optional, r#"{"id":"a:b"}"#, "keyed a%3Ab"),
        (&optional, "{}", "unprotected"),
        (&optional, "no json", "unprotected"),
        (&required, "{}", "400 key-missing"),
        (&required, r#"{"id":null}"#, "400 key-missing"),
        (&required, r#"{"id":1,"id":2}"#, "400 key-missing"),
        (&optional, r#"{"id":{}}"#, "400 key-invalid"),
        (&minting, "{}", "minted"),
        (&known, "{}", "unprotected"),
        (&known, r#"{"id":1}"#, "401 principal-missing"),
    ] {
        assert_eq!(made(params, body).await, expected, "{body}");
    }
}

#[test]
fn requests_are_recognised_as_the_policy_says() {
    let optional = Idempotency::default();
    let required = Idempotency { required: true, ..Idempotency::default() };
    let known = Idempotency { principal_required: true, ..Idempotency::default() };
    let minting =
        Idempotency { key: KeySource { mint: Mint::UuidV7, ..KeySource::default() }, ..Idempotency::default() };
    for (params, method, key, who, expected) in [
        (&optional, Method::GET, Some("k"), None, "unprotected"),
        (&required, Method::GET, None, None, "unprotected"),
        (&optional, Method::PUT, Some("k"), None, "unprotected"),
        (&optional, Method::POST, None, None, "unprotected"),
        (&optional, Method::POST, Some("k"), None, "keyed k"),
        (&optional, Method::PATCH, Some("\"k\""), None, "keyed k"),
        (&required, Method::POST, None, None, "400 key-missing"),
        (&optional, Method::POST, Some(""), None, "400 key-invalid"),
        (&optional, Method::POST, Some("a, b"), None, "400 key-invalid"),
        (&known, Method::POST, Some("k"), None, "401 principal-missing"),
        (&known, Method::POST, Some("k"), Some(&b""[..]), "401 principal-missing"),
        (&known, Method::POST, Some("k"), Some(b"me"), "keyed k"),
        (&known, Method::POST, None, None, "unprotected"),
        (&minting, Method::POST, None, None, "unnamed"),
        (&minting, Method::GET, None, None, "unprotected"),
    ] {
        assert_eq!(recognise(params.clone(), &method, key, who), expected, "{method} {key:?} {who:?}");
    }
}
