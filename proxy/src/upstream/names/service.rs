//! The records of a service (RFC 2782): which hosts offer it, at which ports, and how much of it each is to have.
//!
//! Of all priorities the lowest one counts that has an address at all. Weights are shares: a host with several addresses divides its
//! own among them, and one whose weight is 0 beside others that have more gets very little.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use hickory_resolver::{
    TokioResolver,
    proto::rr::{RData, rdata::SRV},
};

use super::{Address, NO_ADDRESS};

/// Hosts that are asked for at once.
const AT_ONCE: usize = 16;
/// What weight 0 is worth of the greatest one.
const LEAST: f64 = 0.01;

/// The addresses of a service, with their shares, and how long they are good.
pub(super) async fn look_up(resolver: &TokioResolver, name: &str) -> Result<(Vec<Address>, Duration), String> {
    let answer = resolver.srv_lookup(name).await.map_err(|error| error.to_string())?;
    let mut ttl = answer.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    let mut by_priority: BTreeMap<u16, Vec<SRV>> = BTreeMap::new();
    for record in answer.answers() {
        if let RData::SRV(offer) = &record.data
            // Says that the service is decidedly not offered.
            && !offer.target.is_root()
        {
            by_priority.entry(offer.priority).or_default().push(offer.clone());
        }
    }
    for offers in by_priority.into_values() {
        let asked = offers.into_iter().map(|offer| addresses(resolver, offer));
        let found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        if found.iter().any(|host| !host.addresses.is_empty()) {
            ttl = found.iter().filter_map(|host| host.ttl).fold(ttl, u32::min);
            return Ok((shared(&found), Duration::from_secs(u64::from(ttl))));
        }
    }
    Err(NO_ADDRESS.to_owned())
}

/// A host that offers the service.
struct Host {
    weight: u16,
    addresses: Vec<SocketAddr>,
    ttl: Option<u32>,
}

/// Where a host is. One that is nowhere offers nothing; one that nobody could be asked about makes the whole answer none, for the
/// old set is better than a part of the new one.
async fn addresses(resolver: &TokioResolver, offer: SRV) -> Result<Host, String> {
    let (weight, port) = (offer.weight, offer.port);
    match resolver.lookup_ip(offer.target.clone()).await {
        Ok(answer) => Ok(Host {
            weight,
            addresses: answer.iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            ttl: answer.as_lookup().answers().iter().map(|record| record.ttl).min(),
        }),
        Err(error) if error.is_no_records_found() => Ok(Host { weight, addresses: Vec::new(), ttl: None }),
        Err(error) => Err(format!("{}: {error}", offer.target)),
    }
}

/// Each address once, with its part of the greatest share.
fn shared(hosts: &[Host]) -> Vec<Address> {
    let greatest = hosts.iter().filter(|host| !host.addresses.is_empty()).map(|host| host.weight).max().unwrap_or(0);
    let worth = |weight: u16| match (weight, greatest) {
        (_, 0) => 1.0,
        (0, greatest) => LEAST * f64::from(greatest),
        (weight, _) => f64::from(weight),
    };
    let mut parts: BTreeMap<SocketAddr, f64> = BTreeMap::new();
    for host in hosts {
        let part = worth(host.weight) / host.addresses.len().max(1) as f64;
        for address in &host.addresses {
            *parts.entry(*address).or_default() += part;
        }
    }
    let most = parts.values().copied().fold(0.0, f64::max);
    parts.into_iter().map(|(at, part)| Address { at, share: part / most }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shares_of_hosts_and_little_is_not_nothing() {
        let host = |weight, last: &[u8]| Host {
            weight,
            addresses: last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 80))).collect(),
            ttl: None,
        };
        for (hosts, expected) in [
            (vec![host(1, &[1]), host(3, &[2])], vec![1.0 / 3.0, 1.0]),
            (vec![host(0, &[1]), host(0, &[2])], vec![1.0, 1.0]),
            (vec![host(0, &[1]), host(10, &[2])], vec![0.01, 1.0]),
            // Two addresses share what their host has; a host that is nowhere has none of it.
            (vec![host(2, &[1, 2]), host(2, &[3]), host(9, &[])], vec![0.5, 0.5, 1.0]),
            (vec![host(1, &[1]), host(1, &[1, 2])], vec![1.0, 1.0 / 3.0]),
        ] {
            let shares: Vec<_> = shared(&hosts).into_iter().map(|address| address.share).collect();
            assert_eq!(shares.len(), expected.len());
            for (share, expected) in shares.iter().zip(&expected) {
                assert!((share - expected).abs() < 1e-9, "{shares:?}");
            }
        }
    }
}
