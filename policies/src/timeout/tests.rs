use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, Full, channel::Channel};
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_smaller_deadline_counts_and_malformed_ones_do_not() {
    for (lines, expected) in [
        (&[][..], None),
        (&[("mainstay-deadline-ms", "250")], Some(Duration::from_millis(250))),
        (&[("mainstay-deadline-ms", "0")], Some(Duration::ZERO)),
        (&[("mainstay-deadline-ms", "250"), ("grpc-timeout", "1S")], Some(Duration::from_millis(250))),
        (&[("mainstay-deadline-ms", "2500"), ("grpc-timeout", "1S")], Some(SECOND)),
        (&[("mainstay-deadline-ms", "2500"), ("mainstay-deadline-ms", "90")], Some(Duration::from_millis(90))),
        (&[("mainstay-deadline-ms", "-5")], None),
        (&[("mainstay-deadline-ms", "+5")], None),
        (&[("mainstay-deadline-ms", "1.5")], None),
        (&[("mainstay-deadline-ms", "")], None),
        (&[("mainstay-deadline-ms", "soon"), ("grpc-timeout", "20m")], Some(Duration::from_millis(20))),
        (&[("mainstay-deadline-ms", "99999999999999999999999")], None),
        (&[("grpc-timeout", "2H")], Some(7200 * SECOND)),
        (&[("grpc-timeout", "3M")], Some(180 * SECOND)),
        (&[("grpc-timeout", "5u")], Some(Duration::from_micros(5))),
        (&[("grpc-timeout", "99999999n")], Some(Duration::from_nanos(99_999_999))),
        (&[("grpc-timeout", "100000000n")], None),
        (&[("grpc-timeout", "5")], None),
        (&[("grpc-timeout", "S")], None),
        (&[("grpc-timeout", "5s")], None),
        (&[("grpc-timeout", "")], None),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(deadline_from_headers(&headers), expected, "{lines:?}");
    }
}

