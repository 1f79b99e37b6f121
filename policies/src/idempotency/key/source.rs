//! Where a key comes from.

use std::time::Duration;

use http::HeaderName;

use super::{mint::IdKind, template::KeyTemplate};

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySource {
    /// The header that carries it.
    pub header: HeaderName,
    /// Whether a bare value is accepted beside a structured-field String (RFC 9651).
    pub syntax: KeySyntax,
    /// How a key is made of the request where the client sends none.
    pub from: Option<KeyFrom>,
    /// Whether a request without a key is given one.
    pub mint: Mint,
}

/// How a key is made of the request where the client sends none. A key that the client sends always counts: it is how a
/// client says that what looks like a repeat is a write of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFrom {
    /// Of parts of the request.
    Template(KeyTemplate),
    /// Of the whole content: the same content from the same principal is a repeat.
    Content {
        /// How long after the first one was settled; until then it always is. A repeat does not prolong it.
        window: Duration,
    },
}

/// How strictly a key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySyntax {
    /// `abc` and `"abc"` are one key.
    Lenient,
    /// Only `"abc"` is a key.
    Strict,
}

/// Keys made by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mint {
    /// None: a request without a key passes unprotected.
    None,
    /// RFC 9562 version 7.
    UuidV7,
    /// 63 bits in decimal, in the order of time.
    Snowflake,
}

impl Mint {
    /// Which keys are made, if any.
    pub const fn kind(self) -> Option<IdKind> {
        match self {
            Self::None => None,
            Self::UuidV7 => Some(IdKind::UuidV7),
            Self::Snowflake => Some(IdKind::Snowflake),
        }
    }
}

impl Default for KeySource {
    fn default() -> Self {
        Self {
            header: HeaderName::from_static("idempotency-key"),
            syntax: KeySyntax::Lenient,
            from: None,
            mint: Mint::None,
        }
    }
}
