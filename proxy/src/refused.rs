//! A head that is refused before there is a request. It is answered, counted, logged and traced like any other, as far as
//! anything is known of it; its method and path are not.

use http::{HeaderMap, Method, Response, Uri};
use tokio::time::Instant;

use crate::{
    body::ProxyBody,
    exchange::{Arrival, Exchange},
    listener::head::Refused,
    respond::Failure,
    stack::{self, Session},
};

/// The answer to such a head.
pub(crate) fn head(session: &Session, refused: Refused) -> Response<ProxyBody> {
    let snapshot = session.shared.snapshot.load_full();
    let now = Instant::now();
    let arrival = Arrival {
        at: now,
        listener: session.listener.load().name.clone(),
        client: session.peer,
        connection: session.connection.clone(),
        is_http1: true,
    };
    let method = Method::from_bytes(b"-").expect("a dash is a token");
    let trace = session.shared.tracing.start(&HeaderMap::new(), now);
    let exchange = Exchange::new(session.shared.clone(), arrival, method, Uri::from_static("-"), trace);
    stack::refuse(exchange, &snapshot, Failure::Head(refused))
}
