use http::header::HeaderName;

use super::*;
use crate::{
    grpc::Code,
    idempotency::{Idempotency, test_kit::Kit},
};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn settlement(
    protection: &Protection,
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<Bytes>,
    trailers: Option<&HeaderMap>,
) -> Settlement {
    Testimony { to_grpc: false, status, headers, trailers }.settlement(protection, body)
}

#[test]
fn to_a_grpc_call_an_answer_that_is_none_of_grpc_proves_nothing_unless_its_status_refuses() {
    let kit = Kit::new(Idempotency::default());
    let head = headers(&[("content-type", "text/html")]);
    for (status, to_grpc, evidence) in [
        (200, true, Evidence::Ambiguous),
        (302, true, Evidence::Ambiguous),
        (200, false, Evidence::Succeeded),
        (302, false, Evidence::Succeeded),
        (404, true, Evidence::Failed),
        (429, true, Evidence::NotExecuted),
        (503, true, Evidence::Ambiguous),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let testimony = Testimony { to_grpc, status, headers: &head, trailers: None };
        let settled = testimony.settlement(&kit.protection, Some(Bytes::from_static(b"<html>")));
        assert_eq!(settled.evidence(), evidence, "{status} {to_grpc}");
    }
}

#[test]
fn grpc_proves_by_its_own_status_wherever_it_stands() {
    let kit = Kit::new(Idempotency::default());
    let grpc = [("content-type", "application/grpc+proto")];
    for (code, evidence, of_state) in [
        (Some("0"), Evidence::Succeeded, false),
        (Some("3"), Evidence::Failed, false),
        (Some("6"), Evidence::Failed, true),
        (Some("16"), Evidence::NotExecuted, false),
        (Some("8"), Evidence::NotExecuted, false),
        (Some("10"), Evidence::Ambiguous, false),
        (Some("4"), Evidence::Ambiguous, false),
        (Some("14"), Evidence::Ambiguous, false),
        (Some("nonsense"), Evidence::Ambiguous, false),
        (None, Evidence::Ambiguous, false),
    ] {
        let status: Vec<_> = code.map(|code| ("grpc-status", code)).into_iter().collect();
        let (head, trailers) = (headers(&grpc), headers(&status));
        let by_trailers = settlement(&kit.protection, StatusCode::OK, &head, None, Some(&trailers));
        let only_head = headers(&[&grpc[..], &status].concat());
        assert_eq!(by_trailers, settlement(&kit.protection, StatusCode::OK, &only_head, None, None), "{code:?}");
        assert_eq!(by_trailers.evidence(), evidence, "{code:?}");
        assert!(!matches!(by_trailers, Settlement::Response { of_state: said, .. } if said != of_state), "{code:?}");
    }
}

#[test]
fn grpc_web_proves_by_the_end_of_its_body_and_is_kept_with_it() {
    let kit = Kit::new(Idempotency::default());
    let head = headers(&[("content-type", "application/grpc-web+proto")]);
    for (code, evidence, is_kept) in [
        ("0", Evidence::Succeeded, true),
        ("3", Evidence::Failed, true),
        ("8", Evidence::NotExecuted, false),
        ("14", Evidence::Ambiguous, false),
    ] {
        let trailers = format!("grpc-status:{code}\r\n");
        let body = [b"\0\0\0\0\x02ok\x80\0\0\0", &[trailers.len() as u8][..], trailers.as_bytes()].concat();
        let settled = settlement(&kit.protection, StatusCode::OK, &head, Some(body.clone().into()), None);
        assert_eq!(settled.evidence(), evidence, "{code}");
        let kept = match settled {
            Settlement::Response { retained: Retained::Stored(stored), .. } => Some(stored.body.clone()),
            _ => None,
        };
        assert_eq!(kept, is_kept.then(|| body.clone().into()), "{code}");
        let cut = settlement(&kit.protection, StatusCode::OK, &head, Some(Bytes::from(body).slice(..9)), None);
        assert_eq!(cut.evidence(), Evidence::Ambiguous, "what breaks off has no code");
    }
}

#[test]
fn what_is_not_grpc_or_is_refused_before_it_proves_by_its_http_status() {
    let kit = Kit::new(Idempotency::default());
    for (media_type, status, evidence) in [
        ("application/json", 201, Evidence::Succeeded),
        ("application/json", 422, Evidence::Failed),
        ("APPLICATION/GRPC", 429, Evidence::NotExecuted),
        ("application/grpc", 503, Evidence::Ambiguous),
    ] {
        let head = headers(&[("content-type", media_type), ("grpc-status", "13")]);
        let status = StatusCode::from_u16(status).unwrap();
        let settled = settlement(&kit.protection, status, &head, Some(Bytes::new()), None);
        assert_eq!(settled.evidence(), evidence, "{media_type} {status}");
    }
}

#[test]
fn a_grpc_failure_is_kept_as_it_was_told_and_a_success_with_messages_is_not() {
    let kit = Kit::new(Idempotency::default());
    let head = headers(&[("content-type", "application/grpc"), ("date", "then")]);
    let trailers = |code| headers(&[("grpc-status", code), ("grpc-message", "no"), ("grpc-status-details-bin", "Cg")]);
    let of =
        |code, body: Option<Bytes>| settlement(&kit.protection, StatusCode::OK, &head, body, Some(&trailers(code)));
    let Settlement::Response { status, code, retained: Retained::Stored(stored), .. } = of("5", None) else {
        panic!("kept")
    };
    assert_eq!((status, code, stored.status), (StatusCode::NOT_FOUND, Some(Code::NotFound), StatusCode::OK));
    let expected = [
        ("content-type", "application/grpc"),
        ("grpc-status", "5"),
        ("grpc-message", "no"),
        ("grpc-status-details-bin", "Cg"),
    ];
    assert_eq!((&stored.headers, &stored.body), (&headers(&expected), &Bytes::new()));
    for (body, is_kept) in [(None, false), (Some(Bytes::from_static(b"m")), false), (Some(Bytes::new()), true)] {
        let Settlement::Response { retained, .. } = of("0", body) else { panic!("settled") };
        assert_eq!(matches!(retained, Retained::Stored(_)), is_kept);
    }
}
