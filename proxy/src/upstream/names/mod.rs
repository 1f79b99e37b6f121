//! What the name of an endpoint stands for: a set of addresses, asked for again when its time is over.
//!
//! A name is resolved by Mainstay itself and not by the C library, so that it means the same on every system, and no thread waits
//! for it. It is asked for from the start, and a connection waits for the first answer; the set is renewed in the background, by the
//! time to live of its records within bounds. Where a renewal fails, or finds nothing, the old set stays: a name server that is away must not
//! take the service with it.

mod race;
mod service;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

pub(super) use self::race::race;
use crate::config::model::{Family, Resolve};

/// After an answer that was none the name is asked for again so soon.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

const NO_ADDRESS: &str = "the name stands for no address";

/// What resolv.conf says, for all upstreams that name no servers of their own.
static SYSTEM: LazyLock<Result<(ResolverConfig, ResolverOpts), String>> = LazyLock::new(|| {
    hickory_resolver::system_conf::read_system_conf().map_err(|error| format!("resolv.conf cannot be used: {error}"))
});

/// Whoever wants to know what a name stands for.
pub(super) trait HearsAddresses: Send + Sync {
    /// It stands for these from now on.
    fn changed(&self, addresses: &[Address]);
}

/// One of the addresses of a name, with its part of the requests against the greatest one's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Address {
    pub(super) at: SocketAddr,
    pub(super) share: f64,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Records {
    /// Addresses; the port is known.
    Addresses(u16),
    /// The hosts and ports of a service.
    Service,
}

/// A name, and what it stands for now.
pub(super) struct Name {
    host: String,
    records: Records,
    params: Resolve,
    /// Made at the first use; why there is none, otherwise.
    resolver: OnceLock<Result<TokioResolver, String>>,
    known: ArcSwap<Known>,
    /// Grows with each change of the addresses.
    generation: AtomicU32,
    /// With which of them the next connection begins.
    turn: AtomicUsize,
    /// Somebody asks at the moment.
    asks: AtomicBool,
    /// Told when an answer has come, or none.
    answered: watch::Sender<()>,
    /// The last failure that was logged, until it changes.
    told: Mutex<Option<String>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Whoever wants to know what it stands for.
    heard: OnceLock<Box<dyn HearsAddresses>>,
}

/// The addresses, none where nobody has said any yet, and when they are asked for again, if ever.
struct Known {
    addresses: Arc<[Address]>,
    until: Option<Instant>,
}

impl Name {
    /// The name of hosts that listen on `port`.
    pub(super) fn new(host: &str, port: u16, params: &Resolve) -> Self {
        // Whoever means this machine does not ask the network for it (RFC 6761 section 6.3).
        let known = if host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            let here = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            let addresses = here.iter().filter(|ip| params.family.admits(**ip)).map(|ip| whole(*ip, port));
            Known { addresses: addresses.collect(), until: None }
        } else {
            Known { addresses: Arc::default(), until: Some(Instant::now()) }
        };
        Self::of((host, Records::Addresses(port)), known, params)
    }

    /// The name of a service, such as `_http._tcp.orders.shop.svc.cluster.local`.
    pub(super) fn of_service(service: &str, params: &Resolve) -> Self {
        let known = Known { addresses: Arc::default(), until: Some(Instant::now()) };
        Self::of((service, Records::Service), known, params)
    }

    fn of((host, records): (&str, Records), known: Known, params: &Resolve) -> Self {
        Self {
            host: host.to_owned(),
            records,
            params: params.clone(),
            resolver: OnceLock::new(),
            known: ArcSwap::from_pointee(known),
            generation: AtomicU32::new(0),
            turn: AtomicUsize::new(0),
            asks: AtomicBool::new(false),
            answered: watch::Sender::default(),
            told: Mutex::new(None),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            heard: OnceLock::new(),
        }
    }

    /// Whether others are asked for it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.known.load().until.is_some()
    }

    /// Tells this whenever its addresses have changed; said once.
    pub(super) fn on_change(&self, heard: Box<dyn HearsAddresses>) {
        let _ = self.heard.set(heard);
    }

    /// How often its addresses have changed.
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Acquire)
    }

    /// Whether an address is one of them.
    pub(super) fn stands_for(&self, address: SocketAddr) -> bool {
        self.known.load().addresses.iter().any(|known| known.at == address)
    }

    /// Answers, and answers that were none.
    pub(super) fn resolutions(&self) -> [u64; 2] {
        [self.succeeded.load(Relaxed), self.failed.load(Relaxed)]
    }

    /// Its addresses, beginning with another one each time, families in turn; waits for them at first use.
    pub(super) async fn addresses(self: &Arc<Self>) -> Result<Vec<SocketAddr>, String> {
        let mut known = self.known.load_full();
        if known.addresses.is_empty() {
            let mut answered = self.answered.subscribe();
            // Whoever gives up waiting leaves the question for the next one.
            self.begin_asking();
            // Always a change: its sender lives as long as whoever waits.
            let _ = answered.changed().await;
            known = self.known.load_full();
        }
        if known.addresses.is_empty() {
            let why = self.told.lock().clone();
            return Err(why.unwrap_or_else(|| NO_ADDRESS.to_owned()));
        }
        let addresses: Vec<_> = known.addresses.iter().map(|address| address.at).collect();
        Ok(in_turn(&addresses, self.turn.fetch_add(1, Relaxed), SocketAddr::is_ipv4))
    }

    /// Asks again in the background, if it is time. Called now and then, off the path of requests.
    pub(super) fn renew(self: &Arc<Self>) {
        if self.known.load().until.is_some_and(|until| Instant::now() >= until) {
            self.begin_asking();
        }
    }

    /// Asks in the background, unless somebody does.
    fn begin_asking(self: &Arc<Self>) {
        if self.asks.swap(true, Relaxed) {
            return;
        }
        let name = self.clone();
        // Ends with the answer, or when the resolver gives up.
        tokio::spawn(async move {
            name.ask().await;
            name.asks.store(false, Relaxed);
            name.answered.send_replace(());
        });
    }

    /// What goes wrong is logged and counted; the old set stays.
    async fn ask(&self) {
        let found = self.look_up().await;
        let now = Instant::now();
        let before = self.known.load_full();
        match found {
            Ok((addresses, ttl)) => {
                self.succeeded.fetch_add(1, Relaxed);
                if self.told.lock().take().is_some() {
                    tracing::info!(name = %self.host, addresses = addresses.len(), "a name is resolved again");
                }
                let until = Some(now + ttl.clamp(self.params.min, self.params.max));
                let is_same = same_set(&before.addresses, &addresses);
                let addresses: Arc<[Address]> = if is_same { before.addresses.clone() } else { addresses.into() };
                self.known.store(Arc::new(Known { addresses: addresses.clone(), until }));
                if !is_same {
                    self.heard.get().inspect(|heard| heard.changed(&addresses));
                    // Whoever sees the number sees the addresses.
                    self.generation.fetch_add(1, Release);
                }
            }
            Err(why) => {
                self.failed.fetch_add(1, Relaxed);
                if self.told.lock().replace(why.clone()).as_ref() != Some(&why) {
                    let stay = before.addresses.len();
                    tracing::warn!(name = %self.host, why, stay, "a name cannot be resolved; the addresses that were known stay");
                }
                let until = Some(now + AFTER_FAILURE.max(self.params.min));
                self.known.store(Arc::new(Known { addresses: before.addresses.clone(), until }));
            }
        }
    }

    async fn look_up(&self) -> Result<(Vec<Address>, Duration), String> {
        let resolver = self.resolver.get_or_init(|| resolver(&self.params)).as_ref().map_err(Clone::clone)?;
        let (mut addresses, ttl) = match self.records {
            Records::Service => service::look_up(resolver, &self.host).await?,
            Records::Addresses(port) => {
                let answer = resolver.lookup_ip(self.host.as_str()).await.map_err(|error| error.to_string())?;
                let ttl = answer.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                let addresses: Vec<_> = answer.iter().map(|ip| whole(ip, port)).collect();
                (addresses, Duration::from_secs(u64::from(ttl)))
            }
        };
        addresses.sort_unstable_by_key(|address| address.at);
        addresses.dedup_by_key(|address| address.at);
        addresses.truncate(self.params.max_addresses.get());
        if addresses.is_empty() {
            return Err(NO_ADDRESS.to_owned());
        }
        Ok((addresses, ttl))
    }
}

