//! Whether a request is a keyed write.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_policies::{
    idempotency::{self, KeyOwner, Protection, Recognised, Refusal, Standing},
    path,
};

use super::owner;
use crate::{request::routed::Routed, respond::failure::Failure};

/// A keyed write.
pub(in crate::request) struct Keyed {
    pub(in crate::request) protection: Arc<Protection>,
    /// `None`: it is made when the body is there.
    pub(in crate::request) key: Option<idempotency::Key>,
}

/// Idempotency: whether this is a keyed write, and its key if that is known before its body is read.
pub(crate) fn recognise(routed: &mut Routed) -> Result<Option<Keyed>, Failure> {
    let Some((protection, recognised)) = look(routed) else { return Ok(None) };
    match recognised {
        Ok(Recognised::Unprotected) => Ok(None),
        Ok(Recognised::Keyed(key)) => Ok(Some(Keyed { protection, key: Some(key) })),
        Ok(Recognised::Unnamed) => Ok(Some(Keyed { protection, key: None })),
        Err(refusal) => {
            routed.outbound.route.metrics.idempotency_refused(refusal.problem);
            routed.exchange.standing = Some(Standing::NO_RECORD);
            Err(Failure::Refused(refusal))
        }
    }
}

/// What the route's protection makes of the request, if it has one.
fn look(routed: &Routed) -> Option<(Arc<Protection>, Result<Recognised, Refusal>)> {
    let protection = routed.outbound.route.protection.clone()?;
    let params = if protection.needs_path() {
        path::params(&routed.outbound.route.params.matches.path, routed.parts.uri.path())
    } else {
        Vec::new()
    };
    let path_params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let principal = routed.principal.as_deref();
    let incoming = idempotency::Incoming { parts: &routed.parts, principal, path_params: &path_params };
    let recognised = protection.recognise(&incoming);
    Some((protection, recognised))
}

/// A request that was not let in: if it is a keyed write, its answer says that no record was made of it.
pub(crate) fn not_let_in(routed: &mut Routed) {
    if look(routed).is_some_and(|(_, recognised)| recognised != Ok(Recognised::Unprotected)) {
        routed.exchange.standing = Some(Standing::NO_RECORD);
    }
}

/// Whether an operation holds the key of a write that was not let in. Where that cannot be told, it may.
pub(crate) async fn may_be_repeat(routed: &mut Routed) -> bool {
    match recognise(routed) {
        Ok(None) => false,
        Ok(Some(Keyed { protection, key: Some(key) })) => {
            let params = path::params(&routed.outbound.route.params.matches.path, routed.parts.uri.path());
            let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let former = owner::former(routed, &protection, &params, &Bytes::new());
            protection.may_hold(&key, KeyOwner { principal: routed.principal.as_deref(), former: &former }).await
        }
        // The key would be made of its body, which nobody reads now; or it is refused for its key.
        Ok(Some(Keyed { key: None, .. })) | Err(_) => true,
    }
}
