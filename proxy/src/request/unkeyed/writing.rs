//! What caches forget because of a write on its way.

use std::sync::Arc;

use http::header::{HOST, HeaderMap};
use mainstay_policies::evidence::Sent;

use crate::{
    attempts::{attempt::Outbound, head::Head, run::UpstreamResponse},
    request::session::Session,
    respond::failure::Failure,
    runtime::{Runtime, route::Route},
};

/// A write on its way: after one that happened, or may have, no cache may answer with what was before (RFC 9111 section 4.4).
/// Dropped before its [end](Self::ended) is known it is one whose client has left: it may have happened.
pub(super) struct Writing {
    runtime: Arc<Runtime>,
    route: Arc<Route>,
    path: Box<str>,
    host: HeaderMap,
    is_open: bool,
}

impl Writing {
    pub(crate) fn begin(session: &Session, outbound: &Outbound, head: &Head) -> Self {
        Self {
            runtime: session.runtime.clone(),
            route: outbound.route.clone(),
            path: head.uri.path().into(),
            host: head.headers.get(HOST).map(|host| (HOST, host.clone())).into_iter().collect(),
            is_open: true,
        }
    }

    pub(crate) fn ended(&mut self, answered: &Result<UpstreamResponse, Failure>, attempts: u32) {
        self.is_open = false;
        let changed = match answered {
            // A 4xx speaks for its own attempt only, and any other answer may come from one that acted.
            Ok(answer) => !answer.response.status().is_client_error() || attempts > 1,
            Err(Failure::Attempt(error)) => error.sent == Sent::Maybe,
            Err(Failure::NoTime(sent)) => *sent == Sent::Maybe,
            Err(_) => false,
        };
        if changed {
            self.forget();
            if let Ok(answer) = answered {
                let snapshot = self.runtime.snapshot.load();
                snapshot.forget_named(&self.route, &self.host, &self.path, answer.response.headers());
            }
        }
    }

    fn forget(&self) {
        // Those in force now: a reload may have come between.
        self.runtime.snapshot.load().forget(&self.route, &self.path);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.is_open {
            self.forget();
        }
    }
}
