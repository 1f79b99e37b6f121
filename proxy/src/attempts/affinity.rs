//! What a request has in common with others that go to the same endpoint, where its upstream is balanced so.
//!
//! It is made of hashes, of the caller and of the key as the ledger has them, so that a write that is sent again without its caller
//! goes where it went; nothing of a key is kept or told.

use http::HeaderMap;
use mainstay_policies::{
    balance::{Affinity, Balance, HashOf},
    idempotency::principal_hash,
    operation::Operation,
};

use crate::upstream::Upstream;

/// That of a request by its head and its caller. The key of a keyed write is known only later: [`of_write`].
pub(crate) fn of_request(upstream: &Upstream, principal: Option<&[u8]>, headers: &HeaderMap) -> Option<Affinity> {
    let Balance::Hash(of) = &upstream.params().balance else { return None };
    match of {
        HashOf::Principal => principal.map(|principal| Affinity::of(&principal_hash(Some(principal)))),
        HashOf::Key => None,
        HashOf::Header(name) => headers.get(name).map(|value| Affinity::of(value.as_bytes())),
    }
}

/// That of a keyed write, by its record and its head.
pub(crate) fn of_write(upstream: &Upstream, operation: &Operation, headers: &HeaderMap) -> Option<Affinity> {
    let Balance::Hash(of) = &upstream.params().balance else { return None };
    match of {
        HashOf::Principal if operation.principal == principal_hash(None) => None,
        HashOf::Principal => Some(Affinity::of(&operation.principal)),
        HashOf::Key => Some(Affinity::of(&operation.key_hash.0)),
        HashOf::Header(name) => headers.get(name).map(|value| Affinity::of(value.as_bytes())),
    }
}
