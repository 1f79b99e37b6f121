//! A keyed write: recorded before it is sent, executed whether or not its client stays, settled before it is answered.
//!
//! [`serve`] is the client's side: it reads the body, finds out whether the key is new, and waits for an answer. A new
//! write runs in a task of its own (`operation/execution.rs`), so that a client that leaves cancels nothing, and a timeout
//! ends the waiting but not the attempt.

mod answer;
mod owner;
pub(crate) mod recognise;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{Response, header};
use mainstay_policies::{
    evidence::{AttemptError, Cause, Sent},
    idempotency::{
        AnswerKind, Begin, Claim, Incoming, Key, KeyOwner, Protection, RecordedWith, Refusal, Standing, preferred_wait,
    },
    operation::{Provenance, State},
    path,
    problem::Problem,
};
use tokio::{sync::oneshot, time::Instant};

use self::answer::{refuse, respond_executed, respond_repeat};
use super::{heads, told::beginning};
use super::{routed::Routed, session::Session, unkeyed};
use crate::{
    attempts::{
        affinity,
        alarm::{self, TimeIsUp},
        attempt::Outbound,
        head::Head,
        run::Tally,
    },
    faults::{self, Point},
    listener::body::ClientBody,
    operation::{
        asker::StatusAsker,
        redispatch,
        write::{Executed, Execution},
    },
    respond::failure::Failure,
    wire::{
        body::{ProxyBody, budget::Held, collect},
        forward,
        turns::Turn,
    },
};

/// A freed key may be taken by another repeat before ours; each round loses to a request that makes progress.
const MAX_ROUNDS: usize = 8;

