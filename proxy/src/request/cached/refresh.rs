//! Revalidation: what a 304 changes, and the refresh in the background while a stale answer is given.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, Method, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH},
};
use mainstay_policies::{
    cache::{Flown, Key, Lead, Store, Stored, forbids_storing, refreshed, storable, validators},
    operation::UnixMillis,
    timeout::IdleBody,
};
use tokio::time::Instant;

use crate::{
    attempts::{
        run::{self, Tally, UpstreamResponse},
        sending::Sending,
    },
    request::{heads, routed::Routed, session::Session},
    wire::{
        body::collect::{self, Collected},
        forward,
    },
};

/// The stored answer with the headers of a 304; stored again, if it still may be.
#[allow(clippy::too_many_arguments, reason = "all of one exchange with the service")]
pub(super) fn updated(
    store: &Store,
    key: &Key,
    client: &HeaderMap,
    found: &Arc<Stored>,
    update: &HeaderMap,
    delay: Duration,
    wall: UnixMillis,
    asked_at: u64,
) -> Arc<Stored> {
    let mut update = update.clone();
    forward::response(&mut update, http::Version::HTTP_11, StatusCode::NOT_MODIFIED);
    let headers = refreshed(&found.headers, &update);
    let request = (&Method::GET, client);
    let storable = storable(request, (found.status, &headers), delay, Instant::now(), wall, asked_at);
    let Some(stored) = storable else {
        // The service says so now, for example with `no-store`: no part of it is kept (RFC 9111 section 5.2.2.5).
        store.remove(key, client);
        return Arc::new(Stored::clone(found).with_headers(headers));
    };
    let stored = stored.with_body(found.body.clone());
    store.put(key, client, stored.clone());
    Arc::new(stored)
}

/// Asks the service once more, with nobody waiting for it. Ends with the total time of the route.
pub(super) fn spawn(
    session: &Session,
    routed: &mut Routed,
    store: Arc<Store>,
    key: Key,
    found: Arc<Stored>,
    lead: Lead,
) {
    let client = routed.parts.headers.clone();
    let mut head = heads::outgoing(session, routed, None);
    // The request itself is still to be answered.
    routed.parts.headers = client.clone();
    head.method = Method::GET;
    // The client's own conditions are answered from what is stored; the service is asked about that.
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        head.headers.remove(name);
    }
    let conditions = validators(&found.headers);
    let asks = conditions.is_some();
    head.headers.extend(conditions.into_iter().flatten());
    let mut outbound = routed.outbound.clone();
    let timeout = &outbound.route.params.policy.timeout;
    let (idle, began) = (timeout.idle, Instant::now());
    outbound.deadline = began + timeout.total;
    let runtime = session.runtime.clone();
    let asked_at = store.now();
    tokio::spawn(async move {
        let (mut sending, mut tally) = (Sending::empty(), Tally::default());
        let answered = run::until_one_stands(&runtime, &outbound, &mut head, &mut sending, &mut tally).await;
        let Ok(UpstreamResponse { mut response, first: None, .. }) = answered else { return };
        let (delay, wall) = (began.elapsed(), runtime.resources.clock.now());
        if asks && response.status() == StatusCode::NOT_MODIFIED {
            updated(&store, &key, &client, &found, response.headers(), delay, wall, asked_at);
            return lead.landed(Flown::Stored);
        }
        if response.status().is_server_error() {
            return lead.landed(Flown::Failed);
        }
        heads::finish_head(&mut response, 1);
        let (head, body) = response.into_parts();
        let request = (&Method::GET, &client);
        let stored = storable(request, (head.status, &head.headers), delay, Instant::now(), wall, asked_at);
        let Some(stored) = stored else {
            if forbids_storing(head.status, &head.headers) {
                store.remove(&key, &client);
            }
            return lead.landed(Flown::NotStorable);
        };
        if let Ok(Collected::Whole { body, trailers: None }) =
            collect::up_to(IdleBody::new(body, idle), store.params().max_body).await
        {
            store.put(&key, &client, stored.with_body(body));
            lead.landed(Flown::Stored);
        }
    });
}
