//! Whose a key is, also where its owner used to be known by another name.

use bytes::Bytes;

use super::{Incoming, Key, KeyFrom, KeyPart, KeyRead, Protection};

/// Whose a key is.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOwner<'a> {
    /// Its principal; `None` where nobody is named.
    pub principal: Option<&'a [u8]>,
    /// Who it was by the ways in which principals were made before: keys that were begun in its name then are still its own.
    /// Empty unless the way has changed and keys of before may live.
    pub former: &'a [FormerOwner],
}

impl<'a> KeyOwner<'a> {
    /// An owner that never had another name.
    pub const fn of(principal: Option<&'a [u8]>) -> Self {
        Self { principal, former: &[] }
    }
}

/// Who a caller was when principals were made in another way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FormerOwner {
    /// Its principal then.
    pub principal: Option<Bytes>,
    /// Its key then, where that is made of the principal; else it is the same as now.
    pub key: Option<Key>,
    /// The credentials to which its keys were bound, where nobody was named.
    pub credentials: Option<[u8; 32]>,
}

impl Protection {
    /// The key that a request would have under the principal that `incoming` gives it, if keys are made of principals and the
    /// client sent none of its own.
    pub fn key_of_principal(&self, incoming: &Incoming<'_>, body: &Bytes) -> Option<Key> {
        let source = &self.params().key;
        let Some(KeyFrom::Template(template)) = &source.from else { return None };
        let is_named = template.parts().any(|part| *part == KeyPart::Principal);
        if !is_named || matches!(source.read(&incoming.parts.headers), Ok(KeyRead::Key(_))) {
            return None;
        }
        Key::derived(template.render(incoming, body, self.params().max_body).ok()?).ok()
    }
}
