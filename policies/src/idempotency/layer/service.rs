//! The service behind [`IdempotencyLayer`](super::IdempotencyLayer).

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use tower_service::Service;

use super::{
    replies::{PREFERENCE_APPLIED, Replies, json_response, replay, stand},
    reply_body::{Collected, ReplyBody, collect},
};
use crate::{
    caller::Principal,
    evidence::{AttemptError, Sent},
    idempotency::{
        AnswerKind, Begin, Claim, Incoming, Key, KeyOwner, Protection, Recognised, RecordedWith, Refusal, Settlement,
        Standing, outcome, preferred_wait,
    },
    operation::{Source, State},
    problem::Problem,
};

/// Any error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How often a repeat begins anew when the key keeps being freed by others, before it is told that one is in progress.
const MAX_BEGINS: usize = 4;

/// Makes keyed writes to the inner service safe to repeat; made by [`IdempotencyLayer`](super::IdempotencyLayer).
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    protection: Arc<Protection>,
    replies: Replies,
}

impl<S> IdempotencyService<S> {
    pub(super) const fn new(inner: S, protection: Arc<Protection>, prefix: Arc<str>) -> Self {
        Self { inner, protection, replies: Replies { prefix } }
    }
}

impl<S, B, R> Service<Request<B>> for IdempotencyService<S>
where
    S: Service<Request<Either<B, Full<Bytes>>>, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ReplyBody<R>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The instance that was made ready is the one to be called.
        let unready = self.clone();
        let ready = mem::replace(self, unready);
        Box::pin(ready.run(request))
    }
}

