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

mod fill;
mod located;
mod refresh;

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        AGE, CONTENT_LENGTH, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
    },
    request::Parts,
};
use http_body::Body as _;
use mainstay_policies::{
    cache::{
        Flight, Flown, Key, Lead, Part, Store, Stored, Verdict, forbids_storing, is_not_modified, not_modified_headers,
        part, part_headers, validators,
    },
    evidence::Sent,
    fallback::Reason,
    problem::Problem,
};
use tokio::time::{Instant, timeout_at};

use self::fill::Filling;
pub(crate) use self::located::same_origin_path;
use super::{
    fallback,
    stack::{Routed, Session},
    unkeyed::{self, Answer, Obtained, Sending},
};
use crate::{respond::Failure, router, wire::body::ProxyBody};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What tells a service which address its client asked another proxy for. Services build links and choose content by it, so
/// nobody gets an answer that somebody else shaped with it. `X-Forwarded-For` is none of these: it differs for each client.
const AS_ASKED_FOR: [HeaderName; 10] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];
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

/// What is known when the service must be asked.
struct Miss {
    store: Arc<Store>,
    key: Key,
    found: Option<Arc<Stored>>,
    /// Whether what was found may stand in for a failure.
    or_if_error: bool,
    /// The duty to tell others how it ended.
    lead: Option<Lead>,
    /// The newest invalidation that was known before.
    asked_at: u64,
    /// The client's headers, which the answer may vary on.
    client: HeaderMap,
}

