//! A head that is refused before there is a request. It is answered, counted, logged and traced like any other, as far as
//! anything is known of it; its method and path are not.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::Instant;

use super::{
    exchange::Exchange,
    stack::{self, Session},
};
use crate::{
    respond::Failure,
    wire::{body::ProxyBody, http1::head::Refused},
};

/// The answer to such a head.
pub(crate) fn head(session: &Arc<Session>, refused: Refused) -> Response<ProxyBody> {
    let snapshot = session.shared.snapshot.load_full();
    let now = Instant::now();
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(b"-").expect("a dash is a token");
    parts.uri = Uri::from_static("-");
    let trace = session.shared.tracing.start(&HeaderMap::new(), now);
    stack::refuse(Exchange::new(session.clone(), now, &parts, trace), &snapshot, Failure::Head(refused))
}
