use std::net::IpAddr;

use http::{Method, Request};
use proptest::prelude::*;

use super::*;
use crate::body::BoxError;

fn networks(list: &[&str]) -> Vec<Cidr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn path(segments: &[&str], rest: bool) -> PathRule {
    let segments = segments.iter().map(|text| (*text != "*").then(|| (*text).to_owned())).collect();
    PathRule { segments, rest }
}

#[test]
fn a_network_holds_its_addresses_and_no_others() {
    for (network, address, held) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7/32", "192.0.2.6", false),
        ("192.0.2.0/31", "192.0.2.1", true),
        ("192.0.2.0/24", "::ffff:192.0.2.9", true),
        ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
    ] {
        let network: Cidr = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), held, "{address} in {network}");
    }
}

#[test]
fn what_is_no_network_is_refused() {
    for (text, error) in [
        ("", CidrError::Address),
        ("10.0.0/8", CidrError::Address),
        ("10.0.0.0/", CidrError::Address),
        ("10.0.0.0/+8", CidrError::Address),
        ("10.0.0.0/33", CidrError::Prefix),
        ("::/129", CidrError::Prefix),
        ("10.0.0.1/8", CidrError::HostBits),
    ] {
        assert_eq!(text.parse::<Cidr>(), Err(error), "{text:?}");
    }
}

#[test]
fn deny_wins_and_allow_leaves_nothing_else() {
    let inside: IpAddr = "10.0.0.1".parse().unwrap();
    let outside: IpAddr = "192.0.2.1".parse().unwrap();
    let from_inside = Rule { clients: networks(&["10.0.0.0/8"]), ..Rule::default() };
    let admin = Rule { path: Some(path(&["admin"], true)), ..Rule::default() };
    let writes = Rule { methods: vec![Method::POST], path: Some(path(&["orders", "*"], false)), ..from_inside.clone() };
    let list = |allow: &[&Rule], deny: &[&Rule]| AccessList {
        allow: allow.iter().copied().cloned().collect(),
        deny: deny.iter().copied().cloned().collect(),
    };
    for (list, client, method, path, admitted) in [
        (list(&[], &[]), outside, Method::GET, "/", true),
        (list(&[&from_inside], &[]), inside, Method::GET, "/", true),
        (list(&[&from_inside], &[]), outside, Method::GET, "/", false),
        (list(&[&from_inside], &[&admin]), inside, Method::GET, "/admin", false),
        (list(&[&from_inside], &[&admin]), inside, Method::GET, "/admin/users/1", false),
        (list(&[&from_inside], &[&admin]), inside, Method::GET, "/administrator", true),
        (list(&[], &[&admin]), outside, Method::GET, "/", true),
        (list(&[&writes], &[]), inside, Method::POST, "/orders/7", true),
        (list(&[&writes], &[]), inside, Method::POST, "/orders/", false),
        (list(&[&writes], &[]), inside, Method::POST, "/orders/7/8", false),
        (list(&[&writes], &[]), inside, Method::PUT, "/orders/7", false),
        (list(&[&writes, &admin], &[]), outside, Method::GET, "/admin/", true),
        (list(&[], &[&admin]), outside, Method::GET, "//admin/x", false),
        (list(&[], &[&admin]), outside, Method::GET, "/x%2F..%2Fadmin", false),
        (list(&[], &[&admin]), outside, Method::GET, "/admin/../x", false),
        (list(&[&admin], &[]), outside, Method::GET, "/admin/../x", false),
        (list(&[&admin], &[]), outside, Method::GET, "//admin/x", false),
        (list(&[&admin], &[]), outside, Method::GET, "/admin/x;v=1", true),
        (list(&[&from_inside], &[]), inside, Method::GET, "//anything", true),
    ] {
        assert_eq!(list.admits(client, &method, path), admitted, "{client} {method} {path} {list:?}");
    }
}

proptest! {
    #[test]
    fn a_network_holds_what_shares_its_prefix(address: u32, other: u32, prefix in 0_u32..=32) {
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        let network: Cidr = format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(address & mask)).parse().unwrap();
        let held = network.contains(IpAddr::V4(std::net::Ipv4Addr::from_bits(other)));
        prop_assert_eq!(held, address & mask == other & mask);
    }
}

#[tokio::test]
async fn the_layer_refuses_whom_nobody_vouches_for() {
    use tower::{Layer, ServiceExt, service_fn};
    let layer = AccessLayer::new(AccessList {
        allow: vec![Rule { clients: networks(&["10.0.0.0/8"]), ..Rule::default() }],
        deny: Vec::new(),
    });
    let call = |client: Option<&str>| {
        let mut request = Request::new(());
        if let Some(client) = client {
            request.extensions_mut().insert(ClientAddress(client.parse().unwrap()));
        }
        layer.layer(service_fn(|_: Request<()>| async { Ok::<_, BoxError>(()) })).oneshot(request)
    };
    assert!(call(Some("10.0.0.1")).await.is_ok());
    assert!(call(Some("11.0.0.1")).await.unwrap_err().is::<Forbidden>());
    assert!(call(None).await.unwrap_err().is::<Forbidden>());
}

#[test]
fn a_rule_may_name_callers_or_all_below_a_name() {
    let pattern = |text: &str| PrincipalPattern(text.to_owned());
    for (text, principal, expected) in [
        ("spiffe://prod/ns/shop/**", "spiffe://prod/ns/shop/sa/web", true),
        ("spiffe://prod/ns/shop/**", "spiffe://prod/ns/shop", false),
        ("spiffe://prod/ns/shop/**", "spiffe://prod/ns/shop/", false),
        ("spiffe://prod/ns/shop/**", "spiffe://prod/ns/shopping/sa/web", false),
        ("spiffe://prod/ns/shop", "spiffe://prod/ns/shop", true),
        ("spiffe://prod/ns/shop", "spiffe://prod/ns/shop/sa", false),
    ] {
        assert_eq!(pattern(text).matches(principal.as_bytes()), expected, "{text} {principal}");
    }
    let list = AccessList { allow: vec![Rule { principals: vec![pattern("ann")], ..Rule::default() }], deny: vec![] };
    let client = "192.0.2.1".parse().unwrap();
    let admits = |principal| list.admits_caller((client, principal), &Method::GET, "/");
    assert!(admits(Some(&b"ann"[..])) && !admits(Some(b"bob")) && !admits(None));
    assert!(!list.admits(client, &Method::GET, "/"), "who is not known is not let in by name");
}
