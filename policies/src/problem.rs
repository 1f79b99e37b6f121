//! Every error that Mainstay answers itself: RFC 9457 problem types.

use http::StatusCode;

/// What is known about the effect of the request that got this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing reached the service: repeat freely.
    None,
    /// The service may have acted.
    Unknown,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        /// A problem type. Its slug is the value of `Mainstay-Error` and the last segment of its `type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Problem {
            $($(#[$doc])* $variant,)*
        }

        impl Problem {
            /// Every problem type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug,)* }
            }

            /// The usual status; `outcome-unknown` has others beside it (502, 409).
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// The title, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

problems! {
    /// No route matches.
    NoRoute = "no-route", NOT_FOUND, "No route matches this request";
    /// An access list refuses.
    Forbidden = "forbidden", FORBIDDEN, "This request is not allowed";
    /// The service may not call there through this proxy.
    EgressDenied = "egress-denied", FORBIDDEN, "This proxy sends nothing there";
    /// A protected request has no key.
    KeyMissing = "key-missing", BAD_REQUEST, "An idempotency key is required";
    /// The key cannot be read.
    KeyInvalid = "key-invalid", BAD_REQUEST, "The idempotency key is not valid";
    /// Another request used this key.
    KeyReused = "key-reused", UNPROCESSABLE_ENTITY, "The idempotency key belongs to a different request";
    /// The key is remembered, its answer is not.
    KeyExpired = "key-expired", CONFLICT, "The answer under this idempotency key has expired";
    /// The first request is in flight.
    InProgress = "in-progress", CONFLICT, "A request with this idempotency key is in progress";
    /// Nobody knows whether the write happened.
    OutcomeUnknown = "outcome-unknown", GATEWAY_TIMEOUT, "It is not known whether this write happened";
    /// The caller is not known.
    PrincipalMissing = "principal-missing", UNAUTHORIZED, "The caller is not identified";
    /// The key belongs to a request that came with other credentials.
    CallerDiffers = "caller-differs", CONFLICT, "The idempotency key belongs to another caller";
    /// The service decided against the write, and there is no answer of its own to show.
    WriteFailed = "write-failed", UNPROCESSABLE_ENTITY, "This write was decided against";
    /// No such operation, or another caller's.
    OperationNotFound = "operation-not-found", NOT_FOUND, "There is no such operation";
    /// The address takes other methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This address does not take this method";
    /// The body is of a type that is not read here.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body's media type is not supported";
    /// The answer was too large to keep.
    ResponseNotRetained = "response-not-retained", CONFLICT, "The first answer was not kept";
    /// The key is known under more than one upstream.
    KeyAmbiguous = "key-ambiguous", BAD_REQUEST, "More than one upstream knows this key";
    /// The request body is over `max_body`.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The request body is too large";
    /// The ledger cannot take a write.
    LedgerUnavailable = "ledger-unavailable", SERVICE_UNAVAILABLE, "Keyed writes are not accepted at the moment";
    /// Over the rate limit.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// Over the concurrency limit.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "Too many requests in flight";
    /// The breaker is open.
    CircuitOpen = "circuit-open", SERVICE_UNAVAILABLE, "The service behind is failing; calls to it are paused";
    /// Time ran out.
    Timeout = "timeout", GATEWAY_TIMEOUT, "The service behind did not answer in time";
    /// No connection.
    UpstreamUnreachable = "upstream-unreachable", BAD_GATEWAY, "The service behind cannot be reached";
    /// The connection died, or spoke garbage.
    UpstreamError = "upstream-error", BAD_GATEWAY, "The connection to the service behind failed";
    /// The request is malformed.
    BadRequest = "bad-request", BAD_REQUEST, "The request is not valid HTTP";
    /// The request has been here before.
    Loop = "loop", LOOP_DETECTED, "This request goes round in a circle";
    /// Shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE, "This proxy is shutting down";
}

impl Problem {
    /// Whether the write that the answer is about may be tried again under another key, where the answer says so.
    pub const fn safe_to_use_new_key(self) -> Option<bool> {
        match self {
            Self::OutcomeUnknown => Some(false),
            Self::WriteFailed => Some(true),
            _ => None,
        }
    }

    /// The problem type of that slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|problem| problem.slug() == slug)
    }
}
