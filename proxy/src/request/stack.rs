//! The order of the layers, and why each stands where it stands.
//!
//! ```text
//! principal, route         who and where, before any rule can be chosen
//! access                   first of all: who may not send uses up nothing
//! rate limit               next: a flood must cost as little as possible
//! concurrency limit        before the ledger, so that a flood cannot fill it
//! cache                    of safe methods, which no ledger knows: what is stored needs no upstream and no retry
//! idempotency              before time and retries: one operation, however many attempts, and its replay needs no upstream
//! total timeout            bounds everything below, waits between attempts included
//! retry                    decides on what an attempt proved
//! circuit breaker          sees attempts, not requests; its permit is taken last, so nothing can strand a probe
//! attempt timeout, endpoint, connection
//! cors                     outside of everything: who may read it stands on every answer, whoever made it
//! fallback                 outside of all attempts: what stands in for their failure is none of them
//! ```

use std::{pin::pin, sync::Arc};

use http::{HeaderValue, Response, Version, header::CONNECTION};

use super::{
    admission,
    arrival::{self, Found},
    cached::{self, cache},
    connect, control,
    cors::Reader,
    keyed::{
        self,
        recognise::{Keyed, not_let_in, recognise},
    },
    refused,
    session::Session,
    unkeyed,
};
use crate::{
    listener::{ClientExtras, ClientRequest, Serve},
    respond,
    wire::body::ProxyBody,
};

impl Serve for Session {
    /// The whole stack, from the outside in.
    async fn serve(self: &Arc<Self>, request: ClientRequest, extras: ClientExtras) -> Response<ProxyBody> {
        let is_http1 = request.parts.version != Version::HTTP_2;
        let snapshot = self.runtime.snapshot.load_full();
        let listener = arrival::listener_in(self, &snapshot);
        let reader = Reader::of(&listener.0, &request.parts);
        let mut response = match arrival::find_route(self, snapshot, listener, request, extras) {
            Found::Refused(response) => response,
            Found::Control(request) => Box::pin(control::serve(self, *request)).await,
            Found::Tunnel(request) => Box::pin(connect::serve(self, *request)).await,
            Found::Route(mut routed) => {
                let mut usage = None;
                let admitted = { pin!(admission::admit(self, &mut routed, &mut usage)).await };
                if admitted.is_err() {
                    not_let_in(&mut routed);
                }
                let mut response = match admitted {
                    Err(failure) if routed.outbound.route.params.policy.fallback.is_some() => {
                        Box::pin(refused::refused(self, routed, failure)).await
                    }
                    Err(failure) => routed.refuse(failure),
                    Ok(()) => match recognise(&mut routed) {
                        Err(failure) => routed.refuse(failure),
                        Ok(None) => match cache(&routed) {
                            Some(store) => Box::pin(cached::serve(self, routed, store)).await,
                            // Pinned where it is made: to await it as it is would move it first, which is most of a kilobyte.
                            None => pin!(unkeyed::serve(self, routed)).await,
                        },
                        // Boxed, as all that is rare, so that every request does not carry its room.
                        Ok(Some(Keyed { protection, key })) => {
                            Box::pin(keyed::serve(self, routed, protection, key)).await
                        }
                    },
                };
                if let Some(usage) = &usage {
                    respond::rate_limit_headers(response.headers_mut(), usage);
                }
                response
            }
        };
        if let Some(reader) = reader {
            reader.permit(&mut response);
        }
        // A connection that changes protocol says so, and carries no further request anyway.
        let switches = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
        if is_http1 && !switches && self.is_ending() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
