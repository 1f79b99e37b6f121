//! Reading an idempotency key: a structured-field String (RFC 9651 section 3.3.3), or by leave a bare value. Parameters of the
//! String say nothing to us (section 2: unknown ones are ignored), and the service receives the field as it came.

mod content;
mod mint;
mod parameters;
mod source;
mod template;

use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::operation::KeyHash;

use self::parameters::are_parameters;
pub use self::{
    mint::{IdKind, IdMint, NODES},
    source::{KeyFrom, KeySource, KeySyntax, Mint},
    template::{Incoming, KeyPart, KeyTemplate, MAX_KEY_OCTETS, TemplateError, Underivable},
};

/// An idempotency key, unquoted: 1 to [`MAX_KEY_OCTETS`] printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: Box<str>,
    origin: Origin,
}

/// Where a key comes from. Keys of one text and different origins are different keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    /// The client sent it, or was told it when it was minted and may send it from now on.
    Client { minted: bool },
    /// Made of parts of the request.
    Derived,
    /// The content itself is the key, by this hash of it; the text is only what the upstream is told.
    Content([u8; 32]),
}

/// What a request's headers say about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRead {
    /// The request has this key.
    Key(Key),
    /// It has none.
    Absent,
}

/// Why a key cannot be read. The client is at fault; nothing was recorded or sent. Each text names the cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing between the quotes, or no value at all.
    #[error("The key is empty: send 1 to 255 characters, a fresh UUID for example.")]
    Empty,
    /// More than 255 octets.
    #[error("The key is longer than 255 characters: send a shorter one, a fresh UUID for example.")]
    TooLong,
    /// The header stands more than once.
    #[error("The key's header was sent more than once: send it once, with one key.")]
    Repeated,
    /// Several values in one header.
    #[error("The key's header holds a list: send one key, and put a key that contains a comma in double quotes.")]
    List,
    /// `"abc" x`: something that is no parameter.
    #[error("The key is followed by something else: send only the key, in double quotes.")]
    Trailing,
    /// An opening quote without its partner.
    #[error("The key's closing quote is missing: send it as \"key\".")]
    Unclosed,
    /// A backslash before anything but a quote or a backslash.
    #[error("The key has a wrong escape: within the quotes, only \\\" and \\\\ are escapes.")]
    Escape,
    /// A control character, or one outside ASCII.
    #[error(
        "The key has a character that is not printable ASCII: send letters, digits and hyphens, a UUID for example."
    )]
    Character,
    /// A space, quote or backslash in a bare key.
    #[error(
        "The key has a space, quote or backslash: put it in double quotes, with \\ before each quote and backslash."
    )]
    NeedsQuotes,
    /// A bare key where only a quoted one is accepted.
    #[error("The key is not quoted: send it in double quotes, as \"key\" (RFC 9651, String).")]
    NotQuoted,
}

impl Key {
    /// Reads one header value.
    pub fn parse(value: &[u8], syntax: KeySyntax) -> Result<Self, KeyError> {
        let value = value.trim_ascii();
        let text = match value.first() {
            None => return Err(KeyError::Empty),
            Some(b'"') => unquote(&value[1..])?,
            Some(_) if syntax == KeySyntax::Strict => return Err(KeyError::NotQuoted),
            Some(_) => bare(value)?,
        };
        Self::from_text(text)
    }

