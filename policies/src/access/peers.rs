//! Peers whose word counts: who may say on whose behalf a request comes.

use std::net::IpAddr;

use super::Cidr;

/// Whom a rule trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This host, or this pod: loopback, and whoever calls an address of ours from that same address. The kernel drops what comes
    /// from outside under it.
    Local,
    /// Whoever is in this network.
    Network(Cidr),
}

/// The peers that a rule trusts. An empty list trusts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(pub Vec<Peer>);

impl Peers {
    /// Whether `peer` is one of them; `own` is the address at which it called us.
    pub fn include(&self, peer: IpAddr, own: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|trusted| match trusted {
            Peer::Local => peer.is_loopback() || peer == own.to_canonical(),
            Peer::Network(network) => network.contains(peer),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_is_loopback_and_the_address_that_was_called() {
        let local = Peers(vec![Peer::Local]);
        for (peer, own, included) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.6", "10.0.0.9", true),
            ("::1", "::1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("10.0.0.9", "10.0.0.9", true),
            ("10.0.0.9", "::ffff:10.0.0.9", true),
            ("10.0.0.8", "10.0.0.9", false),
            ("fe80::1", "fe80::2", false),
        ] {
            assert_eq!(local.include(peer.parse().unwrap(), own.parse().unwrap()), included, "{peer} at {own}");
        }
    }

    #[test]
    fn a_network_is_all_that_is_in_it_and_no_list_is_nobody() {
        let (inside, own) = ("10.1.2.3".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let network = Peers(vec![Peer::Network("10.0.0.0/8".parse().unwrap())]);
        assert!(network.include(inside, own));
        assert!(!network.include(own, own));
        assert!(!Peers::default().include(own, own));
    }
}
