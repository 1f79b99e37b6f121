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
mod key_template;
mod layer;
mod mint;
mod params;
mod prefer;
mod protection;
mod refusal;
mod replies;
mod reply_body;
mod resolving;
mod service;

#[cfg(test)]
mod test_kit;

pub mod outcome;
pub mod query;
pub mod replay;
pub mod rules;
pub mod template;

pub use crate::{
    caller::Principal,
    evidence::Verdict,
    operation::{QuerySchedule, Redispatch},
    path::normalise as normalise_path,
};
pub use answer::{Answer, AnswerKind, answer};
pub use claim::{Claim, Settlement};
pub use fingerprint::Fingerprinter;
pub use key::{Key, KeyError, KeyRead, MAX_KEY_OCTETS};
pub use key_template::{Incoming, KeyPart, KeyTemplate, TemplateError, Underivable};
pub use layer::IdempotencyLayer;
pub use mint::{IdKind, IdMint, NODES};
pub use params::*;
pub use prefer::preferred_wait;
pub use protection::{Begin, Beside, MAX_PREFER_WAIT, Protection, Recognised, Repeat, principal_hash};
pub use query::{Asker, QueryGate};
pub use refusal::{Refusal, until_due};
pub use reply_body::ReplyBody;
pub use resolving::Applied;
pub use service::IdempotencyService;
