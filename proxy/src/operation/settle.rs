//! A response to a keyed write: read, settled, then handed to the client.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use mainstay_policies::{
    evidence::Cause,
    grpc::Dialect,
    idempotency::{
        MAINSTAY_OUTCOME, Settlement, WriteOutcome, outcome,
        proof::{Testimony, is_grpc, media_type_starts},
    },
    operation::Source,
    timeout::IdleBody,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    gathered::{Gathered, Kept},
    late,
    write::Execution,
};
use crate::{
    attempts::{
        alarm::{self, TimeIsUp},
        attempt::ended_by,
        first_frame::{First, Resumed},
    },
    respond::{self, ProblemContext},
    upstream::UpstreamBody,
    wire::body::{BoxError, ProxyBody},
};

/// Frames between the upstream and a client that reads more slowly.
const FRAMES_AHEAD: usize = 16;

/// Settles what the response proves, before its last byte reaches the client.
pub(super) async fn response(execution: &mut Execution, response: Response<UpstreamBody>, first: First, attempts: u32) {
    let (head, body) = response.into_parts();
    execution.forget_named(&head);
    let idle = execution.outbound.route.params.policy.timeout.idle;
    let max = execution.protection.params().max_response;
    let body = Resumed::new(first, IdleBody::new(body, idle));
    // Whatever its form, there is nothing to stream.
    let is_over = body.is_end_stream();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return broken(execution, &head, attempts).await;
    }
    let form = Form::of(&head.headers, max);
    let mut gathered = Gathered::new(body, max);
    // Polled at least once: what is there already is not held back, and not streamed either.
    let until = form.held_back_until(execution.outbound.ends_at(Instant::now()));
    let ended = { alarm::until(until, pin!(gathered.gather())).await };
    match ended {
        Ok(Err(_)) => broken(execution, &head, attempts).await,
        Err(TimeIsUp) if form == Form::Document || alarm::is_cut_off() => {
            // What is held back until it is whole is bounded as the head is: the client has neither.
            let reason = ended_by(Cause::TotalTimeout).label();
            execution.in_doubt(reason, Some(head.status), StatusCode::GATEWAY_TIMEOUT, attempts).await;
            late::rest(execution, &head, gathered).await;
        }
        Ok(Ok(())) if gathered.is_whole && gathered.trailers.is_none() && (is_over || form != Form::Stream) => {
            whole(execution, head, gathered.joined(), attempts).await;
        }
        // A trailer section can only be passed on by streaming.
        Ok(Ok(())) | Err(TimeIsUp) => stream(execution, head, gathered, form, attempts).await,
    }
}

/// How long an answer is waited for before what has come of it is passed on. One that is there as a whole can still be replaced,
/// should the ledger not take its outcome; a client that is shown progress must not be kept from it for longer than it takes
/// to see.
const MOMENT: Duration = Duration::from_millis(50);

/// How the body of an answer comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All at once: its length is announced.
    Document,
    /// Nobody knows: it is passed on as it comes once it has not come at once.
    Open,
    /// Line by line, or record by record: passed on as it comes, and kept all the same if it turns out small.
    Lines,
    /// For as long as there is something to say, or so much that it will not be kept.
    Stream,
}

impl Form {
    fn of(headers: &HeaderMap, max: usize) -> Self {
        const STREAM: &[u8] = b"text/event-stream";
        const LINES: [&[u8]; 6] = [
            b"application/x-ndjson",
            b"application/ndjson",
            b"application/jsonl",
            b"application/json-seq",
            b"application/connect+",
            b"text/plain",
        ];
        let begins_with = |prefix: &&[u8]| media_type_starts(headers, prefix);
        // Of gRPC-Web most answers are one message and their code, which stands behind it in the body: like any other document.
        let is_stream = begins_with(&STREAM) || Dialect::of(headers) == Some(Dialect::Native);
        if is_stream || announced_length(headers).is_some_and(|length| length > max as u64) {
            Self::Stream
        } else if LINES.iter().any(begins_with) || headers.contains_key(header::TRAILER) {
            Self::Lines
        } else if announced_length(headers).is_some() {
            Self::Document
        } else {
            Self::Open
        }
    }