/// Serves a keyed write.
pub(crate) async fn serve(
    session: &Session,
    mut routed: Box<Routed>,
    protection: Arc<Protection>,
    key: Option<Key>,
) -> Response<ProxyBody> {
    routed.exchange.standing = Some(Standing::NO_RECORD);
    // Many that come at once do not keep a read waiting for all of them.
    Turn::default().take().await;
    let (body, held) = match read_body(session, &mut routed, &protection).await {
        Ok(read) => read,
        Err(failure) => return routed.refuse(failure),
    };
    let key = match key {
        Some(key) => key,
        None => match make_key(&routed, &protection, &body).await {
            Ok(Some(key)) => key,
            Ok(None) => {
                routed.read = body;
                routed.exchange.standing = None;
                forward::drop_expectation(&mut routed.parts.headers);
                return unkeyed::serve(session, routed).await;
            }
            Err(refusal) => return refuse(routed, refusal),
        },
    };
    let minted = key.is_minted().then(|| (protection.params().key.header.clone(), key.header_value()));
    let mut response = Box::pin(begin(session, routed, protection, &key, body, held.clone())).await;
    // Until it has been written.
    response.extensions_mut().insert(held);
    if let Some((name, value)) = minted {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The key of a write whose client sent none. `None`: there is nothing that it could be made of.
async fn make_key(routed: &Routed, protection: &Protection, body: &Bytes) -> Result<Option<Key>, Refusal> {
    let params = path_params(routed);
    let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let incoming = Incoming { parts: &routed.parts, principal: routed.principal.as_deref(), path_params: &params };
    protection.key(&incoming, body).await
}

fn path_params(routed: &Routed) -> Vec<(&str, String)> {
    path::params(&routed.outbound.route.params.matches.path, routed.parts.uri.path())
}

/// Reads the whole body: nothing is recorded or sent before it is here. With it comes the room for it and for its answer.
async fn read_body(
    session: &Session,
    routed: &mut Routed,
    protection: &Protection,
) -> Result<(Bytes, Arc<Held>), Failure> {
    let max = protection.params().max_body;
    let too_large = || {
        let detail = format!("Keyed writes on this route may have a body of at most {max} bytes. Nothing was sent.");
        Failure::Request(Problem::BodyTooLarge, Cow::Owned(detail))
    };
    let announced =
        routed.parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max as u64) {
        return Err(too_large());
    }
    let answer = protection.params().max_response;
    let length = match (&routed.body, announced) {
        (None, _) => 0,
        (Some(_), Some(length)) => usize::try_from(length).unwrap_or(max),
        (Some(_), None) => max,
    };
    let held = session.runtime.resources.bodies.hold(length.saturating_add(answer)).ok_or(Failure::NoMemory)?;
    let held = Arc::new(held);
    let Some(incoming) = routed.body.take() else { return Ok((Bytes::new(), held)) };
    let idle = routed.outbound.route.params.policy.timeout.idle;
    let body = ClientBody::new(incoming, idle, session.connection.clone(), None);
    // Bounded by its own silence and size: the time of the request begins when it is here.
    let read = alarm::unless_cut_off(collect::up_to(body, max)).await;
    routed.outbound.begins_late(routed.exchange.started.elapsed());
    match read {
        Ok(Ok(collect::Collected::Whole { body, .. })) => {
            held.shrink(body.len().saturating_add(answer));
            Ok((body, held))
        }
        Ok(Ok(collect::Collected::TooLarge { .. })) => Err(too_large()),
        Ok(Err(error)) => Err(Failure::Attempt(AttemptError::new(Cause::RequestBody, Sent::No).with_source(error))),
        Err(TimeIsUp) => Err(Failure::Draining),
    }
}

/// Asks the ledger what the key is, and does what follows.
async fn begin(
    session: &Session,
    mut routed: Box<Routed>,
    protection: Arc<Protection>,
    key: &Key,
    body: Bytes,
    held: Arc<Held>,
) -> Response<ProxyBody> {
    let route = routed.outbound.route.clone();
    let params = path::params(&route.params.matches.path, routed.parts.uri.path());
    let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if routed.exchange.is_told() {
        let hash = key.hash(routed.principal.as_deref(), &route.params.upstream.name);
        routed.exchange.told.key = Some(beginning(&hash.0));
    }
    faults::reach(Point::BeforeBegin);
    let fingerprint = fingerprint(&routed, &protection, &body).await;
    let beside = RecordedWith { fingerprint, ..recorded_with(session, &mut routed, &protection, key, &body) };
    let former = owner::former(&routed, &protection, &params, &body);
    let mut freed = None;
    for _ in 0..MAX_ROUNDS {
        let owner = KeyOwner { principal: routed.principal.as_deref(), former: &former };
        match protection.begin_keeping(key, owner, &routed.parts, &body, &params, beside.clone()).await {
            Begin::Execute(claim) => {
                faults::reach(Point::AfterBegin);
                route.metrics.operation_begun();
                let (answer, answered) = oneshot::channel();
                let mut execution = execution(session, &mut routed, (protection, claim), key, body, answer);
                execution.held = Some(held);
                let id = execution.claim.id();
                // Ends with the write's outcome, or when it is no longer waited for: no client can cancel it.
                tokio::spawn(execution.run());
                let executed = answered.await.unwrap_or_else(|_| Executed::lost(id));
                return respond_executed(routed, executed);
            }
            Begin::Refused(refusal) => return refuse(routed, refusal),
            Begin::Known(repeat) => {
                let asker = StatusAsker::new(session.runtime.clone(), routed.snapshot.clone(), session.worker);
                let wait = preferred_wait(&routed.parts.headers);
                let resolving_since = Instant::now();
                let before = repeat.operation.state;
                let operation = (repeat.operation.id, repeat.operation.state);
                let standing = Standing::of(&repeat.operation, protection.now());
                let resolving = protection.resolve_repeat(repeat, wait, Some(&asker));
                let Ok(answer) = alarm::unless_cut_off(Box::pin(resolving)).await else {
                    routed.exchange.operation = Some(operation);
                    routed.exchange.standing = Some(standing);
                    return routed.refuse(Failure::Draining);
                };
                if before == State::Unknown && answer.operation.state == State::Succeeded {
                    session.runtime.snapshot.load().forget(&route, routed.parts.uri.path());
                }
                if answer.kind == AnswerKind::Freed {
                    // It is sent as new, and has the time of a new one: what was waited for is not the service's.
                    routed.outbound.begins_late(resolving_since.elapsed());
                    freed = Some(answer.operation);
                } else {
                    routed.exchange.standing = Some(Standing::of(&answer.operation, protection.now()));
                    return respond_repeat(routed, answer);
                }
            }
        }
    }
    routed.exchange.standing = Some(Standing::IN_PROGRESS);
    let detail = Cow::Borrowed("Other requests with this key keep taking it. Repeat later with the same key.");
    let refusal = Refusal::new(Problem::InProgress, detail);
    refuse(routed, freed.iter().fold(refusal, Refusal::about))
}

/// What tells this request from another with its key, made in turns where its body is long.
async fn fingerprint(routed: &Routed, protection: &Protection, body: &Bytes) -> Option<[u8; 32]> {
    let mut begun = protection.fingerprinting(&routed.parts, body)?;
    let mut turn = Turn::default();
    while begun.step() {
        turn.take().await;
    }
    Some(begun.finish())
}

/// A new write, to be executed for a client that waits for `answer`.
fn execution(
    session: &Session,
    routed: &mut Routed,
    (protection, claim): (Arc<Protection>, Claim),
    key: &Key,
    body: Bytes,
    answer: oneshot::Sender<Executed>,
) -> Execution {
    let head = outgoing(session, routed, &protection, key, body.len());
    let affinity = affinity::of_write(&routed.outbound.route.upstream, claim.operation(), &head.headers);
    Execution {
        runtime: session.runtime.clone(),
        outbound: Outbound { affinity, ..routed.outbound.clone() },
        protection,
        claim,
        head,
        body,
        is_redispatch: false,
        given_up: None,
        last: Tally::default(),
        ended: Arc::default(),
        answer: Some(answer),
        held: None,
    }
}

/// What is recorded with the operation, should it be new.
fn recorded_with(
    session: &Session,
    routed: &mut Routed,
    protection: &Protection,
    key: &Key,
    body: &Bytes,
) -> RecordedWith {
    RecordedWith {
        request: protection.step_policy().redispatch.map(|_| {
            let headers = routed.parts.headers.clone();
            let head = outgoing(session, routed, protection, key, body.len());
            routed.parts.headers = headers;
            redispatch::stored(head, body.clone())
        }),
        origin: routed.exchange.trace().handle().origin(),
        provenance: Provenance {
            trace_id: Some(routed.exchange.trace().trace_id().0.to_be_bytes()),
            policy: routed.outbound.route.params.policy.name.clone(),
            listener: routed.listener.name.clone(),
            method: Some(routed.parts.method.clone()),
        },
        credentials: owner::credentials(&routed.listener.principal, protection, &routed.parts.headers),
        fingerprint: None,
    }
}

/// The request's head as the upstream is to see it, whichever attempt sends it.
fn outgoing(session: &Session, routed: &mut Routed, protection: &Protection, key: &Key, length: usize) -> Head {
    let mut head = heads::outgoing(session, routed, None);
    head.complete();
    forward::drop_expectation(&mut head.headers);
    forward::fix_length(&mut head.headers, length);
    // A minted or derived key, or one that the client tried to keep from the upstream: it must see what we rely on.
    let name = &protection.params().key.header;
    if !head.headers.contains_key(name) {
        head.headers.insert(name.clone(), key.header_value());
    }
    head
}