    /// The key of exactly these characters, unquoted already.
    pub fn from_text(text: impl Into<Box<str>>) -> Result<Self, KeyError> {
        let text = text.into();
        match text.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_OCTETS if text.bytes().all(is_printable) => {
                Ok(Self::with(text, Origin::Client { minted: false }))
            }
            1..=MAX_KEY_OCTETS => Err(KeyError::Character),
            _ => Err(KeyError::TooLong),
        }
    }

    const fn with(text: Box<str>, origin: Origin) -> Self {
        Self { text, origin }
    }

    /// The key of these characters as [a template](super::KeyTemplate) makes it: not the one that a client sends.
    pub fn derived(text: impl Into<Box<str>>) -> Result<Self, KeyError> {
        Ok(Self { origin: Origin::Derived, ..Self::from_text(text)? })
    }

    /// A fresh key of these characters, which the response must name.
    pub(super) fn minted(text: String) -> Self {
        Self::with(text.into(), Origin::Client { minted: true })
    }

    /// The key of a content, by its fingerprint. `text` is what the upstream is told, another one for each operation: to the
    /// upstream, the same content after its window must be another write.
    pub(super) fn of_content(fingerprint: [u8; 32], text: String) -> Self {
        Self::with(text.into(), Origin::Content(fingerprint))
    }

    /// The key of the same content by another fingerprint of it; `None` if it is not made of content.
    pub(super) fn by_content(&self, fingerprint: [u8; 32]) -> Option<Self> {
        self.is_content().then(|| Self::with(self.text.clone(), Origin::Content(fingerprint)))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the proxy made it, so that the response must name it.
    pub const fn is_minted(&self) -> bool {
        matches!(self.origin, Origin::Client { minted: true })
    }

    /// Whether the content itself is the key.
    pub const fn is_content(&self) -> bool {
        matches!(self.origin, Origin::Content(_))
    }

    /// The key as it is written in a header.
    pub fn header_value(&self) -> HeaderValue {
        quote(&self.text)
    }

    /// The ledger key: SHA-256 over length-prefixed (principal, upstream, key), with a fourth part for keys that the client
    /// did not send, so that no key it sends is one of those. No principal counts as an empty one.
    pub fn hash(&self, principal: Option<&[u8]>, upstream: &str) -> KeyHash {
        let (key, domain): (&[u8], Option<&[u8]>) = match &self.origin {
            Origin::Client { .. } => (self.text.as_bytes(), None),
            Origin::Derived => (self.text.as_bytes(), Some(b"derived")),
            Origin::Content(fingerprint) => (fingerprint, Some(b"content")),
        };
        let mut hash = Sha256::new();
        for part in [principal.unwrap_or_default(), upstream.as_bytes(), key].into_iter().chain(domain) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        KeyHash(hash.finalize().into())
    }
}

/// Keys never appear in logs.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("octets", &self.text.len()).finish_non_exhaustive()
    }
}

impl KeySource {
    /// The key that a client sent with these headers.
    pub fn read(&self, headers: &HeaderMap) -> Result<KeyRead, KeyError> {
        let mut values = headers.get_all(&self.header).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(KeyRead::Absent),
            (Some(value), None) => Key::parse(value.as_bytes(), self.syntax).map(KeyRead::Key),
            (Some(_), Some(_)) => Err(KeyError::Repeated),
        }
    }
}

fn quote(text: &str) -> HeaderValue {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    HeaderValue::try_from(quoted).expect("a key is printable ASCII")
}

/// The rest of a String after its opening quote.
fn unquote(rest: &[u8]) -> Result<String, KeyError> {
    let mut text = String::with_capacity(rest.len());
    let mut bytes = rest.iter();
    loop {
        match *bytes.next().ok_or(KeyError::Unclosed)? {
            b'"' => break,
            b'\\' => match bytes.next() {
                Some(&escaped @ (b'"' | b'\\')) => text.push(char::from(escaped)),
                Some(_) => return Err(KeyError::Escape),
                None => return Err(KeyError::Unclosed),
            },
            byte if is_printable(byte) => text.push(char::from(byte)),
            _ => return Err(KeyError::Character),
        }
    }
    let rest = bytes.as_slice();
    match rest.trim_ascii_start().first() {
        None => Ok(text),
        Some(b',') => Err(KeyError::List),
        Some(_) if are_parameters(rest) => Ok(text),
        Some(_) => Err(KeyError::Trailing),
    }
}

fn bare(value: &[u8]) -> Result<String, KeyError> {
    if value.contains(&b',') {
        return Err(KeyError::List);
    }
    value
        .iter()
        .map(|&byte| match byte {
            b' ' | b'\t' | b'"' | b'\\' => Err(KeyError::NeedsQuotes),
            byte if is_printable(byte) => Ok(char::from(byte)),
            _ => Err(KeyError::Character),
        })
        .collect()
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

#[cfg(test)]
mod tests;