impl<S> IdempotencyService<S> {
    async fn run<B, R>(mut self, request: Request<B>) -> Result<Response<ReplyBody<R>>, BoxError>
    where
        S: Service<Request<Either<B, Full<Bytes>>>, Response = Response<R>, Future: Send> + Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let principal = parts.extensions.get::<Principal>().map(|principal| principal.0.clone());
        let incoming = Incoming { parts: &parts, principal: principal.as_deref(), path_params: &[] };
        let key = match self.protection.recognise(&incoming) {
            Ok(Recognised::Keyed(key)) => Some(key),
            Ok(Recognised::Unnamed) => None,
            Ok(Recognised::Unprotected) => {
                let request = Request::from_parts(parts, Either::Left(body));
                let response = self.inner.call(request).await.map_err(Into::into)?;
                return Ok(response.map(ReplyBody::streamed));
            }
            Err(refusal) => return Ok(stand(Standing::NO_RECORD, self.replies.refuse(&refusal))),
        };
        let key_header = self.protection.params().key.header.clone();
        let body = match read_body(body, self.protection.params().max_body).await {
            Err(refusal) => return Ok(stand(Standing::NO_RECORD, self.replies.refuse(&refusal))),
            Ok(body) => body,
        };
        let key = match key {
            Some(key) => key,
            None => match self.protection.key(&incoming, &body).await {
                Err(refusal) => return Ok(stand(Standing::NO_RECORD, self.replies.refuse(&refusal))),
                Ok(Some(key)) => key,
                Ok(None) => {
                    let request = Request::from_parts(parts, Either::Right(Full::new(body)));
                    let response = self.inner.call(request).await.map_err(Into::into)?;
                    return Ok(response.map(ReplyBody::streamed));
                }
            },
        };
        let mut response = self.keyed(&key, principal.as_deref(), parts, body).await?;
        if key.is_minted() {
            response.headers_mut().insert(key_header, key.header_value());
        }
        Ok(response)
    }

    async fn keyed<B, R>(
        self,
        key: &Key,
        principal: Option<&[u8]>,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<ReplyBody<R>>, BoxError>
    where
        S: Service<Request<Either<B, Full<Bytes>>>, Response = Response<R>, Future: Send> + Send + 'static,
        S::Error: Into<BoxError>,
        B: Send + 'static,
        R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut in_progress = None;
        // A program that names its callers has said who they are; any other knows them by what they send.
        let credentials = if principal.is_none() { self.protection.credentials(&parts.headers) } else { None };
        let with = RecordedWith { credentials, ..RecordedWith::default() };
        for _ in 0..MAX_BEGINS {
            let begun =
                self.protection.begin_keeping(key, KeyOwner::of(principal), &parts, &body, &[], with.clone()).await;
            let repeat = match begun {
                Begin::Execute(claim) => {
                    let request = Request::from_parts(parts, Either::Right(Full::new(body)));
                    let (id, replies) = (claim.id(), self.replies.clone());
                    // A task of its own: the write goes on, and is settled, when its caller leaves.
                    let execution = tokio::spawn(self.execute(claim, request)).await;
                    // Only a panic of the inner service ends it otherwise; the dropped claim has recorded it.
                    return execution.unwrap_or_else(|_| Ok(stand(Standing::LOST, replies.outcome_unknown(id))));
                }
                Begin::Known(repeat) => repeat,
                Begin::Refused(refusal) => return Ok(stand(Standing::NO_RECORD, self.replies.refuse(&refusal))),
            };
            let answer = self.protection.resolve_repeat(repeat, preferred_wait(&parts.headers), None).await;
            let id = answer.operation.id;
            let mut response = match answer.kind {
                AnswerKind::Replay(stored) => replay(&stored),
                AnswerKind::Resolved(resolved) => json_response(resolved.status, resolved.body.into_bytes().into()),
                AnswerKind::Document => self.replies.document(&answer.operation),
                AnswerKind::SeeOther => self.replies.see_other(id),
                AnswerKind::Refused(refusal) => self.replies.refuse(&refusal),
                AnswerKind::Freed => {
                    in_progress = Some(id);
                    continue;
                }
            };
            if let Some(wait) = answer.preference_applied {
                let applied = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
                response.headers_mut().extend(applied.ok().map(|applied| (PREFERENCE_APPLIED, applied)));
            }
            let standing = Standing::of(&answer.operation, self.protection.now());
            return Ok(stand(standing, self.replies.about(id, response)));
        }
        let mut refusal = Refusal::new(Problem::InProgress, "Others are trying this write. Repeat with the same key.");
        refusal.operation = in_progress;
        Ok(stand(Standing::IN_PROGRESS, self.replies.refuse(&refusal)))
    }

    async fn execute<B, R>(
        mut self,
        mut claim: Claim,
        request: Request<Either<B, Full<Bytes>>>,
    ) -> Result<Response<ReplyBody<R>>, BoxError>
    where
        S: Service<Request<Either<B, Full<Bytes>>>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let id = claim.id();
        if claim.dispatched().await.is_err() {
            if !claim.operation().state.is_terminal() {
                // If this is not taken either, the operation ends as unknown, which is safe.
                let _ = claim.settle(Settlement::NotExecuted { reason: "ledger_unavailable" }, Source::Response).await;
            }
            let refusal = Refusal::new(Problem::LedgerUnavailable, "The ledger cannot take writes. Nothing was sent.");
            let standing = self.standing(&claim);
            return Ok(stand(standing, self.replies.about(id, self.replies.refuse(&refusal))));
        }
        let answer = self.inner.call(request).await.map_err(Into::into);
        let response = match answer {
            Ok(response) => response,
            Err(error) => return failed(&self.replies, claim, error).await,
        };
        let (parts, body) = response.into_parts();
        let max_response = self.protection.params().max_response;
        let (body, kept) = match collect(&parts.headers, body, max_response).await {
            Collected::Whole(body, kept) => (body, Some(kept)),
            Collected::TooLarge(body) => (body, None),
            Collected::Broken(error) => return failed(&self.replies, claim, error).await,
        };
        let settlement = self.protection.settlement(parts.status, &parts.headers, kept);
        let says = settlement.evidence();
        let settled = claim.settle(settlement, Source::Response).await;
        // An answer that is not recorded must not reach the caller, who would rely on its replay.
        let is_recorded = settled.is_ok_and(|operation| outcome::may_pass(operation, parts.status, says));
        if !is_recorded {
            return Ok(stand(Standing::LOST, self.replies.outcome_unknown(id)));
        }
        let standing = self.standing(&claim);
        Ok(stand(standing, self.replies.about(id, Response::from_parts(parts, body))))
    }

    /// How the write of `claim` stands.
    fn standing(&self, claim: &Claim) -> Standing {
        Standing::of(claim.operation(), self.protection.now())
    }
}

/// The inner service brought back no complete answer.
async fn failed<R>(replies: &Replies, mut claim: Claim, error: BoxError) -> Result<Response<ReplyBody<R>>, BoxError> {
    let id = claim.id();
    let attempt = error.downcast_ref::<AttemptError>();
    let reason = attempt.map_or("service_error", |error| error.cause.label());
    let is_unsent = attempt.is_some_and(|error| error.sent == Sent::No);
    let settlement = if is_unsent {
        Settlement::NotExecuted { reason }
    } else {
        Settlement::Ambiguous { reason, status: None, stored: None }
    };
    match claim.settle(settlement, Source::Response).await {
        Ok(operation) if operation.state == State::NotExecuted => Err(error),
        _ => Ok(stand(Standing::LOST, replies.outcome_unknown(id))),
    }
}

async fn read_body<B>(body: B, max_body: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let collected = Limited::new(body, max_body).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            let detail = format!("A keyed write may have {max_body} bytes here. Nothing was sent.");
            Refusal::new(Problem::BodyTooLarge, detail)
        } else {
            Refusal::new(Problem::BadRequest, "The request's body ended before it was complete. Nothing was sent.")
        }
    })
}

#[cfg(test)]
mod tests;