/// Serves a GET or HEAD on a route that has a cache.
pub(crate) async fn serve(session: &Session, mut routed: Box<Routed>, store: Arc<Store>) -> Response<ProxyBody> {
    match stored_part(&store, &routed) {
        Some((stored, Part::Of(bytes))) => return hit_in_part(routed, &stored, bytes),
        Some((stored, Part::Whole)) => return hit(routed, &stored, false),
        None => {}
    }
    if passes_by(&routed) {
        routed.outbound.route.metrics.cache("bypass");
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
                if let Flight::Lead(lead) = store.join(&key, headers) {
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
            None => return ask(session, routed, miss(None)).await,
            Some(Flight::Lead(lead)) => return ask(session, routed, miss(Some(lead))).await,
            Some(Flight::Follow(mut told)) => {
                let until = routed.outbound.deadline.min(Instant::now() + FILL_PATIENCE);
                let told = timeout_at(until, told.wait_for(Option::is_some)).await;
                match told.map(|told| told.ok().and_then(|how| *how)) {
                    Ok(Some(Flown::Stored)) => collapsed = true,
                    // It failed a moment ago, for somebody who asked the same: asking again would tell nothing new.
                    Ok(Some(Flown::Failed)) if or_if_error => {
                        let stored = stale.expect("what may stand in for a failure was found");
                        routed.outbound.route.metrics.cache("stale");
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

/// The cache's name for a request; answers to one principal are none to another.
fn key(store: &Store, routed: &Routed) -> Key {
    let Parts { uri, headers, .. } = &*routed.parts;
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let principal = routed.principal.as_deref().unwrap_or_default();
    store
        .key(&routed.outbound.route.params.upstream.name, principal, host, target, &router::normalise(uri.path()))
        .told_apart_by(&AS_ASKED_FOR, headers)
}

/// Asks the service.
async fn ask(session: &Session, mut routed: Box<Routed>, mut miss: Miss) -> Response<ProxyBody> {
    let began = Instant::now();
    let mut head = session.head(&mut routed, None);
    let conditions = match (&miss.found, &miss.lead) {
        (Some(found), Some(_)) => validators(&found.headers),
        _ => None,
    };
    let asks = conditions.is_some();
    let obtained = unkeyed::obtain(session, &mut routed, &mut head, conditions, &mut Sending::empty()).await;
    let delay = began.elapsed();
    match obtained.answered {
        Ok(answer) if asks && obtained.instead.is_none() && answer.response.status() == StatusCode::NOT_MODIFIED => {
            let found = miss.found.take().expect("what is validated was found");
            let update = answer.response.into_parts().0.headers;
            let now = session.shared.parts.clock.now();
            let fresh =
                refresh::updated(&miss.store, &miss.key, &miss.client, &found, &update, delay, now, miss.asked_at);
            if let Some(lead) = miss.lead.take() {
                lead.landed(Flown::Stored);
            }
            routed.outbound.route.metrics.cache("revalidated");
            from_stored(routed, &fresh, &miss.client, "mainstay; fwd=stale; fwd-status=304")
        }
        answered => match instead(&routed, &miss, &answered) {
            Some((found, reason)) => {
                if let Some(lead) = miss.lead.take() {
                    lead.landed(Flown::Failed);
                }
                routed.outbound.route.metrics.cache("stale");
                let status = match &answered {
                    Ok(answer) => format!("mainstay; hit; fwd=stale; fwd-status={}", answer.response.status().as_u16()),
                    Err(_) => "mainstay; hit; fwd=stale".into(),
                };
                let mut response = from_stored(routed, &found, &miss.client, &status);
                if let Some(reason) = reason {
                    fallback::mark(&mut response, reason);
                }
                response
            }
            None => pass(session, routed, miss, Obtained { answered, ..obtained }, delay),
        },
    }
}

/// The stale answer that may stand in for a failure, and whether as a fallback of the policy.
fn instead(routed: &Routed, miss: &Miss, answered: &Result<Answer, Failure>) -> Option<(Arc<Stored>, Option<Reason>)> {
    let found = miss.found.clone()?;
    let failed = match answered {
        Ok(answer) => answer.response.status().is_server_error(),
        Err(failure) => fallback::is_of_the_service(failure),
    };
    if failed && miss.or_if_error {
        return Some((found, None));
    }
    let route = &routed.outbound.route;
    let reason = match answered {
        Ok(answer) => fallback::of_response(route, &routed.exchange.method, &answer.response),
        Err(failure) => fallback::of_failure(route, &routed.exchange.method, failure),
    }?;
    fallback::may_be_stale(route, &found).then_some((found, Some(reason)))
}

/// Passes the answer on, and keeps it once it is whole.
fn pass(
    session: &Session,
    routed: Box<Routed>,
    mut miss: Miss,
    obtained: Obtained,
    delay: Duration,
) -> Response<ProxyBody> {
    let reason = match &miss.found {
        None => "uri-miss",
        Some(found) if !found.ttl(Instant::now()).is_zero() => "request",
        Some(_) => "stale",
    };
    routed.outbound.route.metrics.cache("miss");
    let wall = session.shared.parts.clock.now();
    if miss.found.is_some() {
        forget_superseded(&miss, &obtained);
    }
    match fill::prepare(&mut miss, obtained, &routed.outbound.route, &routed.exchange.method, delay, wall) {
        Filling::No(obtained) => {
            if let Some(lead) = miss.lead.take() {
                // A failure tells nothing of whether answers can be stored.
                lead.landed(if obtained.answered.is_ok() { Flown::NotStorable } else { Flown::Failed });
            }
            let mut response = unkeyed::deliver(routed, *obtained);
            if !response.headers().contains_key(crate::respond::MAINSTAY_ERROR) {
                say(response.headers_mut(), &format!("mainstay; fwd={reason}"));
            }
            response
        }
        Filling::Yes(mut answer) => {
            say(answer.head.headers_mut(), &format!("mainstay; fwd={reason}; stored"));
            answer.pass_on(routed)
        }
    }
}

/// The service has answered anew and says that nobody may store it: what is stored is not its word any more.
fn forget_superseded(miss: &Miss, obtained: &Obtained) {
    if obtained.instead.is_none()
        && let Ok(Answer { response, .. }) = &obtained.answered
        && (response.status().is_success() || response.status().is_redirection() || response.status().is_client_error())
        && forbids_storing(response.status(), response.headers())
    {
        miss.store.remove(&miss.key, &miss.client);
    }
}

/// A request that a limit refused may be answered by what is stored, where the fallback says so.
pub(crate) fn stale(routed: &Routed) -> Option<Arc<Stored>> {
    // What is stored answers reads.
    if !matches!(routed.parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let store = routed.outbound.route.cache.as_ref()?;
    let found = store.find(&key(store, routed), &routed.parts.headers)?;
    fallback::may_be_stale(&routed.outbound.route, &found).then_some(found)
}

/// Answers with what is stored, although the request was refused.
pub(crate) fn answer_stale(routed: Box<Routed>, stored: &Stored, reason: Reason) -> Response<ProxyBody> {
    let client = routed.parts.headers.clone();
    let mut response = from_stored(routed, stored, &client, "mainstay; hit; detail=fallback");
    fallback::mark(&mut response, reason);
    response
}

fn hit(mut routed: Box<Routed>, stored: &Stored, collapsed: bool) -> Response<ProxyBody> {
    let now = Instant::now();
    routed.outbound.route.metrics.cache(if collapsed { "collapsed" } else { "hit" });
    let status = if collapsed {
        "mainstay; fwd=uri-miss; collapsed".to_owned()
    } else {
        let staleness = stored.staleness(now).as_secs();
        if staleness > 0 {
            format!("mainstay; hit; ttl=-{staleness}")
        } else {
            format!("mainstay; hit; ttl={}", stored.ttl(now).as_secs())
        }
    };
    let client = std::mem::take(&mut routed.parts.headers);
    from_stored(routed, stored, &client, &status)
}

/// One part of what is stored, or 304 if the client has all of it already.
fn hit_in_part(mut routed: Box<Routed>, stored: &Stored, bytes: Range<usize>) -> Response<ProxyBody> {
    let client = std::mem::take(&mut routed.parts.headers);
    let now = Instant::now();
    let status = format!("mainstay; hit; ttl={}", stored.ttl(now).as_secs());
    if is_not_modified(&client, stored) {
        return from_stored(routed, stored, &client, &status);
    }
    routed.outbound.route.metrics.cache("hit");
    let mut response = Response::new(ProxyBody::from(stored.body.slice(bytes.clone())));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    *response.headers_mut() = part_headers(&stored.headers, &bytes, stored.body.len());
    finish(routed, response, stored, &status)
}

/// The answer that is stored, or 304 if the client has it already.
fn from_stored(routed: Box<Routed>, stored: &Stored, client: &HeaderMap, status: &str) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::Empty);
    if is_not_modified(client, stored) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified_headers(&stored.headers);
    } else {
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers.clone();
        if routed.exchange.method == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
        } else {
            *response.body_mut() = ProxyBody::from(stored.body.clone());
        }
    }
    finish(routed, response, stored, status)
}

fn finish(
    routed: Box<Routed>,
    mut response: Response<ProxyBody>,
    stored: &Stored,
    status: &str,
) -> Response<ProxyBody> {
    response.headers_mut().insert(AGE, HeaderValue::from(stored.age(Instant::now()).as_secs()));
    say(response.headers_mut(), status);
    routed.exchange.answer(response)
}

/// Adds what this cache did (RFC 9211) behind what others did.
fn say(headers: &mut HeaderMap, status: &str) {
    if let Ok(status) = HeaderValue::from_str(status) {
        headers.append(CACHE_STATUS, status);
    }
}
