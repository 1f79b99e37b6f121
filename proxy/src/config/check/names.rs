//! Names of services elsewhere that are searched for among those nearby first.

use super::found::Found;
use crate::config::model::{Config, Endpoint, Forward, SRV, Upstream};

/// What a name of this cluster, of this network or of no network ends with; such names are meant to be searched, or are nobody's.
const NEAR: [&str; 9] =
    [".svc", ".local", ".internal", ".localhost", ".localdomain", ".lan", ".intranet", ".test", ".home.arpa"];
/// A name with fewer dots may be one of a cluster: its service, or its service and namespace.
const DOTS_OF_ELSEWHERE: usize = 2;

pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    for upstream in &config.upstreams {
        // Who is named in the configuration is asked as it is: search lists are resolv.conf's.
        if !upstream.resolve.servers.is_empty() {
            continue;
        }
        for (number, endpoint) in upstream.endpoints.iter().enumerate() {
            let Some(name) = searched(upstream, endpoint) else { continue };
            let message = format!(
                "upstream `{}`: where resolv.conf says `ndots:5`, as in a pod, `{name}` is searched for in each of its domains \
                 before it is asked for as it is: up to 8 questions instead of 2",
                upstream.name
            );
            let cure = format!("end it with a dot: {}", rooted(endpoint, name));
            found.note(
                "searched-name",
                &["upstreams", &upstream.name, "endpoints", &number.to_string()],
                message,
                cure,
            );
        }
    }
}

/// The name of an endpoint elsewhere that is searched for.
fn searched<'a>(upstream: &Upstream, endpoint: &'a Endpoint) -> Option<&'a str> {
    let name = endpoint.service.as_deref().unwrap_or(endpoint.authority.host());
    let is_name = endpoint.socket.is_none() && !name.starts_with('[') && name.parse::<std::net::IpAddr>().is_err();
    if !is_name || endpoint.is_rooted || name.ends_with('.') {
        return None;
    }
    let domain = if endpoint.service.is_some() { endpoint.authority.host() } else { name };
    let dots = domain.matches('.').count();
    // Public authorities vouch for no name of a cluster.
    let is_elsewhere = dots >= DOTS_OF_ELSEWHERE || (dots > 0 && matches!(upstream.forward, Forward::External { .. }));
    let is_near = domain.contains(".svc.") || NEAR.iter().any(|end| domain.ends_with(end));
    (is_elsewhere && !is_near).then_some(name)
}

/// The endpoint as it is better written.
fn rooted(endpoint: &Endpoint, name: &str) -> String {
    let scheme = if endpoint.is_secure { "https://" } else { "http://" };
    if endpoint.service.is_some() {
        return format!("{SRV}{scheme}{name}.");
    }
    let port = endpoint.written().strip_prefix(name).unwrap_or_default();
    format!("{scheme}{name}.{port}")
}

#[cfg(test)]
mod tests {
    use crate::config::{finding::Finding, parse};

    /// What is said of the endpoint of an upstream, with these other settings.
    fn said(endpoint: &str, more: &str) -> Vec<String> {
        let document = format!(
            "listeners: {{ out: {{ address: '127.0.0.1:8081', direction: outbound }} }}\npolicies: {{ p: {{ timeout: 1s }} }}\n\
             upstreams: {{ app: {{ endpoints: ['{endpoint}']{more} }} }}\n\
             routes: [{{ match: {{ listener: out, methods: [GET] }}, upstream: app, policy: p }}]\n"
        );
        let loaded = parse("mainstay.yaml", &document).unwrap_or_else(|errors| panic!("{errors}\n{document}"));
        loaded.findings.iter().filter(|finding| finding.code == "searched-name").map(Finding::text).collect()
    }

    #[test]
    fn a_name_elsewhere_is_better_written_with_a_dot() {
        for (endpoint, better) in [
            ("https://api.stripe.com", "https://api.stripe.com."),
            ("https://api.stripe.com:8443", "https://api.stripe.com.:8443"),
            ("http://api.stripe.com", "http://api.stripe.com."),
            // Public authorities prove it, so it is none of the cluster's.
            ("https://stripe.com", "https://stripe.com."),
            ("srv+https://_https._tcp.orders.example.com", "srv+https://_https._tcp.orders.example.com."),
        ] {
            let found = said(endpoint, "");
            assert!(
                found.len() == 1 && found[0].contains(&format!("end it with a dot: {better}")),
                "{endpoint}: {found:?}"
            );
            assert_eq!(said(better, ""), [] as [&str; 0], "{better}");
        }
    }

    #[test]
    fn names_nearby_addresses_and_names_that_nobody_searches_are_left_in_peace() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "http://localhost:9000",
            "http://orders",
            "http://orders.shop",
            "http://orders.shop.svc",
            "https://orders.shop.svc",
            "http://orders.shop.svc.cluster.local",
            "http://orders.shop.svc.example.com",
            "http://db.team.internal",
            "unix:/run/app.sock",
            "srv+http://_http._tcp.orders.shop.svc.cluster.local",
        ] {
            assert_eq!(said(endpoint, ""), [] as [&str; 0], "{endpoint}");
        }
        assert_eq!(said("https://api.stripe.com", ", resolve: { servers: ['10.0.0.53:53'] }"), [] as [&str; 0]);
    }
}
