//! What a call of the service asks of an outbound listener: whom, by which scheme and port, and whether it is meant for this
//! proxy itself. On an inbound listener a target in absolute form is one in origin form with that `Host` (RFC 9112 section
//! 3.2.2).

use std::{borrow::Cow, net::IpAddr};

use http::{Version, request::Parts, uri::Scheme};
use mainstay_policies::problem::Problem;

use crate::{config::model, respond::failure::Failure, router::AskedPort};

/// Whether a client of a forward proxy sent it: only such a client names the scheme and the host in its request line.
fn is_proxied(parts: &Parts) -> bool {
    parts.version != Version::HTTP_2 && parts.uri.authority().is_some()
}

/// Whether TLS is asked for. A client of HTTP/2 always says.
pub(super) fn asks_for_tls(parts: &Parts) -> bool {
    parts.uri.scheme() == Some(&Scheme::HTTPS)
}

/// The port that a call out asks for. One that is not its scheme's own is served by a route that names it.
pub(super) fn asked_port(parts: &Parts, named: Option<u16>) -> AskedPort {
    let default = if asks_for_tls(parts) { 443 } else { 80 };
    let number = named.unwrap_or(default);
    AskedPort { number, must_be_named: is_proxied(parts) && number != default }
}

/// Whether a call out is meant for this proxy, as far as its target says: `own` is where its caller reached us.
pub(super) fn is_for_us(parts: &Parts, listener: &model::Listener, own: IpAddr) -> bool {
    let Some(authority) = parts.uri.authority() else { return true };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    // A client of a Unix socket calls whoever is there by a name that means nothing.
    let Some(bound) = listener.address.internet() else { return host.eq_ignore_ascii_case("localhost") };
    let (bound, port) = (bound.ip(), bound.port());
    let is_ours = |ip: IpAddr| ip.to_canonical() == bound.to_canonical() || ip.to_canonical() == own.to_canonical();
    let by_name = host.eq_ignore_ascii_case("localhost") && own.to_canonical().is_loopback();
    authority.port_u16() == Some(port) && (by_name || host.parse().is_ok_and(is_ours))
}

/// No route of the listener leads there.
pub(super) fn denied(listener: &model::Listener, host: &str) -> Failure {
    let detail = format!(
        "no route of listener `{}` names host `{host}`; add one, or allow a tunnel with `connect.allow`",
        listener.name
    );
    Failure::Request(Problem::EgressDenied, Cow::Owned(detail))
}

/// What was asked for over TLS would go out in clear.
pub(super) const DOWNGRADED: Failure =
    Failure::Request(Problem::UpstreamUnreachable, Cow::Borrowed("asked for https, the route leads to http"));

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(version: Version, uri: &str) -> Parts {
        Request::builder().version(version).uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_port_that_is_not_its_schemes_own_has_to_be_named_by_a_route() {
        for (version, uri, named, number, must_be_named) in [
            (Version::HTTP_11, "http://a/", None, 80, false),
            (Version::HTTP_11, "http://a:80/", Some(80), 80, false),
            (Version::HTTP_11, "http://a:443/", Some(443), 443, true),
            (Version::HTTP_11, "https://a/", None, 443, false),
            (Version::HTTP_11, "https://a:8443/", Some(8443), 8443, true),
            // A local port is called as a service is: its `Host` says where it is, not what is asked for.
            (Version::HTTP_11, "/", Some(15101), 15101, false),
            (Version::HTTP_2, "http://127.0.0.1:15101/", Some(15101), 15101, false),
        ] {
            let asked = asked_port(&parts(version, uri), named);
            assert_eq!(asked, AskedPort { number, must_be_named }, "{version:?} {uri}");
        }
    }
}
