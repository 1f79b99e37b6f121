//! Three replicas, their store, and the service before which they stand.

use std::{fs, net::SocketAddr, time::Duration};

use fastrand::Rng;
use futures_util::{StreamExt, future::join_all, stream};
use mainstay_tests::{
    client::Request,
    config::Config,
    postgres::Postgres,
    proxy::{Launch, Proxy, TempDir},
};
use tokio::time::Instant;

use crate::{
    Campaign,
    behaviour::mixed,
    check::Check,
    disk::Position,
    history::History,
    load::{Load, ask, write},
    service::{Character, Service},
};

/// Clients at once, and keys in a round: many rounds say more than many keys.
const CLIENTS: u64 = 8;
const KEYS: usize = 60;
/// When others take a replica for dead.
pub(super) const TTL: Duration = Duration::from_millis(1500);
/// When what the service does not know of counts as not done: long enough for a request that the machine was slow to deliver.
pub(super) const SETTLE_AFTER: Duration = Duration::from_millis(2500);
/// How long a replica may take to serve again.
const PATIENCE: Duration = Duration::from_secs(15);
/// Nothing may be pending for longer: that is the lease, and the time (total, late answers, a minute) after which an operation is
/// in doubt whatever became of its owner. What a refused begin left is looked for 30 s later for the last time, and within a
/// minute by the audit; it comes late where a commit waited for a standby.
const PENDING: Duration = Duration::from_secs(70);
/// Everything about which the service can be asked is settled by then.
const SETTLING: Duration = Duration::from_secs(40);

/// One of them.
pub(super) struct Replica {
    config: Config,
    home: TempDir,
    pub(super) proxy: Proxy,
    /// It was killed on purpose.
    pub(super) is_dead: bool,
}

impl Replica {
    /// Its fault counts no more.
    pub(super) fn disarm(&self) {
        fs::remove_file(self.home.join("armed")).ok();
    }

    /// From now on its fault counts.
    pub(super) fn arm(&self) {
        fs::write(self.home.join("armed"), "").expect("write a file");
    }
}

/// All of it.
pub(super) struct Fleet<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) seed: u64,
    server: Option<Postgres>,
    pub(super) replicas: Vec<Replica>,
    service: Service,
    history: History,
    position: Position,
    can_be_asked: bool,
}

