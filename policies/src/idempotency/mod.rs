//! The `idempotency` policy: a keyed write is executed at most once, and its outcome can always be read.
//!
//! A [`Protection`] stands for one route. It [recognises](Protection::recognise) a keyed write, [records](Protection::begin)
//! it before it is sent, and hands out the one [`Claim`] under which it is executed and [settled](Claim::settle). Repeats
//! get the [`Answer`] that the operation's state allows. What a response proves is decided in [`outcome`], what may
//! become of an operation in [`step`](crate::operation::step).
//!
//! The key follows draft-ietf-httpapi-idempotency-key-header-07. Unlike a service with a transaction of its own, a proxy
//! cannot know whether a write that brought back no answer happened: it records that, and repeats nothing.

mod answer;
mod canonical_json;
mod claim;
mod fingerprint;
mod key;
mod layer;
mod owner;
mod params;
mod prefer;
mod protection;
mod recognise;
mod refusal;
mod repeat;
mod settlement;
mod standing;

#[cfg(test)]
mod test_kit;

pub mod outcome;
pub mod proof;
pub mod replay;
pub mod rules;
pub mod status;

pub use self::{
    answer::{Answer, AnswerKind, answer},
    claim::Claim,
    fingerprint::{Fingerprinter, Fingerprinting, STEP_BYTES, credentials},
    key::{
        IdKind, IdMint, Incoming, Key, KeyError, KeyFrom, KeyPart, KeyRead, KeySource, KeySyntax, KeyTemplate,
        MAX_KEY_OCTETS, Mint, NODES, TemplateError, Underivable,
    },
    layer::{IdempotencyLayer, IdempotencyService, ReplyBody},
    owner::{FormerOwner, KeyOwner},
    params::*,
    prefer::preferred_wait,
    protection::{Begin, Protection, RecordedWith, Repeat, principal_hash},
    recognise::Recognised,
    refusal::Refusal,
    repeat::MAX_PREFER_WAIT,
    rules::{JsonCondition, JsonExpect, ResponseStatus, Rule},
    settlement::{Settlement, response_reason},
    standing::{MAINSTAY_OUTCOME, Standing, WriteOutcome, until_due},
    status::{self as query, Asker, QueryGate, target as template},
};
pub use crate::{
    caller::Principal,
    evidence::Verdict,
    operation::{Applied, QuerySchedule, Redispatch},
    path::normalise as normalise_path,
};
