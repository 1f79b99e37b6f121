//! Which pages of other origins may read an answer (the CORS protocol, WHATWG Fetch section 3.2).
//!
//! A browser sends `Origin`, and before anything but a simple request it asks with a preflight: `OPTIONS` with
//! `Access-Control-Request-Method`. Without the right fields in an answer its page reads nothing of it, neither what happened
//! nor where that can be read; so they belong on every answer, replayed and refused ones too, not only on those of a service.
//!
//! ```
//! use http::{HeaderMap, HeaderValue};
//! use mainstay_policies::cors::{Cors, Origins};
//! use std::time::Duration;
//!
//! let origins = Origins::Listed(vec!["https://shop.example".into()]);
//! let cors = Cors::new(origins, false, Duration::from_mins(10), &[], &[]).unwrap();
//! let mut answer = HeaderMap::new();
//! cors.permit(Some(&HeaderValue::from_static("https://shop.example")), &mut answer);
//! assert_eq!(answer["access-control-allow-origin"], "https://shop.example");
//! assert_eq!(answer["vary"], "Origin");
//! ```

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

/// What a page may send beside the fields that every page may: what a keyed write needs.
const SENT: [&str; 4] = ["content-type", "idempotency-key", "prefer", "traceparent"];
/// What a page may read of an answer beside the fields that every page may: where a write's outcome can be read, and how it
/// stands.
const READ: [&str; 7] = [
    "operation-location",
    "mainstay-error",
    "mainstay-outcome",
    "idempotent-replayed",
    "retry-after",
    "content-location",
    "preference-applied",
];

/// Whose pages may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// Those of these origins, as browsers write them: `https://shop.example`, with a port unless it is the scheme's own.
    Listed(Vec<Box<str>>),
}

/// Who may read answers, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
    max_age: Duration,
    headers: Vec<HeaderName>,
    expose: Vec<HeaderName>,
    sent: HeaderValue,
    read: HeaderValue,
}

/// Any page of any origin could act in its visitor's name; whoever configured it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("any origin with credentials lets every page act in its visitor's name")]
pub struct AnyWithCredentials;

impl Cors {
    /// `max_age` is how long a browser may remember a preflight's answer. `headers` may be sent and `expose` may be read
    /// beside those that a keyed write needs.
    ///
    /// # Errors
    /// Any origin with credentials.
    pub fn new(
        origins: Origins,
        credentials: bool,
        max_age: Duration,
        headers: &[HeaderName],
        expose: &[HeaderName],
    ) -> Result<Self, AnyWithCredentials> {
        if credentials && origins == Origins::Any {
            return Err(AnyWithCredentials);
        }
        let (sent, read) = (list(&SENT, headers), list(&READ, expose));
        Ok(Self { origins, credentials, max_age, headers: headers.to_vec(), expose: expose.to_vec(), sent, read })
    }

    /// Whose pages may read.
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Whether they may send cookies and the like.
    pub const fn credentials(&self) -> bool {
        self.credentials
    }

    /// How long a browser may remember a preflight's answer.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// What may be sent beside what a keyed write needs.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// What may be read beside what a keyed write needs.
    pub fn expose(&self) -> &[HeaderName] {
        &self.expose
    }

    /// Whether an origin's pages may read.
    fn admits(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(origins) => origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()),
        }
    }

    /// Says on an answer who may read it, in place of whatever a service has said.
    pub fn permit(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let theirs = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let theirs: Vec<HeaderName> = answer.keys().filter(theirs).cloned().collect();
        for name in theirs {
            answer.remove(name);
        }
        // Also on an answer to nobody: a cache in between would give it to somebody.
        if !varies_by_origin(answer) {
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = origin.filter(|origin| self.admits(origin)) else { return };
        let allowed = match self.origins {
            Origins::Any => HeaderValue::from_static("*"),
            Origins::Listed(_) => origin.clone(),
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.read.clone());
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Says on a preflight's answer what a page may send with these methods; to be called after [`permit`](Self::permit), which
    /// says the rest.
    pub fn answer_preflight(&self, origin: &HeaderValue, methods: &[Method], answer: &mut HeaderMap) {
        if !self.admits(origin) {
            return;
        }
        let methods = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        if let Ok(methods) = HeaderValue::try_from(methods) {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.sent.clone());
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
    }
}

/// The method that a preflight asks for, if a request is one.
pub fn asked_for(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

fn varies_by_origin(answer: &HeaderMap) -> bool {
    let fields = answer.get_all(VARY).iter().filter_map(|field| field.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
}

fn list(always: &[&str], more: &[HeaderName]) -> HeaderValue {
    let more = more.iter().map(HeaderName::as_str).filter(|name| !always.contains(name));
    let names = always.iter().copied().chain(more).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(names).expect("names of fields are tokens")
}

#[cfg(test)]
mod tests;