impl<'a> Fleet<'a> {
    pub(super) async fn start(
        campaign: &'a Campaign,
        server: Postgres,
        seed: u64,
        can_be_asked: bool,
    ) -> Result<Self, String> {
        let service = Service::start(Character::new(|key, nth| mixed(0, key, nth))).await;
        let mut replicas = Vec::new();
        for _ in 0..3 {
            let (config, home) = (config(&server, service.addr, can_be_asked), TempDir::new());
            let proxy = Proxy::launch(config.clone(), &Launch::of(campaign.binary.clone())).await?;
            replicas.push(Replica { config: proxy.config.clone(), home, proxy, is_dead: false });
        }
        let (history, position) = (History::default(), Position::default());
        Ok(Self { campaign, seed, server: Some(server), replicas, service, history, position, can_be_asked })
    }

    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.proxy.addr).collect()
    }

    pub(super) fn load(&self, round: usize, addrs: &[SocketAddr], rng: &mut Rng) -> Load<'_> {
        Load::new(addrs, &self.history, &self.position, self.prefix(round), rng.u64(..)).of(CLIENTS, KEYS)
    }

    /// The store, for as long as something befalls it.
    pub(super) fn take_server(&mut self) -> Postgres {
        self.server.take().expect("it is given back")
    }

    pub(super) fn give_server(&mut self, server: Postgres) {
        self.server = Some(server);
    }

    fn prefix(&self, round: usize) -> String {
        format!("{:x}-{round}", self.seed)
    }

    /// Starts one again; `faults` count once it is [armed](Replica::arm).
    pub(super) async fn restart(&mut self, at: usize, faults: &str) -> Result<(), String> {
        let replica = &mut self.replicas[at];
        if !replica.is_dead {
            replica.proxy.signal("KILL");
            replica.proxy.ended().await;
        }
        let armed = replica.home.join("armed");
        fs::remove_file(&armed).ok();
        let launch = Launch::of(self.campaign.binary.clone())
            .with("MAINSTAY_FAULT", faults)
            .with("MAINSTAY_FAULT_WHEN", armed.to_string_lossy());
        replica.proxy = Proxy::launch(replica.config.clone(), &launch).await?;
        replica.is_dead = false;
        Ok(())
    }

    /// Every write that has not been answered with success is asked for again, at these.
    pub(super) async fn repeat_open(&self, round: usize, addrs: &[SocketAddr]) {
        let open = self.keys(round).into_iter().filter(|key| self.history.known(key).success.is_none());
        join_all(open.enumerate().map(|(at, key)| async move {
            self.history.sends(&key, 0);
            if let Some(reply) = ask(addrs[at % addrs.len()], &write(&key)).await {
                self.history.saw(&key, &reply, 0);
            }
        }))
        .await;
    }

    fn keys(&self, round: usize) -> Vec<String> {
        let prefix = format!("{}-", self.prefix(round));
        self.history.keys().into_iter().filter(|key| key.starts_with(&prefix)).collect()
    }

    /// What must hold after a round, once whoever died has been started again.
    pub(super) async fn check_round(&mut self, round: usize) -> Vec<String> {
        for at in 0..self.replicas.len() {
            if self.replicas[at].is_dead
                && let Err(log) = self.restart(at, "").await
            {
                return vec![format!("a replica does not start again: {log}")];
            }
            if !self.replicas[at].proxy.runs() {
                return vec![format!("replica {at} ended by itself: {}", tail(&self.replicas[at].proxy.log()))];
            }
        }
        let mut wrong = self.comes_to_rest().await;
        if wrong.is_empty() {
            wrong = self.check(self.keys(round)).await;
        }
        wrong
    }

    /// What must hold at the end: everything is settled that can be, and stays so.
    pub(super) async fn ends(&self) -> Vec<String> {
        let mut wrong = self.comes_to_rest().await;
        if wrong.is_empty() && self.can_be_asked {
            wrong = self.listed_is_none("unknown", SETTLING).await;
        }
        wrong.extend(self.check(self.history.keys()).await);
        if self.can_be_asked {
            wrong.extend(self.listed_is_none("unknown", SETTLING).await);
            wrong.extend(self.no_key_is_stuck().await);
        }
        wrong
    }

    /// Each key has its success, or its repeat is executed or refused for what the service says: none waits for ever.
    async fn no_key_is_stuck(&self) -> Vec<String> {
        let open = self.history.keys().into_iter().filter(|key| self.history.known(key).success.is_none());
        let open: Vec<_> = open.collect();
        let looks = open.iter().enumerate().map(|(at, key)| self.is_stuck(self.replicas[at % 3].proxy.addr, key));
        let mut wrong: Vec<_> = stream::iter(looks).buffer_unordered(32).filter_map(std::future::ready).collect().await;
        let keys = self.history.keys().into_iter();
        wrong.extend(
            keys.map(|key| (self.service.effects(&key), key))
                .filter(|(effects, _)| *effects > 1)
                .map(|(effects, key)| format!("{key}: {effects} effects")),
        );
        wrong.extend(self.history.wrong());
        wrong
    }

    async fn is_stuck(&self, addr: SocketAddr, key: &str) -> Option<String> {
        let until = Instant::now() + SETTLING;
        loop {
            self.history.sends(key, 0);
            let reply = ask(addr, &write(key)).await;
            if let Some(reply) = &reply {
                self.history.saw(key, reply, 0);
                // What a repeat meets may be the doubt about the repeat before it; each doubt ends.
                if !matches!(reply.slug(), Some("in-progress" | "outcome-unknown" | "ledger-unavailable")) {
                    return None;
                }
            }
            if Instant::now() > until {
                let is_lost = reply.as_ref().is_some_and(|reply| reply.slug() == Some("outcome-unknown"));
                return (!is_lost).then(|| format!("{key}: stuck: {:?}", reply.map(|reply| reply.text())));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Each replica takes writes again, and none is pending for longer than a takeover takes.
    async fn comes_to_rest(&self) -> Vec<String> {
        let wrong = self.serve_again().await;
        if wrong.is_empty() { self.listed_is_none("pending", PENDING).await } else { wrong }
    }

    /// Waits until each replica reaches the store again.
    pub(super) async fn serve_again(&self) -> Vec<String> {
        for (at, replica) in self.replicas.iter().enumerate() {
            let until = Instant::now() + PATIENCE;
            loop {
                let page = ask(replica.proxy.addr, &Request::get("/_mainstay/operations?limit=1")).await;
                if page.is_some_and(|page| page.status == 200) {
                    break;
                }
                if Instant::now() > until {
                    return vec![format!("replica {at} does not serve again: {}", tail(&replica.proxy.log()))];
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Vec::new()
    }

    /// Waits until nothing is in that state but what a person was called for.
    async fn listed_is_none(&self, state: &str, within: Duration) -> Vec<String> {
        let (path, until) = (format!("/_mainstay/operations?state={state}&limit=200"), Instant::now() + within);
        loop {
            let mut found = "no answer to a listing".to_owned();
            if let Some(page) = ask(self.replicas[0].proxy.addr, &Request::get(&path)).await {
                let document = page.json();
                let open = document["operations"].as_array().cloned();
                let open: Vec<_> =
                    open.into_iter().flatten().filter(|operation| operation["attention"].is_null()).collect();
                if page.status == 200 && open.is_empty() {
                    return Vec::new();
                }
                found = open.first().map_or_else(|| page.text(), ToString::to_string);
            }
            if Instant::now() > until {
                return vec![format!("{state} for too long: {found}")];
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Each key by two of the three.
    async fn check(&self, keys: Vec<String>) -> Vec<String> {
        let count = self.replicas.len();
        let mut wrong = Vec::new();
        for (at, replica) in self.replicas.iter().enumerate() {
            let own = keys.iter().enumerate().filter(|(key, _)| (key % count) != at);
            let own = own.map(|(_, key)| key.clone()).collect();
            let (proxy, history, service) = (&replica.proxy, &self.history, &self.service);
            let check = Check { proxy, history, service, truthful: true, forgets: false, is_shared: true };
            wrong.extend(check.run(own, &self.campaign.tally).await);
        }
        wrong
    }

    /// Leaves what was written for somebody to look at.
    pub(super) fn keep(self) -> String {
        let mut kept = String::new();
        for (at, replica) in self.replicas.iter().enumerate() {
            let path = std::env::temp_dir().join(format!("crash-{}-replica-{at}.log", std::process::id()));
            fs::write(&path, replica.proxy.log()).ok();
            kept.extend([" ", &path.to_string_lossy()]);
        }
        let path = std::env::temp_dir().join(format!("crash-{}-store.log", std::process::id()));
        let server = self.server.expect("it is given back");
        fs::write(&path, server.log()).ok();
        let rows = server.try_sql(
            "SELECT to_hex(seq), held, state, owner, epoch, revision, sent, due, flagged FROM mainstay.op ORDER BY seq",
        );
        let table = std::env::temp_dir().join(format!("crash-{}-operations.txt", std::process::id()));
        fs::write(&table, rows.unwrap_or_default()).ok();
        format!("logs:{kept} {} {}", path.display(), table.display())
    }
}

fn tail(log: &str) -> &str {
    &log[log.char_indices().rev().nth(1500).map_or(0, |(at, _)| at)..]
}

fn config(server: &Postgres, service: SocketAddr, can_be_asked: bool) -> Config {
    let (heartbeat, ttl, settle_after) = (TTL.as_millis() / 5, TTL.as_millis(), SETTLE_AFTER.as_millis());
    let status = format!(
        ", status: {{ request: \"GET /by-ref/{{key}}\", settle_after: {settle_after}ms, rate: 10000/s, \
         schedule: {{ first: 200ms, max: 400ms }}, rules: [ \
         {{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}, {{ status: 404, then: not_found }} ] }}"
    );
    let policy = format!(
        "timeout: 200ms, retry: 2, idempotency: {{ required: true, max_response: 4KiB, late_response: 2s{} }}",
        if can_be_asked { &status } else { "" }
    );
    Config::new()
        .listener("principal: { header: X-Caller }")
        .upstream("app", service, "")
        .policy("p", &policy)
        .route("path: /**", "app", "p")
        .top("control: { rate_limit: 1000000/s }")
        .top("limits: { workers: 2 }")
        .ledger(&format!(
            "store: postgres, url: \"{}\", service: payments, lease: {{ heartbeat: {heartbeat}ms, ttl: {ttl}ms }}",
            server.url()
        ))
}
