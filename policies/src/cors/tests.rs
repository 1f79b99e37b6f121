//! Who may read, and what an answer says of it.

use super::*;

const SHOP: HeaderValue = HeaderValue::from_static("https://shop.example");
const THIEF: HeaderValue = HeaderValue::from_static("https://thief.example");

fn cors(origins: Origins, credentials: bool) -> Cors {
    let more = [HeaderName::from_static("x-tenant"), HeaderName::from_static("prefer")];
    let expose = [HeaderName::from_static("x-receipt")];
    Cors::new(origins, credentials, Duration::from_mins(10), &more, &expose).expect("it is no contradiction")
}

fn shop() -> Cors {
    cors(Origins::Listed(vec!["https://shop.example".into()]), true)
}

fn answer(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

#[test]
fn any_origin_with_credentials_is_a_contradiction() {
    assert_eq!(Cors::new(Origins::Any, true, Duration::ZERO, &[], &[]), Err(AnyWithCredentials));
}

#[test]
fn what_a_service_says_is_replaced() {
    let mut headers = answer(&[
        ("access-control-allow-origin", "*"),
        ("access-control-allow-private-network", "true"),
        ("access-control-expose-headers", "x-secret"),
        ("vary", "Accept"),
    ]);
    shop().permit(Some(&SHOP), &mut headers);
    assert_eq!(headers["access-control-allow-origin"], "https://shop.example");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert!(headers.get("access-control-allow-private-network").is_none());
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    for name in ["operation-location", "mainstay-outcome", "retry-after", "x-receipt"] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{exposed}");
    }
    assert!(!exposed.contains("x-secret"));
    assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["Accept", "Origin"]);
}

#[test]
fn nobody_else_is_told_anything_and_caches_are_told_that_it_depends() {
    for origin in [None, Some(&THIEF), Some(&HeaderValue::from_static("null"))] {
        let mut headers = answer(&[("access-control-allow-origin", "*"), ("vary", "origin, accept")]);
        shop().permit(origin, &mut headers);
        assert!(headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{headers:?}");
        assert_eq!(headers.get_all("vary").iter().count(), 1);
    }
}

#[test]
fn any_origin_is_a_star() {
    let mut headers = HeaderMap::new();
    cors(Origins::Any, false).permit(Some(&THIEF), &mut headers);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(headers.get("access-control-allow-credentials").is_none());
}

#[test]
fn a_preflight_says_what_may_be_sent() {
    let asked = answer(&[("origin", "https://shop.example"), ("access-control-request-method", "POST")]);
    assert_eq!(asked_for(&Method::OPTIONS, &asked), Some(Method::POST));
    let mut headers = HeaderMap::new();
    shop().answer_preflight(&SHOP, &[Method::POST, Method::GET], &mut headers);
    assert_eq!(headers["access-control-allow-methods"], "POST, GET");
    assert_eq!(headers["access-control-allow-headers"], "content-type, idempotency-key, prefer, traceparent, x-tenant");
    assert_eq!(headers["access-control-max-age"], "600");
    let mut headers = HeaderMap::new();
    shop().answer_preflight(&THIEF, &[Method::POST], &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn an_options_of_its_own_is_no_preflight() {
    let origin = answer(&[("origin", "https://shop.example")]);
    assert_eq!(asked_for(&Method::OPTIONS, &origin), None);
    let asked = answer(&[("origin", "https://shop.example"), ("access-control-request-method", "POST")]);
    assert_eq!(asked_for(&Method::GET, &asked), None);
}
