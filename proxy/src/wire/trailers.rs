//! What a trailer section must not say (RFC 9110 section 6.5.1), whoever sends it and by whichever HTTP it goes on.
//!
//! A trailer comes after everything that a field of its name decides: how the message is framed, where it goes, who sends it,
//! what this proxy says of it. A recipient that merges trailers into the head would heed it all the same. So the rules for heads
//! hold for trailers, too, and here nobody's word counts.

use http::{HeaderMap, HeaderName};

/// Whether a field of this name is left out of every trailer section.
pub(crate) fn is_misplaced(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        // Framing and routing.
        "content-length" | "transfer-encoding" | "trailer" | "host" | "te" | "expect" | "max-forwards"
            // What the content is.
            | "content-encoding" | "content-type" | "content-range" | "cache-control"
            // One connection's.
            | "connection" | "keep-alive" | "proxy-connection" | "upgrade" | "http2-settings"
            // Who is calling, for whom, and under which key.
            | "authorization" | "proxy-authorization" | "proxy-authenticate" | "www-authenticate" | "cookie" | "set-cookie"
            | "x-api-key" | "idempotency-key" | "forwarded" | "x-real-ip" | "via"
    ) || name.starts_with("x-forwarded-")
}

/// Whether only this proxy says it, as it does in the trailers of a gRPC answer of its own.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("mainstay-") || matches!(name, "idempotent-replayed" | "operation-location")
}

/// What a peer may have said of a section that came from it; `None` if nothing is left.
pub(crate) fn received(mut trailers: HeaderMap) -> Option<HeaderMap> {
    super::forward::remove_where(&mut trailers, |name| is_misplaced(name) || is_ours(name));
    (!trailers.is_empty()).then_some(trailers)
}

/// Takes out what must not be sent, whoever says it.
pub(crate) fn strip(trailers: &mut HeaderMap) {
    super::forward::remove_where(trailers, is_misplaced);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_of_its_answer_passes() {
        for name in ["grpc-status", "grpc-message", "server-timing", "etag", "digest", "x-checksum", "x-forward"] {
            let section = HeaderMap::from_iter([(HeaderName::from_static(name), "1".parse().unwrap())]);
            assert_eq!(received(section.clone()), Some(section), "{name}");
        }
    }
}
