//! A request's head on its way to an endpoint.

use http::{HeaderMap, HeaderValue, Method, Uri};

use super::added::Added;

/// The head of a request, which more than one attempt may send.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target; the path and the query of it are sent.
    pub uri: &'a Uri,
    /// Its fields, without those that frame the body: the body decides on them.
    pub headers: &'a HeaderMap,
    /// Whom it is for, where that is not what its fields say.
    pub host: Option<&'a HeaderValue>,
    /// What the attempt adds to them.
    pub added: Option<&'a Added<'a>>,
}