    /// Until when it is waited for before what has come of it is passed on; at most until `deadline`.
    fn held_back_until(self, deadline: Instant) -> Instant {
        let now = Instant::now();
        match self {
            Self::Document => deadline,
            Self::Open => deadline.min(now + MOMENT),
            Self::Lines | Self::Stream => now,
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The end of a streamed answer that must not end as the service ended it. A gRPC client is told why, as it was promised a code;
/// else the end is withheld, so the client cannot take the answer for a settled one.
fn untold(execution: &Execution, headers: &HeaderMap) -> Result<Frame<Bytes>, BoxError> {
    if !is_grpc(headers) {
        return Err("the outcome is not known".into());
    }
    let snapshot = execution.runtime.snapshot.load();
    let voice = ProblemContext { prefix: &snapshot.config.control.links, trace_id: None, operation: None, grpc: None };
    Ok(Frame::trailers(respond::grpc::trailers(&voice, execution.outcome_unknown(StatusCode::BAD_GATEWAY))))
}

/// The end of a gRPC answer says how the write stands: its head went out before anybody knew.
fn standing(frame: Frame<Bytes>, outcome: WriteOutcome) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers.insert(MAINSTAY_OUTCOME, outcome.value());
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The head of an answer of which no more than the status can be told. Of gRPC that proves nothing: its status is elsewhere.
pub(super) fn told_by(status: StatusCode, is_grpc: bool) -> Parts {
    let mut head = Response::new(());
    *head.status_mut() = status;
    if is_grpc {
        head.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    }
    head.into_parts().0
}

/// The head came and the body broke off: the service acted, and what it said is lost.
async fn broken(execution: &mut Execution, head: &Parts, attempts: u32) {
    execution.in_doubt("truncated", Some(head.status), StatusCode::BAD_GATEWAY, attempts).await;
}

async fn whole(execution: &mut Execution, head: Parts, body: Bytes, attempts: u32) {
    let to_grpc = execution.head.is_grpc();
    let testimony = Testimony { to_grpc, status: head.status, headers: &head.headers, trailers: None };
    let settlement = testimony.settlement(&execution.protection, Some(body.clone()));
    let meant = testimony.status_meant(Some(&body));
    let says = settlement.evidence();
    let recorded = execution.settle(settlement, Source::Response).await.is_some();
    let outcome = if recorded && outcome::may_pass(execution.claim.operation(), meant, says) {
        Ok(Response::from_parts(head, ProxyBody::from(body)))
    } else {
        Err(execution.outcome_unknown(StatusCode::BAD_GATEWAY))
    };
    execution.tell(outcome, attempts);
}

/// Hands the body on as it comes; its end waits until the operation is settled. Where the length was announced, its last byte
/// is the end, so the frame with it is held back; else the end is a mark of its own (the last chunk, `END_STREAM`). Reads on
/// even if the client leaves or takes nothing: the outcome is not the client's alone.
async fn stream<B>(execution: &mut Execution, head: Parts, mut gathered: Gathered<B>, form: Form, attempts: u32)
where
    B: Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let (sender, body) = mpsc::channel(FRAMES_AHEAD);
    let mut client = Client { sender: Some(sender), idle: execution.outbound.route.params.policy.timeout.idle };
    let (status, headers) = (head.status, head.headers.clone());
    execution.tell(Ok(Response::from_parts(head, ProxyBody::stream(Channel(body)))), attempts);
    let mut kept = Kept::new(if form == Form::Stream { 0 } else { execution.protection.params().max_response });
    let mut left = announced_length(&headers);
    let mut end: Vec<Frame<Bytes>> = Vec::new();
    let mut first = gathered.pieces.drain(..).map(Frame::data).chain(gathered.trailers.take().map(Frame::trailers));
    let ended = loop {
        let frame = match first.next() {
            Some(frame) => Some(Ok(frame)),
            None if gathered.is_whole => None,
            None => match alarm::unless_cut_off(gathered.rest.frame()).await {
                Ok(frame) => frame,
                Err(TimeIsUp) => Some(Err("this proxy ends".into())),
            },
        };
        match frame {
            // HTTP/2 may mark the end by a frame without data.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    kept.add(data);
                    left = left.map(|left| left.saturating_sub(data.len() as u64));
                }
                if left == Some(0) || frame.is_trailers() {
                    end.push(frame);
                } else {
                    client.send(Ok(frame)).await;
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    for frame in settle_end(execution, (status, &headers), kept, form, end, ended).await {
        client.send(frame).await;
    }
}

/// Settles what a streamed answer proved, and says what of it the client is still to get.
async fn settle_end(
    execution: &mut Execution,
    (status, headers): (StatusCode, &HeaderMap),
    mut kept: Kept,
    form: Form,
    end: Vec<Frame<Bytes>>,
    ended: Result<(), BoxError>,
) -> Vec<Result<Frame<Bytes>, BoxError>> {
    if let Err(error) = ended {
        let reason = if alarm::is_cut_off() { Cause::Drain.label() } else { "truncated" };
        let settlement = Settlement::Ambiguous { reason, status: Some(status), stored: None };
        execution.settle(settlement, Source::Response).await;
        return vec![if is_grpc(headers) { untold(execution, headers) } else { Err(error) }];
    }
    let trailers = end.iter().find_map(Frame::trailers_ref);
    // What has trailers cannot be replayed with them.
    let body = kept.take().filter(|_| form != Form::Stream && trailers.is_none());
    let testimony = Testimony { to_grpc: execution.head.is_grpc(), status, headers, trailers };
    let meant = testimony.status_meant(body.as_deref());
    let settlement = testimony.settlement(&execution.protection, body);
    let says = settlement.evidence();
    let recorded = execution.settle(settlement, Source::Response).await.is_some();
    if !recorded || !outcome::may_pass(execution.claim.operation(), meant, says) {
        return vec![untold(execution, headers)];
    }
    let (outcome, is_grpc) = (WriteOutcome::of(execution.claim.operation()), is_grpc(headers));
    end.into_iter().map(|frame| Ok(if is_grpc { standing(frame, outcome) } else { frame })).collect()
}

/// Where a streamed answer goes, as long as somebody takes it.
struct Client {
    sender: Option<mpsc::Sender<Result<Frame<Bytes>, BoxError>>>,
    idle: Duration,
}

impl Client {
    /// Sends a frame, unless the client has left or takes nothing for as long as a body may be silent.
    async fn send(&mut self, frame: Result<Frame<Bytes>, BoxError>) {
        if let Some(sender) = &self.sender
            && !matches!(timeout(self.idle, sender.send(frame)).await, Ok(Ok(())))
        {
            self.sender = None;
        }
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
