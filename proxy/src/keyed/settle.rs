//! A response to a keyed write: read, settled, then handed to the client.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, response::Parts};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use mainstay_policies::{
    idempotency::{Settlement, outcome},
    operation::Source,
    timeout::IdleBody,
};
use tokio::sync::mpsc;

use super::{collect, execute::Execution};
use crate::{
    body::{BoxError, ProxyBody},
    upstream::UpstreamBody,
};

/// Frames between the upstream and a client that reads more slowly.
const FRAMES_AHEAD: usize = 16;

/// Settles what the response proves, before its last byte reaches the client.
pub(super) async fn response(execution: &mut Execution, response: Response<UpstreamBody>, attempts: u32) {
    let (head, body) = response.into_parts();
    let idle = execution.outbound.route.params.policy.timeout.idle;
    let max = execution.protection.params().max_response;
    let body = IdleBody::new(body, idle);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return broken(execution, &head, attempts).await;
    }
    if is_streamed(&head.headers, max) {
        return stream(execution, head, Vec::new(), body, attempts).await;
    }
    match collect::up_to(body, max).await {
        Ok(collect::Collected::Whole(body)) => whole(execution, head, body, attempts).await,
        Ok(collect::Collected::TooLarge { head: frames, rest }) => {
            stream(execution, head, frames, rest, attempts).await;
        }
        Err(_) => broken(execution, &head, attempts).await,
    }
}

/// Events, gRPC and bodies that are announced as too large are not worth holding back: they will not be kept. A trailer
/// section can only be passed on by streaming.
fn is_streamed(headers: &HeaderMap, max: usize) -> bool {
    let media =
        headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase()).unwrap_or_default();
    media.starts_with(b"text/event-stream")
        || media.starts_with(b"application/grpc")
        || headers.contains_key(header::TRAILER)
        || announced_length(headers).is_some_and(|length| length > max as u64)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The head came and the body broke off: the service acted, and what it said is lost.
async fn broken(execution: &mut Execution, head: &Parts, attempts: u32) {
    execution.in_doubt("truncated", Some(head.status), StatusCode::BAD_GATEWAY, attempts).await;
}

async fn whole(execution: &mut Execution, head: Parts, body: Bytes, attempts: u32) {
    let settlement = execution.protection.settlement(head.status, &head.headers, Some(body.clone()));
    let outcome = match execution.settle(settlement, Source::Response).await {
        // Earlier attempts may say otherwise than this answer does.
        Ok(_) if !outcome::may_pass(execution.claim.operation(), head.status) => {
            Err(execution.outcome_unknown(StatusCode::BAD_GATEWAY))
        }
        Ok(_) => Ok(Response::from_parts(head, ProxyBody::from(body))),
        Err(failure) => Err(failure),
    };
    execution.tell(outcome, attempts);
}

/// Hands the body on as it comes; its end waits until the operation is settled. Where the length was announced, its last byte
/// is the end, so the frame with it is held back; else the end is a mark of its own (the last chunk, `END_STREAM`). Reads on
/// even if the client leaves: the outcome is not the client's alone.
async fn stream<B>(execution: &mut Execution, head: Parts, first: Vec<Frame<Bytes>>, mut rest: B, attempts: u32)
where
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let (frames, body) = mpsc::channel(FRAMES_AHEAD);
    let (status, headers) = (head.status, head.headers.clone());
    execution.tell(Ok(Response::from_parts(head, ProxyBody::stream(Channel(body)))), attempts);
    let mut left = announced_length(&headers);
    let mut end: Option<Frame<Bytes>> = None;
    let mut first = first.into_iter();
    let mut grpc_status = headers.get("grpc-status").cloned();
    let ended = loop {
        let frame = match first.next() {
            Some(frame) => Some(Ok(frame)),
            None => rest.frame().await,
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_ref().and_then(|trailers| trailers.get("grpc-status")) {
                    grpc_status = Some(status.clone());
                }
                left = left.map(|left| left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64)));
                if left == Some(0) || frame.is_trailers() {
                    end = Some(frame);
                } else {
                    // A client that has left takes no frames; the reading goes on.
                    let _ = frames.send(Ok(frame)).await;
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    let last = match ended {
        Ok(()) => {
            let code = grpc_status.and_then(|value| value.to_str().ok()?.parse().ok());
            let settlement = match code {
                Some(code) => grpc_settlement(execution, code, status, &headers),
                None => execution.protection.settlement(status, &headers, None),
            };
            match execution.settle(settlement, Source::Response).await {
                Ok(_) => end.map(Ok),
                // The end is withheld, so the client cannot take the answer for a settled one.
                Err(_) => Some(Err("the outcome could not be recorded".into())),
            }
        }
        Err(error) => {
            let settlement = Settlement::Ambiguous { reason: "truncated", status: Some(status), stored: None };
            let _ = execution.settle(settlement, Source::Response).await;
            Some(Err(error))
        }
    };
    if let Some(last) = last {
        let _ = frames.send(last).await;
    }
}

/// gRPC answers 200 whatever happened and tells the outcome in `grpc-status`. Codes by which a service says that it refused
/// are failures; the others (UNKNOWN, `DEADLINE_EXCEEDED`, ABORTED, INTERNAL, UNAVAILABLE, `DATA_LOSS`, CANCELLED) prove nothing.
fn grpc_settlement(execution: &Execution, code: u16, status: StatusCode, headers: &HeaderMap) -> Settlement {
    const OK: u16 = 0;
    // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED,
    // UNAUTHENTICATED
    const REFUSALS: [u16; 8] = [3, 5, 6, 7, 9, 11, 12, 16];
    if code == OK {
        execution.protection.settlement(status, headers, None)
    } else if REFUSALS.contains(&code) {
        execution.protection.settlement(StatusCode::UNPROCESSABLE_ENTITY, headers, None)
    } else {
        Settlement::Ambiguous { reason: "grpc_status", status: Some(status), stored: None }
    }
}

/// The client's end of a streamed answer.
struct Channel(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}
