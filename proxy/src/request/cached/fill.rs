//! An answer that is kept while it passes: stored when its last byte has come, and not before.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use mainstay_policies::{
    cache::{Flown, Key, Lead, Store, Stored, storable},
    operation::UnixMillis,
    timeout::IdleBody,
};
use tokio::time::Instant;

use super::miss::Miss;
use crate::{
    attempts::run::UpstreamResponse,
    request::{fallback, heads, routed::Routed, unkeyed::obtain::Obtained},
    runtime::route::Route,
    upstream::{InFlight, UpstreamBody},
    wire::body::{BoxError, ProxyBody},
};

/// Whether an answer is kept.
pub(super) enum Filling {
    No(Box<Obtained>),
    Yes(Box<Kept>),
}

/// An answer that will be kept.
pub(super) struct Kept {
    pub(super) head: Response<()>,
    body: UpstreamBody,
    in_flight: InFlight,
    entry: Entry,
}

/// What is stored when the body has come.
struct Entry {
    store: Arc<Store>,
    key: Key,
    client: HeaderMap,
    stored: Stored,
    lead: Option<Lead>,
}

impl Entry {
    fn store(self, body: Bytes) {
        let Self { store, key, client, mut stored, lead } = self;
        stored.body = body;
        store.put(&key, &client, stored);
        if let Some(lead) = lead {
            lead.landed(Flown::Stored);
        }
    }
}

/// Decides whether the answer may be kept, and prepares it for that.
pub(super) fn prepare(
    miss: &mut Miss,
    obtained: Obtained,
    route: &Route,
    method: &Method,
    delay: Duration,
    wall: UnixMillis,
) -> Filling {
    let keeps = obtained.instead.is_none()
        && obtained.answered.as_ref().is_ok_and(|answer| {
            answer.first.is_none()
                && announced(&answer.response, miss)
                // A failure that the fallback covers is answered by that, now and next time.
                && fallback::of_response(route, method, &answer.response).is_none()
        });
    let (attempts, answered) = (obtained.attempts, obtained.answered);
    let (mut response, in_flight) = match answered {
        Ok(UpstreamResponse { response, in_flight, .. }) if keeps => (response, in_flight),
        answered => return Filling::No(Box::new(Obtained { answered, ..obtained })),
    };
    heads::finish_head(&mut response, 1);
    let (head, body) = response.into_parts();
    let request = (method, &miss.client);
    let stored = storable(request, (head.status, &head.headers), delay, Instant::now(), wall, miss.asked_at);
    let mut head = Response::from_parts(head, ());
    heads::name_attempts(head.headers_mut(), attempts);
    match stored {
        None => {
            let response = head.map(|()| body);
            let answer = UpstreamResponse { response, in_flight, first: None };
            Filling::No(Box::new(Obtained { answered: Ok(answer), attempts, instead: None, finished: true }))
        }
        Some(stored) => {
            let (store, key, client) = (miss.store.clone(), miss.key.clone(), std::mem::take(&mut miss.client));
            let entry = Entry { store, key, client, stored, lead: miss.lead.take() };
            Filling::Yes(Box::new(Kept { head, body, in_flight, entry }))
        }
    }
}

/// Whether the body is not announced as larger than may be kept.
fn announced<B>(response: &Response<B>, miss: &Miss) -> bool {
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    length.is_none_or(|length| length <= miss.store.params().max_body)
}

impl Kept {
    /// Passes the answer to the client.
    pub(super) fn pass_on(mut self: Box<Self>, routed: Box<Routed>) -> Response<ProxyBody> {
        if self.body.is_end_stream() {
            self.entry.store(Bytes::new());
            return routed.exchange.answer(self.head.map(|()| ProxyBody::Empty));
        }
        if let Some(whole) = self.body.take_whole() {
            self.entry.store(whole.clone());
            return routed.exchange.answer(self.head.map(|()| ProxyBody::from(whole)));
        }
        let idle = routed.outbound.route.params.policy.timeout.idle;
        let Self { head, body, in_flight, entry } = *self;
        let max = entry.store.params().max_body;
        let fill = Fill { body: IdleBody::new(body, idle), kept: BytesMut::new(), max, entry: Some(entry) };
        routed.exchange.stream(head.map(|()| fill), Some(in_flight))
    }
}

/// A body on its way, with a copy of what has passed.
struct Fill<B> {
    body: B,
    kept: BytesMut,
    max: usize,
    /// `None` once it is stored, or will not be.
    entry: Option<Entry>,
}

impl<B> Fill<B> {
    fn complete(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.store(std::mem::take(&mut self.kept).freeze());
        }
    }

    fn give_up(&mut self, how: Flown) {
        if let Some(lead) = self.entry.take().and_then(|entry| entry.lead) {
            lead.landed(how);
        }
        self.kept = BytesMut::new();
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for Fill<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &polled {
            None => this.complete(),
            Some(Err(_)) => this.give_up(Flown::Broken),
            Some(Ok(frame)) => match frame.data_ref() {
                // Trailers would have to be kept, too.
                None => this.give_up(Flown::NotStorable),
                Some(data) if this.entry.is_some() && this.kept.len() + data.len() > this.max => {
                    this.give_up(Flown::NotStorable);
                }
                Some(data) if this.entry.is_some() => {
                    this.kept.extend_from_slice(data);
                    // Whoever reads may not ask again.
                    if this.body.is_end_stream() {
                        this.complete();
                    }
                }
                Some(_) => {}
            },
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
