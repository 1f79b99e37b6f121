//! What a client sends, in a form that can, or cannot, be sent again.

use bytes::Bytes;
use mainstay_policies::{body::Replay, retry::Stop};

use crate::{
    listener::body::{ClientBody, Owed},
    wire::{
        body::{ProxyBody, budget::Held},
        gate::Gate,
    },
};

/// A request body in a form that can, or cannot, be sent again.
pub(crate) enum Resend {
    Empty,
    /// It was read before it turned out not to be a keyed write's.
    Whole(Bytes),
    Once(Option<ProxyBody>),
    Replay(Replay<ClientBody>),
}

impl Resend {
    /// The body for the next attempt, if there can be one.
    pub(crate) fn take(&mut self) -> Option<ProxyBody> {
        match self {
            Self::Empty => Some(ProxyBody::Empty),
            Self::Whole(body) => Some(ProxyBody::from(body.clone())),
            Self::Once(body) => body.take(),
            Self::Replay(body) => body.attempt().map(ProxyBody::stream),
        }
    }

    pub(crate) fn can_repeat(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(_) => true,
            Self::Once(body) => body.is_some(),
            Self::Replay(body) => body.replayable(),
        }
    }
}

/// What the client sends, and what is known of its sending.
pub(crate) struct Sending {
    pub(crate) body: Resend,
    pub(crate) owed: Option<Owed>,
    pub(crate) gate: Option<Gate>,
    /// Whether a copy of the body may be kept.
    pub(crate) copy: KeptCopy,
}

/// Whether what is sent may be kept to be sent again.
#[derive(Debug)]
pub(crate) enum KeptCopy {
    /// Nobody asked.
    Unasked,
    /// In this room.
    Kept { _held: Held },
    /// There was no room.
    NoMemory,
}

impl Sending {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self { body: Resend::Empty, owed: None, gate: None, copy: KeptCopy::Unasked }
    }

    /// Why it cannot be sent again.
    pub(crate) const fn not_kept(&self) -> Stop {
        match self.copy {
            KeptCopy::NoMemory => Stop::Memory,
            KeptCopy::Unasked | KeptCopy::Kept { .. } => Stop::Body,
        }
    }

    /// Whether the client has not sent all of it, although it was waited for.
    pub(crate) fn is_owed(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.is_waited_for() || owed.is_broken())
    }
}
