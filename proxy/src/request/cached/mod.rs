//! A read through the cache: answered from it, or asked for and kept on the way through.
//!
//! ```text
//! fresh ───────────────────────────────▶ answer, or the part that is asked for
//! stale, may be given meanwhile ───────▶ answer, and one refresh in the background
//! stale or missing ── somebody asks already ▶ wait for what he stores
//!                  └─ ask (conditionally, if it can be) ─ 304 ▶ answer with the refreshed one
//!                                                       ├ failure ▶ the stale one, where that is allowed
//!                                                       └ answer ▶ pass it on, and keep it once it is whole
//! ```

mod ask;
mod fill;
pub(crate) mod hit;
mod miss;
mod refresh;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, Method, Response,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE},
};
use http_body::Body as _;
use mainstay_policies::{
    cache::{Flight, Flown, Part, Store, Stored, Verdict, part},
    evidence::Sent,
    problem::Problem,
};
use tokio::time::{Instant, timeout_at};

use self::{
    ask::ask,
    hit::{from_stored, hit, hit_in_part, key, say},
    miss::Miss,
};
use super::{
    fallback,
    routed::Routed,
    session::Session,
    unkeyed::{self},
};
use crate::{respond::failure::Failure, wire::body::ProxyBody};

/// What makes another method of a GET for a service that heeds it.
const OTHER_METHOD: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];
/// Fills that one request waits for; then it asks for itself.
const MAX_ROUNDS: usize = 3;
/// How long it waits for one: a fill goes as fast as the client that began it reads.
const FILL_PATIENCE: Duration = Duration::from_secs(1);

/// Serves a GET or HEAD on a route that has a cache.
pub(crate) async fn serve(session: &Session, mut routed: Box<Routed>, store: Arc<Store>) -> Response<ProxyBody> {
    match stored_part(&store, &routed) {
        Some((stored, Part::Of(bytes))) => return hit_in_part(routed, &stored, bytes),
        Some((stored, Part::Whole)) => return hit(routed, &stored, false),
        None => {}
    }
    if passes_by(&routed) {
        routed.exchange.tell_cache("bypass");
        let mut response = unkeyed::serve(session, routed).await;
        say(response.headers_mut(), "mainstay; fwd=bypass");
        return response;
    }
    let key = key(&store, &routed);
    let mut collapsed = false;
    for round in 0..=MAX_ROUNDS {
        let asked_at = store.now();
        let found = store.find(&key, &routed.parts.headers).filter(|stored| stands(&routed, stored));
        let headers = &routed.parts.headers;
        let verdict = found.as_ref().map(|stored| stored.verdict(headers, store.params(), Instant::now()));
        match (verdict, &found) {
            (Some(Verdict::Fresh), Some(stored)) => return hit(routed, stored, collapsed),
            (Some(Verdict::WhileRevalidating), Some(stored)) => {
                if let Some(lead) = store.refresh(&key, headers) {
                    refresh::spawn(session, &mut routed, store.clone(), key, stored.clone(), lead);
                }
                return hit(routed, stored, false);
            }
            _ => {}
        }
        if Stored::only_if_cached(headers) {
            let detail = Cow::Borrowed("The request asks for nothing but a stored answer, and there is none.");
            return routed.refuse(Failure::Request(Problem::Timeout, detail));
        }
        // What the client asks on a condition may be answered by less than an answer.
        let alone = routed.parts.method == Method::HEAD || is_conditional(headers) || round == MAX_ROUNDS;
        let flight = (!alone).then(|| store.join(&key, headers));
        let or_if_error = verdict == Some(Verdict::Validate { or_if_error: true });
        let (client, stale) = (headers.clone(), found.clone());
        let miss = |lead| Miss { store: store.clone(), key: key.clone(), found, or_if_error, lead, asked_at, client };
        match flight {
            None | Some(Flight::Alone) => return ask(session, routed, miss(None)).await,
            Some(Flight::Lead(lead)) => return ask(session, routed, miss(Some(lead))).await,
            Some(Flight::Follow(mut told)) => {
                let until = routed.outbound.deadline.min(Instant::now() + FILL_PATIENCE);
                let told = timeout_at(until, told.wait_for(Option::is_some)).await;
                match told.map(|told| told.ok().and_then(|how| *how)) {
                    Ok(Some(Flown::Stored)) => collapsed = true,
                    // It failed a moment ago, for somebody who asked the same: asking again would tell nothing new.
                    Ok(Some(Flown::Failed)) if or_if_error => {
                        let stored = stale.expect("what may stand in for a failure was found");
                        routed.exchange.tell_cache("stale");
                        let client = std::mem::take(&mut routed.parts.headers);
                        return from_stored(routed, &stored, &client, "mainstay; hit; fwd=stale; collapsed");
                    }
                    Ok(Some(Flown::Failed | Flown::Broken) | None) => {}
                    Err(_) if Instant::now() >= routed.outbound.deadline => {
                        return routed.refuse(Failure::NoTime(Sent::No));
                    }
                    Ok(Some(Flown::NotStorable)) | Err(_) => return ask(session, routed, miss(None)).await,
                }
            }
        }
    }
    unreachable!("the last round asks for itself")
}

/// What is not looked for in the cache: parts that are not in it, changes of protocol, requests with a body.
fn passes_by(routed: &Routed) -> bool {
    routed.parts.headers.contains_key(RANGE) || is_out_of_reach(routed)
}

/// What no stored answer is an answer to.
fn is_out_of_reach(routed: &Routed) -> bool {
    let headers = &routed.parts.headers;
    // An answer to these is one to the condition, and none to anybody else.
    headers.contains_key(IF_MATCH)
        || headers.contains_key(IF_UNMODIFIED_SINCE)
        || !routed.read.is_empty()
        || headers.contains_key(UPGRADE)
        || OTHER_METHOD.iter().any(|name| headers.contains_key(name))
        || routed.body.as_ref().is_some_and(|body| !body.is_end_stream())
}

/// Whether a stored answer is one on this route. A failure that the fallback covers is none, even a fresh one.
fn stands(routed: &Routed, stored: &Stored) -> bool {
    !fallback::covers(&routed.outbound.route, &routed.parts.method, stored.status)
}

/// The part of a fresh answer that is asked for, if it is stored.
fn stored_part(store: &Store, routed: &Routed) -> Option<(Arc<Stored>, Part)> {
    let headers = &routed.parts.headers;
    if !headers.contains_key(RANGE) || routed.parts.method != Method::GET || is_out_of_reach(routed) {
        return None;
    }
    let stored = store.find(&key(store, routed), headers)?;
    let is_fresh = stored.verdict(headers, store.params(), Instant::now()) == Verdict::Fresh;
    let part = part(headers, &stored).filter(|_| is_fresh)?;
    Some((stored, part))
}

fn is_conditional(headers: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| headers.contains_key(name))
}

/// The cache that the request may be answered from.
pub(super) fn cache(routed: &Routed) -> Option<Arc<Store>> {
    let store = routed.outbound.route.cache.as_ref()?;
    matches!(routed.parts.method, Method::GET | Method::HEAD).then(|| store.clone())
}
