//! A request to Mainstay itself: bounded, read, handed to `control`.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Response, request::Parts};
use mainstay_policies::{access::ClientAddress, problem::Problem, rate_limit::Admission};
use tokio::time::timeout;

use super::{exchange::Exchange, routed::refuse, session::Session};
use crate::{
    attempts::alarm,
    config::model::{self, Principal},
    control::{self, Caller, ControlContext, Reader},
    listener::{ClientIncoming, body::ClientBody},
    operation::asker::StatusAsker,
    respond::failure::Failure,
    runtime::snapshot::Snapshot,
    wire::body::{
        ProxyBody,
        collect::{self, Collected},
    },
};

/// Bytes of a request to the control path; the largest is a batch of 100 keys of 255 bytes.
const CONTROL_BODY_BYTES: usize = 64 * 1024;
/// How long such a request may take to arrive.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);

/// A request to Mainstay itself.
pub(super) struct ControlRequest {
    pub(super) exchange: Exchange,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) listener: Arc<model::Listener>,
    pub(super) parts: Box<Parts>,
    pub(super) body: ClientIncoming,
    pub(super) principal: Option<Bytes>,
}

/// What Mainstay itself serves on this listener: operations, problem pages, keys. Bounded apart from traffic.
pub(super) async fn serve(session: &Session, request: ControlRequest) -> Response<ProxyBody> {
    let ControlRequest { mut exchange, snapshot, listener, mut parts, body, principal } = request;
    if let Some(limiter) = snapshot.control_limits.get(&listener.name)
        && let Admission::Rejected { retry_after, .. } = limiter.admit(&[], exchange.started)
    {
        return refuse(exchange, &snapshot, Failure::RateLimited { retry_after });
    }
    let body = ClientBody::new(body, CONTROL_PATIENCE, session.connection.clone(), None);
    let body = match timeout(CONTROL_PATIENCE, collect::up_to(body, CONTROL_BODY_BYTES)).await {
        Ok(Ok(Collected::Whole { body, .. })) => body,
        Ok(Ok(Collected::TooLarge { .. })) => {
            let detail = format!("A body here may have at most {CONTROL_BODY_BYTES} bytes.");
            return refuse(exchange, &snapshot, Failure::Request(Problem::BodyTooLarge, Cow::Owned(detail)));
        }
        Ok(Err(_)) | Err(_) => {
            let detail = Cow::Borrowed("The request's body broke off or stalled before it was complete.");
            return refuse(exchange, &snapshot, Failure::Request(Problem::BadRequest, detail));
        }
    };
    let asker = StatusAsker::new(session.runtime.clone(), snapshot.clone(), session.worker);
    let context = ControlContext {
        ledger: session.runtime.resources.ledger.clone(),
        config: snapshot.config.clone(),
        clock: session.runtime.resources.clock.clone(),
        gate: session.runtime.resources.gate.clone(),
        mint: session.runtime.resources.mint.clone(),
        asker: Some(Arc::new(asker)),
    };
    parts.extensions.insert(control::TraceId(exchange.trace().trace_id().to_string().into()));
    parts.extensions.insert(ClientAddress(exchange.client.ip()));
    parts.extensions.insert(control::AskedAt(listener.clone()));
    let reader = match listener.principal {
        Principal::Anonymous => Reader::Anonymous,
        Principal::Header(_) | Principal::Certificate(_) | Principal::Local => Reader::Principal(principal.as_deref()),
    };
    let former: Vec<_> = listener.former.iter().map(|way| session.principal(way, &parts.headers)).collect();
    let caller = Caller { reader, former: &former };
    let handled = alarm::unless_cut_off(control::routes::handle(&context, &parts, body, caller)).await;
    let Ok(response) = handled else { return refuse(exchange, &snapshot, Failure::Draining) };
    exchange.answer(response.map(ProxyBody::from))
}
