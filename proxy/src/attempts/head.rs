//! The head of a request as the upstream shall see it.

use http::{HeaderMap, HeaderValue, Method, Uri, header::CONTENT_TYPE};

use crate::{
    upstream::{Added, head::RequestHead},
    wire::forward::Hop,
};

/// The head of a request as the upstream shall see it, before what each attempt adds.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The way that the request came; `None` if that is said in its headers.
    pub(crate) hop: Option<Hop>,
    /// The protocol that the connection shall change to.
    pub(crate) upgrade: Option<HeaderValue>,
}

impl Head {
    /// `target` is what is sent in place of its own.
    pub(crate) fn as_request<'a>(&'a self, target: Option<&'a Uri>, added: &'a Added<'a>) -> RequestHead<'a> {
        let uri = target.unwrap_or(&self.uri);
        RequestHead { method: &self.method, uri, headers: &self.headers, host: None, added: Some(added) }
    }

    /// Says in the headers how the request came, so that it can be kept.
    pub(crate) fn complete(&mut self) {
        if let Some(hop) = self.hop.take() {
            hop.apply(&mut self.headers);
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
    }
}
