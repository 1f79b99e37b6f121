//! A shared cache for any tower service.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        AGE, CONTENT_LENGTH, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE,
    },
};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Cache, CacheBody, Flight, Flown, Key, Lead, Store, Stored, Verdict, is_not_modified, not_modified_headers,
    refreshed, storable, validators,
};
use crate::{body::BoxError, caller::Caller, clock::WallClock};

/// Fills that one request waits for; then it asks for itself.
const MAX_ROUNDS: usize = 3;

/// Answers reads from a [`Store`]; every service it makes shares it.
///
/// Concurrent misses of one target make one call. An answer is kept if its length is known and at most `max_body`, and if it
/// came whole; a longer one passes as it comes. Answers to one [`Caller`] (a request extension) are none to another. A write
/// that happened, or may have, forgets its path. Nothing is refreshed in the background: what may be given while it is
/// revalidated is revalidated first, and given if that fails.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    store: Arc<Store>,
    clock: WallClock,
    service: Arc<str>,
}

/// The service of [`CacheLayer`].
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    inner: S,
    layer: CacheLayer,
}

/// What is known when the service must be asked.
struct Miss {
    key: Key,
    client: HeaderMap,
    found: Option<Arc<Stored>>,
    or_if_error: bool,
    lead: Option<Lead>,
    asked_at: u64,
}

/// What there is before the service is asked.
enum Found {
    Answer(Arc<Stored>),
    /// The client wants nothing else, and there is none.
    Nothing,
    Miss(Box<Miss>),
}

impl CacheLayer {
    /// A layer with a cache of its own. The clock compares the dates in answers with now.
    pub fn new(params: Cache, clock: WallClock) -> Self {
        Self { store: Arc::new(Store::new(params)), clock, service: "service".into() }
    }

    /// What is kept, to look at or to forget.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn key<B>(&self, request: &Request<B>) -> Key {
        let uri = request.uri();
        let host = uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok()).unwrap_or_default();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let caller = request.extensions().get::<Caller>().map(|caller| &*caller.0).unwrap_or_default();
        self.store.key(&self.service, caller, host, target, uri.path())
    }

    /// Looks for an answer, and waits where somebody asks for it already.
    async fn find(&self, method: &Method, client: HeaderMap, key: Key) -> Found {
        let conditional = client.contains_key(IF_NONE_MATCH) || client.contains_key(IF_MODIFIED_SINCE);
        let mut round = 0;
        loop {
            let asked_at = self.store.now();
            let found = self.store.find(&key, &client);
            let verdict = found.as_ref().map(|stored| stored.verdict(&client, self.store.params(), Instant::now()));
            if let (Some(Verdict::Fresh), Some(stored)) = (verdict, &found) {
                return Found::Answer(Arc::clone(stored));
            }
            if Stored::only_if_cached(&client) {
                return Found::Nothing;
            }
            let or_if_error =
                matches!(verdict, Some(Verdict::WhileRevalidating | Verdict::Validate { or_if_error: true }));
            // What is asked on a condition, or without a body, may be answered by less than an answer.
            let alone = *method == Method::HEAD || conditional || round == MAX_ROUNDS;
            let lead = match (!alone).then(|| self.store.join(&key, &client)) {
                None | Some(Flight::Alone) => None,
                Some(Flight::Lead(lead)) => Some(lead),
                Some(Flight::Follow(mut told)) => {
                    round += 1;
                    match told.wait_for(Option::is_some).await.map(|how| *how) {
                        Ok(Some(Flown::NotStorable)) => None,
                        _ => continue,
                    }
                }
            };
            return Found::Miss(Box::new(Miss { key, client, found, or_if_error, lead, asked_at }));
        }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for CacheService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<CacheBody<R>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fresh = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return layer.write(&mut inner, request).await;
            }
            if passes_by(&request) {
                let response = inner.call(request).await.map_err(Into::into)?;
                return Ok(response.map(CacheBody::passing));
            }
            let key = layer.key(&request);
            let method = request.method().clone();
            match layer.find(&method, request.headers().clone(), key).await {
                Found::Answer(stored) => Ok(from_stored(&stored, &method, request.headers())),
                Found::Nothing => {
                    let mut response = Response::new(CacheBody::kept(Bytes::new(), None));
                    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
                    Ok(response)
                }
                Found::Miss(miss) => layer.ask(&mut inner, request, *miss).await,
            }
        })
    }
}

