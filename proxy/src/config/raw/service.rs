//! Endpoints that the records of a service name: `srv+http://_http._tcp.orders.shop.svc.cluster.local`.

use http::uri::Authority;

use crate::config::{
    decode::Cx,
    model::{Endpoint, SRV},
    node::{Node, shorten},
};

/// Bytes of one label of a name (RFC 1035).
const LONGEST_LABEL: usize = 63;

/// The endpoint of `text`, which begins with `srv+`; what is wrong with it is said. Whom it is for, and whose its certificate must be, is the
/// domain of the service: where its records lead is nobody's proof (RFC 6125).
pub(super) fn service(node: &Node, text: &str, cx: &mut Cx) -> Option<Endpoint> {
    let wrong = |cx: &mut Cx, problem: &str, help: &str| {
        cx.error(node.at, format!("`{}` {problem}", shorten(text)), help.to_owned())
    };
    let rest = text.strip_prefix(SRV).unwrap_or(text);
    let secure = rest.strip_prefix("https://");
    let Some(name) = secure.or_else(|| rest.strip_prefix("http://")) else {
        return wrong(cx, "is not an HTTP address", "write srv+http:// or srv+https:// before the service");
    };
    let name = name.strip_suffix('/').unwrap_or(name).to_ascii_lowercase();
    if name.contains(':') {
        return wrong(cx, "has a port", "remove it: the records of a service say at which ports it is");
    }
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(&name).split('.').collect();
    let is_label = |label: &&str| {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_plain && !label.is_empty() && label.len() <= LONGEST_LABEL
    };
    let (service, domain) = labels.split_at(labels.len().min(2));
    let is_service = service.iter().all(|label| label.starts_with('_')) && !domain.is_empty();
    let authority = domain.join(".").parse::<Authority>().ok().filter(|_| is_service && labels.iter().all(is_label));
    match authority {
        Some(authority) => {
            let service = Some(name.into());
            Some(Endpoint { authority, is_rooted: false, is_secure: secure.is_some(), socket: None, service })
        }
        None => wrong(
            cx,
            "names no service",
            "write its service, protocol and domain: srv+http://_http._tcp.orders.example.com",
        ),
    }
}
