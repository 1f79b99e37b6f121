//! Pages of other origins: their preflights are answered here, and every answer says who may read it.

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header::ORIGIN, request::Parts};
use mainstay_policies::cors::{Cors, asked_for};

use crate::{
    config::model,
    router::Router,
    runtime::{route::Route, snapshot::Snapshot},
    wire::body::ProxyBody,
};

/// What pages may ask of Mainstay itself.
const CONTROL: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// Who reads the answer, where Mainstay says who may.
pub(super) struct Reader {
    cors: Arc<Cors>,
    origin: Option<HeaderValue>,
}

impl Reader {
    /// The one of a request, boxed: most listeners leave it to the service, and then nobody pays for the room.
    pub(super) fn of(listener: &model::Listener, parts: &Parts) -> Option<Box<Self>> {
        let cors = listener.cors.clone()?;
        Some(Box::new(Self { cors, origin: parts.headers.get(ORIGIN).cloned() }))
    }

    /// Says so on its answer.
    pub(super) fn permit(&self, answer: &mut Response<ProxyBody>) {
        self.cors.permit(self.origin.as_ref(), answer.headers_mut());
        if let Some((Offer(methods), origin)) = answer.extensions_mut().remove().zip(self.origin.as_ref()) {
            self.cors.answer_preflight(origin, &methods, answer.headers_mut());
        }
    }
}

/// On the answer to a preflight: the methods of what is served there.
#[derive(Clone)]
struct Offer(Vec<Method>);

/// The answer to a preflight for something that is served here: a route with that path, or Mainstay's own. The fields that a
/// route asks for come only with the request itself, so they are not asked for here.
pub(super) fn answer_preflight(
    snapshot: &Snapshot,
    router: &Router<Arc<Route>>,
    parts: &Parts,
    host: &str,
) -> Option<Response<ProxyBody>> {
    let method = asked_for(&parts.method, &parts.headers)?;
    let path = parts.uri.path();
    let mut methods: Vec<Method> = Vec::new();
    if snapshot.is_control(path) {
        methods.extend(CONTROL);
    } else {
        let mut offers = router.offers(path, host).peekable();
        offers.peek()?;
        for offer in offers {
            // A route for every method serves the one that is asked for.
            let offered = if offer.methods.is_empty() { std::slice::from_ref(&method) } else { &*offer.methods };
            methods.extend_from_slice(offered);
        }
        methods.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
    }
    let mut response = Response::new(ProxyBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.extensions_mut().insert(Offer(methods));
    Some(response)
}