impl CacheLayer {
    /// A write; what it may have changed is forgotten (RFC 9111 section 4.4).
    async fn write<S, B, R>(&self, inner: &mut S, request: Request<B>) -> Result<Response<CacheBody<R>>, BoxError>
    where
        S: Service<Request<B>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
    {
        let path = (!request.method().is_safe()).then(|| request.uri().path().to_owned());
        // Also if its caller leaves first: the service may have done it all the same.
        let mut written = Written { layer: self, path };
        let response = inner.call(request).await.map_err(Into::into)?;
        if response.status().is_client_error() {
            written.path = None;
        }
        drop(written);
        Ok(response.map(CacheBody::passing))
    }

    /// Asks the service, on a condition if something is stored.
    async fn ask<S, B, R>(
        &self,
        inner: &mut S,
        mut request: Request<B>,
        mut miss: Miss,
    ) -> Result<Response<CacheBody<R>>, BoxError>
    where
        S: Service<Request<B>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes>,
        R::Error: Into<BoxError>,
    {
        let (method, began) = (request.method().clone(), Instant::now());
        let conditions = miss.found.as_ref().filter(|_| miss.lead.is_some());
        let conditions = conditions.and_then(|found| validators(&found.headers));
        let asks = conditions.is_some();
        let conditions = conditions.into_iter().flatten().filter_map(|(name, value)| Some((name?, value)));
        request.headers_mut().extend(conditions);
        let answered = inner.call(request).await.map_err(Into::into);
        if let Some(found) = miss.found.as_ref().filter(|_| miss.or_if_error)
            && answered.as_ref().map_or(true, |response| response.status().is_server_error())
        {
            return Ok(from_stored(found, &method, &miss.client));
        }
        let (head, body) = answered?.into_parts();
        let now = Instant::now();
        let keepable = |status, headers: &HeaderMap| {
            let wall = self.clock.now();
            storable((&method, &miss.client), (status, headers), now.duration_since(began), now, wall, miss.asked_at)
        };
        if asks
            && head.status == StatusCode::NOT_MODIFIED
            && let Some(found) = miss.found.take()
        {
            let headers = refreshed(&found.headers, &head.headers);
            let updated = keepable(found.status, &headers).map(|stored| stored.with_body(found.body.clone()));
            let stored = Stored::clone(&found).with_headers(headers);
            let answer = from_stored(updated.as_ref().unwrap_or(&stored), &method, &miss.client);
            let how = if updated.is_some() { Flown::Stored } else { Flown::NotStorable };
            if let Some(updated) = updated {
                self.store.put(&miss.key, &miss.client, updated);
            }
            miss.land(how);
            return Ok(answer);
        }
        let fits = body.size_hint().upper().is_some_and(|upper| upper <= self.store.params().max_body as u64);
        let Some(stored) = keepable(head.status, &head.headers).filter(|_| fits) else {
            miss.land(Flown::NotStorable);
            return Ok(Response::from_parts(head, CacheBody::passing(body)));
        };
        // Whoever fails here, or is dropped, tells those who wait that nothing is known.
        let whole = body.collect().await.map_err(Into::into)?;
        let trailers = whole.trailers().cloned();
        let body = whole.to_bytes();
        let how = if trailers.is_none() { Flown::Stored } else { Flown::NotStorable };
        if trailers.is_none() {
            self.store.put(&miss.key, &miss.client, stored.with_body(body.clone()));
        }
        miss.land(how);
        Ok(Response::from_parts(head, CacheBody::kept(body, trailers)))
    }
}

/// A write, which makes its path be forgotten when it is over, however that comes about.
struct Written<'a> {
    layer: &'a CacheLayer,
    path: Option<String>,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            self.layer.store.invalidate_path(&self.layer.service, path);
        }
    }
}

impl Miss {
    fn land(&mut self, how: Flown) {
        if let Some(lead) = self.lead.take() {
            lead.landed(how);
        }
    }
}

/// What is not looked for: parts of answers, changes of protocol, requests with a body.
fn passes_by<B: Body>(request: &Request<B>) -> bool {
    let special = [RANGE, IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE];
    special.iter().any(|name| request.headers().contains_key(name)) || !request.body().is_end_stream()
}

/// The answer that is stored, or 304 if the client has it already.
fn from_stored<R>(stored: &Stored, method: &Method, client: &HeaderMap) -> Response<CacheBody<R>> {
    let mut response = Response::new(CacheBody::kept(Bytes::new(), None));
    if is_not_modified(client, stored) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = not_modified_headers(&stored.headers);
    } else {
        *response.status_mut() = stored.status;
        *response.headers_mut() = stored.headers.clone();
        if *method == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
        } else {
            *response.body_mut() = CacheBody::kept(stored.body.clone(), None);
        }
    }
    response.headers_mut().insert(AGE, HeaderValue::from(stored.age(Instant::now()).as_secs()));
    response
}

#[cfg(test)]
mod tests;