fn resolver(params: &Resolve) -> Result<TokioResolver, String> {
    let (config, mut options) = if params.servers.is_empty() {
        SYSTEM.clone()?
    } else {
        let servers = params.servers.iter().map(|server| {
            let on_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let ways = vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, ways)
        });
        (ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default())
    };
    // What is known is kept here, with its own bounds.
    options.cache_size = 0;
    options.ip_strategy = match params.family {
        Family::Any => LookupIpStrategy::Ipv4AndIpv6,
        Family::Ipv4 => LookupIpStrategy::Ipv4Only,
        Family::Ipv6 => LookupIpStrategy::Ipv6Only,
    };
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}

/// An address with a whole share.
const fn whole(ip: IpAddr, port: u16) -> Address {
    Address { at: SocketAddr::new(ip, port), share: 1.0 }
}

fn same_set(one: &[Address], other: &[Address]) -> bool {
    one.len() == other.len() && other.iter().all(|address| one.contains(address))
}

/// The ones in the order in which a connection tries them: from the `turn`th on, families alternating (RFC 8305 section 4).
pub(super) fn in_turn<T: Copy>(all: &[T], turn: usize, is_v4: impl Fn(&T) -> bool) -> Vec<T> {
    let Some(count) = (!all.is_empty()).then_some(all.len()) else { return Vec::new() };
    let from = turn % count;
    let rotated = all[from..].iter().chain(&all[..from]).copied();
    let first_is_v4 = is_v4(&all[from]);
    let (first, second): (Vec<_>, Vec<_>) = rotated.partition(|one| is_v4(one) == first_is_v4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 80)).collect()
    }

    #[test]
    fn each_connection_begins_with_the_next_address_and_then_tries_the_other_family() {
        let all = addresses(&["10.0.0.1", "10.0.0.2", "::1", "::2"]);
        for (turn, expected) in [
            (0, ["10.0.0.1", "::1", "10.0.0.2", "::2"]),
            (1, ["10.0.0.2", "::1", "10.0.0.1", "::2"]),
            (2, ["::1", "10.0.0.1", "::2", "10.0.0.2"]),
            (5, ["10.0.0.2", "::1", "10.0.0.1", "::2"]),
        ] {
            assert_eq!(in_turn(&all, turn, SocketAddr::is_ipv4), addresses(&expected), "{turn}");
        }
        assert_eq!(in_turn(&[], 3, SocketAddr::is_ipv4), []);
    }

    #[tokio::test]
    async fn this_machine_is_known_without_asking() {
        let name = Arc::new(Name::new("LocalHost.", 80, &Resolve { family: Family::Ipv4, ..Resolve::default() }));
        assert_eq!(name.addresses().await, Ok(addresses(&["127.0.0.1"])));
        assert!(name.stands_for(addresses(&["127.0.0.1"])[0]) && !name.stands_for(addresses(&["::1"])[0]));
    }
}
