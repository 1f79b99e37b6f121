use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{body::BoxError, circuit_breaker::Rejected};

#[test]
fn a_write_that_may_have_happened_has_no_fallback() {
    let fallback = Fallback { on: Reason::ALL.to_vec(), to: To::Answer(Answer::status(StatusCode::OK)) };
    for reason in Reason::ALL {
        for (method, sent, expected) in [
            (Method::GET, Sent::Maybe, true),
            (Method::HEAD, Sent::No, true),
            (Method::POST, Sent::No, true),
            (Method::POST, Sent::Maybe, false),
            (Method::PUT, Sent::Maybe, false),
            (Method::DELETE, Sent::Maybe, false),
        ] {
            assert_eq!(fallback.applies(reason, &method, sent), expected, "{reason:?} {method} {sent:?}");
        }
    }
}

#[test]
fn every_failure_but_the_callers_own_has_a_reason() {
    for (cause, reason) in [
        (Cause::Connect, Some(Reason::ServerError)),
        (Cause::Reset, Some(Reason::ServerError)),
        (Cause::AttemptTimeout, Some(Reason::Timeout)),
        (Cause::TotalTimeout, Some(Reason::Timeout)),
        (Cause::RequestBody, None),
    ] {
        assert_eq!(Reason::of_attempt(&AttemptError::new(cause, Sent::Maybe)), reason, "{cause:?}");
    }
}

#[tokio::test]
async fn the_layer_answers_what_it_may() {
    async fn call(method: Method, outcome: fn() -> Result<u16, BoxError>) -> Option<(u16, Option<String>)> {
        let answer = Answer { body: Bytes::from_static(b"[]"), ..Answer::status(StatusCode::OK) };
        let inner = service_fn(move |_: Request<()>| async move {
            let status = outcome()?;
            Ok::<_, BoxError>(Response::builder().status(status).body(Bytes::new()).unwrap())
        });
        let service = FallbackLayer::new(vec![Reason::CircuitOpen, Reason::ServerError], answer).layer(inner);
        let request = Request::builder().method(method).body(()).unwrap();
        let response = service.oneshot(request).await.ok()?;
        let reason = response.headers().get(MAINSTAY_FALLBACK).map(|value| value.to_str().unwrap().to_owned());
        Some((response.status().as_u16(), reason))
    }
    let open = || Err(Rejected { retry_after: Duration::from_secs(1) }.into());
    let reset = || Err(AttemptError::new(Cause::Reset, Sent::Maybe).into());
    assert_eq!(call(Method::GET, || Ok(503)).await, Some((200, Some("5xx".into()))));
    assert_eq!(call(Method::POST, || Ok(503)).await, Some((503, None)));
    assert_eq!(call(Method::GET, || Ok(404)).await, Some((404, None)));
    assert_eq!(call(Method::POST, open).await, Some((200, Some("circuit-open".into()))));
    assert_eq!(call(Method::GET, reset).await, Some((200, Some("5xx".into()))));
    assert_eq!(call(Method::POST, reset).await, None);
}
