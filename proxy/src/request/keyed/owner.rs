//! Whose a keyed write is, by the ways in which its listener knows callers, and knew them.

use bytes::Bytes;
use http::HeaderMap;
use mainstay_policies::idempotency::{FormerOwner, Incoming, Protection};

use crate::{config::model::Principal, request::routed::Routed};

/// The credentials to which a key is bound that is begun under a principal made in this way: only where nobody is named.
pub(super) fn credentials(way: &Principal, protection: &Protection, headers: &HeaderMap) -> Option<[u8; 32]> {
    match way {
        Principal::Anonymous => protection.credentials(headers),
        Principal::Header(_) | Principal::Certificate(_) | Principal::Local => None,
    }
}

/// Who the caller was before its listener knew it as it does.
pub(super) fn former(
    routed: &Routed,
    protection: &Protection,
    path_params: &[(&str, &str)],
    body: &Bytes,
) -> Vec<FormerOwner> {
    let headers = &routed.parts.headers;
    let owner = |way: &Principal| {
        let principal = routed.exchange.session().principal(way, headers);
        let incoming = Incoming { parts: &routed.parts, principal: principal.as_deref(), path_params };
        let key = protection.key_of_principal(&incoming, body);
        FormerOwner { key, credentials: credentials(way, protection, headers), principal }
    };
    routed.listener.former.iter().map(owner).collect()
}
