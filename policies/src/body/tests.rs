use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use proptest::prelude::*;

use super::*;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])
}

fn frames(pieces: Vec<Vec<u8>>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    let data = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece))));
    StreamBody::new(futures_util::stream::iter(data.chain([Ok(Frame::trailers(trailers()))])))
}

#[tokio::test]
async fn an_attempt_streams_before_the_body_is_complete() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    let replay = Replay::new(body, 1024);
    let mut attempt = replay.attempt().unwrap();
    sender.send(Frame::data(Bytes::from_static(b"ping"))).await.unwrap();
    assert_eq!(attempt.frame().await.unwrap().unwrap().into_data().unwrap(), "ping");
}

#[tokio::test]
async fn a_body_over_the_bound_streams_through_but_is_not_replayable() {
    let replay = Replay::new(frames(vec![vec![1; 600], vec![2; 600]]), 1000);
    let mut attempt = replay.attempt().unwrap();
    attempt.frame().await.unwrap().unwrap();
    assert!(replay.replayable(), "600 bytes fit");
    let rest = attempt.collect().await.unwrap();
    assert_eq!(rest.to_bytes().len(), 600);
    assert!(!replay.replayable());
    assert!(replay.attempt().is_none());
}

#[tokio::test]
async fn a_large_body_that_was_never_read_can_be_sent_again() {
    let replay = Replay::new(Full::new(Bytes::from(vec![0; 5000])), 10);
    drop(replay.attempt().unwrap());
    let attempt = replay.attempt().unwrap();
    assert_eq!(attempt.size_hint().exact(), Some(5000));
    assert_eq!(attempt.collect().await.unwrap().to_bytes().len(), 5000);
    assert!(!replay.replayable());
}

#[tokio::test]
async fn an_attempt_that_lives_on_fails_and_steals_nothing() {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    let replay = Replay::new(body, 1024);
    let mut first = replay.attempt().unwrap();
    let waiting = tokio::spawn(async move { first.frame().await.unwrap().unwrap_err() });
    tokio::task::yield_now().await;
    let second = replay.attempt().unwrap();
    let error = waiting.await.unwrap();
    assert!(error.is::<Superseded>(), "woken, and told");
    sender.send(Frame::data(Bytes::from_static(b"whole"))).await.unwrap();
    drop(sender);
    assert_eq!(second.collect().await.unwrap().to_bytes(), "whole");
}

#[tokio::test]
async fn a_failed_body_is_not_replayable() {
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(4);
    let replay = Replay::new(body, 1024);
    sender.send(Frame::data(Bytes::from_static(b"half"))).await.unwrap();
    sender.abort(std::io::Error::other("gone"));
    let mut attempt = replay.attempt().unwrap();
    while let Some(frame) = attempt.frame().await {
        if frame.is_err() {
            break;
        }
    }
    assert!(!replay.replayable());
}

#[tokio::test]
async fn an_empty_body_is_at_its_end_at_once() {
    let replay = Replay::new(Full::new(Bytes::new()), 1024);
    let attempt = replay.attempt().unwrap();
    assert!(attempt.is_end_stream());
    assert_eq!(attempt.size_hint().exact(), Some(0));
}

proptest! {
    /// Wherever the first attempt stops, the second gives the same bytes and trailers.
    #[test]
    fn a_later_attempt_gives_the_whole_body(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..40),
        stops in prop::collection::vec(0_usize..45, 1..4),
    ) {
        let whole = pieces.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let replay = Replay::new(frames(pieces), 64 * 1024);
            for stop in stops {
                let mut attempt = replay.attempt().unwrap();
                let mut taken = Vec::new();
                for _ in 0..stop {
                    let Some(frame) = attempt.frame().await else { break };
                    if let Ok(data) = frame.unwrap().into_data() {
                        taken.extend_from_slice(&data);
                    }
                }
                assert!(whole.starts_with(&taken));
            }
            let collected = replay.attempt().unwrap().collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers()));
            assert_eq!(collected.to_bytes(), whole);
        });
    }
}