#[test]
fn deadlines_are_written_rounded_down_in_at_most_eight_digits() {
    for (remaining, ms, grpc) in [
        (Duration::ZERO, "0", "1n"),
        (Duration::from_nanos(1_999_999), "1", "1999999n"),
        (Duration::from_millis(600), "600", "600000u"),
        (99 * SECOND, "99000", "99000000u"),
        (100 * SECOND, "100000", "100000m"),
        (Duration::from_hours(48), "172800000", "172800S"),
        (Duration::MAX, "18446744073709551615", "99999999H"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("mainstay-deadline-ms", HeaderValue::from_static("7"));
        set_deadline_headers(&mut headers, remaining, None);
        assert_eq!(headers["mainstay-deadline-ms"], ms, "{remaining:?}");
        assert!(!headers.contains_key("grpc-timeout"));
        set_deadline_headers(&mut headers, remaining, Some(remaining));
        assert_eq!(headers["grpc-timeout"], grpc, "{remaining:?}");
        assert_eq!(headers.get_all("mainstay-deadline-ms").iter().count(), 1);
    }
}

proptest! {
    /// What is written is read again as never longer, and as at most a thousandth or a millisecond shorter.
    #[test]
    fn a_deadline_that_travels_is_never_longer(seconds in 0_u64..100_000, nanos in 0_u32..1_000_000_000, grpc in any::<bool>()) {
        let remaining = Duration::new(seconds, nanos).max(Duration::from_nanos(1));
        let mut headers = HeaderMap::new();
        set_deadline_headers(&mut headers, remaining, grpc.then_some(remaining));
        let read = deadline_from_headers(&headers).unwrap();
        prop_assert!(read <= remaining, "{remaining:?} became {read:?}");
        prop_assert!(read + Duration::from_millis(1) + remaining / 1000 > remaining, "{remaining:?} became {read:?}");
        if grpc {
            headers.remove("mainstay-deadline-ms");
            let read = deadline_from_headers(&headers).unwrap();
            prop_assert!(read <= remaining && read + Duration::from_millis(1) > remaining, "{remaining:?} became {read:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_body_fails_after_the_idle_time() {
    let (_sender, body) = Channel::<Bytes, Infallible>::new(1);
    let mut body = IdleBody::new(body, SECOND);
    let began = Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(error.is::<IdleTimeout>());
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_frame_restarts_the_idle_time() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let mut body = IdleBody::new(body, SECOND);
    let began = Instant::now();
    let feed = async {
        for _ in 0..5 {
            tokio::time::sleep(SECOND * 9 / 10).await;
            sender.send(Frame::data(Bytes::from_static(b"x"))).await.unwrap();
        }
        tokio::time::sleep(10 * SECOND).await;
    };
    let read = async {
        for _ in 0..5 {
            body.frame().await.unwrap().unwrap();
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(error.is::<IdleTimeout>());
        assert_eq!(began.elapsed(), SECOND * 55 / 10);
    };
    tokio::join!(feed, read);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_silent_body() {
    let mut body = IdleBody::new(Full::new(Bytes::from_static(b"data")), SECOND);
    advance(10 * SECOND).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
}

#[test]
fn a_calls_own_deadline_is_the_smallest_that_can_be_read() {
    for (values, expected) in
        [(&["1S"][..], Some(SECOND)), (&["2S", "soon", "900m"], Some(SECOND * 9 / 10)), (&["soon"], None), (&[], None)]
    {
        let mut headers = HeaderMap::new();
        headers.insert("mainstay-deadline-ms", HeaderValue::from_static("7"));
        for value in values {
            headers.append("grpc-timeout", HeaderValue::from_static(value));
        }
        assert_eq!(grpc_timeout_from_headers(&headers), expected, "{values:?}");
    }
}

mod layered {
    use http::{Request, Response};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;
    use crate::{
        body::BoxError,
        evidence::{AttemptError, Cause, Sent},
    };

    #[tokio::test(start_paused = true)]
    async fn the_layers_end_a_call_at_the_earlier_of_both_bounds_and_claim_nothing() {
        for (attempt, cause, after) in [
            (None, Cause::TotalTimeout, 3 * SECOND),
            (Some(SECOND), Cause::AttemptTimeout, SECOND),
            (Some(4 * SECOND), Cause::TotalTimeout, 3 * SECOND),
        ] {
            let params = Timeout { total: 3 * SECOND, attempt, ..Timeout::default() };
            let service = ServiceBuilder::new()
                .layer(TotalTimeoutLayer::new(params.clone()))
                .layer(AttemptTimeoutLayer::new(params))
                .service(service_fn(|_: Request<()>| {
                    std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
                }));
            let began = Instant::now();
            let error = service.oneshot(Request::new(())).await.unwrap_err();
            let error = error.downcast_ref::<AttemptError>().unwrap();
            assert_eq!((error.cause, error.sent, began.elapsed()), (cause, Sent::Maybe, after));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_grpc_call_keeps_its_own_deadline_and_gets_none_that_it_has_not() {
        for (media_type, given, passed, after) in [
            ("application/grpc", Some("1S"), true, SECOND),
            ("application/grpc", Some("60S"), true, 3 * SECOND),
            ("application/grpc", None, false, 3 * SECOND),
            ("application/json", Some("1S"), true, 3 * SECOND),
        ] {
            let service = service_fn(move |request: Request<()>| async move {
                assert_eq!(request.headers().contains_key("grpc-timeout"), passed);
                std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>().await
            });
            let layer = TotalTimeoutLayer::new(Timeout { total: 3 * SECOND, ..Timeout::default() });
            let service = ServiceBuilder::new().layer(layer).service(service);
            let mut request = Request::new(());
            request.headers_mut().insert("content-type", HeaderValue::from_static(media_type));
            request
                .headers_mut()
                .extend(given.map(|given| (HeaderName::from_static("grpc-timeout"), HeaderValue::from_static(given))));
            let began = Instant::now();
            service.oneshot(request).await.unwrap_err();
            assert_eq!(began.elapsed(), after, "{media_type} {given:?}");
        }
    }
}
