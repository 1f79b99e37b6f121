//! The campaign's own test: with a protection of the shared ledger switched off in one or all replicas, something must go wrong.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, future::join_all, stream};
use mainstay_tests::{
    client::{Reply, Request},
    config::Config,
    interposer::{Interposer, Way},
    net::Refusing,
    postgres::Postgres,
    proxy::{Launch, Proxy, TempDir},
};

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Campaign,
    behaviour::{Acts, Behaviour, Says},
    load::{ask, write},
    red::must,
    service::{Character, Service},
};

/// Tries for what depends on who comes first; one in two would do.
const TRIES: usize = 6;
/// Of these at once: each has two replicas and a service.
const AT_ONCE: usize = 3;
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// A key that nobody frees is looked for at most so long: far longer than any look for what a refused write left.
const FREED_WITHIN: Duration = Duration::from_secs(20);

/// Every protection that is missed by nobody.
pub(crate) async fn run(campaign: &Campaign) -> Vec<String> {
    let Some(server) = Postgres::start() else {
        campaign.count("replicas: skipped, there is no PostgreSQL", 1);
        return Vec::new();
    };
    server.set("deadlock_timeout", Some("50ms"));
    let checks = ALL.iter().map(|(protection, sign)| seen(campaign, &server, protection, sign));
    let unseen: Vec<_> = stream::iter(checks).buffer_unordered(AT_ONCE).concat().await;
    campaign.count("protections of the shared ledger switched off", ALL.len() as u64);
    unseen
}

const ALL: [(&str, &str); 9] = [
    ("missed-looks", "was taken for dead"),
    ("last-check", "2 effects"),
    ("ownership", "was not_executed and is failed"),
    ("key-order", "deadlock"),
    ("ask-again", "refused although"),
    ("refused-list", "is not freed"),
    ("lease-from-sending", "2 effects"),
    ("whole-hash", "another key's answer"),
    ("fenced-word", "not done, it says"),
];

/// With the protection nothing is found, without it the sign.
async fn seen(campaign: &Campaign, server: &Postgres, protection: &str, sign: &str) -> Vec<String> {
    let mut unseen = must(protection, "", &tried(campaign, server, protection, "").await);
    let mut found = Vec::new();
    for _ in 0..TRIES {
        found = tried(campaign, server, protection, &format!("off@{protection}")).await;
        if found.iter().any(|wrong| wrong.contains(sign)) {
            break;
        }
    }
    unseen.extend(must(protection, sign, &found));
    unseen
}

async fn tried(campaign: &Campaign, server: &Postgres, protection: &str, faults: &str) -> Vec<String> {
    let stage = Stage { campaign, server, faults: faults.to_owned(), schema: fresh_schema() };
    match protection {
        "last-check" => stage.last_check().await,
        "ownership" => stage.ownership().await,
        "key-order" => stage.key_order().await,
        "ask-again" => stage.ask_again().await,
        "refused-list" => stage.refused_list().await,
        "lease-from-sending" => stage.lease_from_sending().await,
        "whole-hash" => stage.whole_hash().await,
        "fenced-word" => stage.fenced_word().await,
        "missed-looks" => stage.missed_looks().await,
        other => vec![format!("there is no check of {other}")],
    }
}

fn fresh_schema() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("red_{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

/// One try: a schema of its own in the store that all share.
struct Stage<'a> {
    campaign: &'a Campaign,
    server: &'a Postgres,
    faults: String,
    schema: String,
}

/// A replica and the file that arms its fault.
struct Armed {
    proxy: Proxy,
    home: TempDir,
}

impl Armed {
    fn arm(&self) {
        std::fs::write(self.home.join("armed"), "").expect("write a file");
    }

    async fn stands(&self) {
        let pid = self.proxy.pid();
        eventually("it stands still", || async { super::standstill::stands(pid).then_some(()) }).await;
    }
}

const RULES: &str = "{ status: 200, json: { /state: SUCCESS }, then: succeeded }, { status: 404, then: not_found }";

/// What the service does not know was not done, and nothing can arrive later.
fn asking(more: &str) -> String {
    format!(
        "timeout: 30s, idempotency: {{ required: true, status: {{ request: \"GET /by-ref/{{key}}\", fenced: true, \
         schedule: {{ first: 50ms, max: 100ms }}, rate: 1000/s, rules: [{RULES}] }} }}{more}"
    )
}

fn acting() -> Character {
    Character::new(|_, _| Behaviour::new(Acts::AtOnce, 0, Says::Made(40)))
}

impl Stage<'_> {
    fn config(&self, service: &Service, policy: &str, url: &str, upstream: &str) -> Config {
        Config::new()
            .listener("principal: { header: X-Caller }")
            .upstream("app", service.addr, upstream)
            .policy("p", policy)
            .route("path: /**", "app", "p")
            .top("control: { rate_limit: 1000000/s }")
            .ledger(&format!(
                "store: postgres, url: \"{url}\", schema: {}, service: payments, lease: {{ heartbeat: 400ms, ttl: 2s }}",
                self.schema
            ))
    }

    async fn start(&self, config: Config, faults: &str) -> Armed {
        let home = TempDir::new();
        let launch = Launch::of(self.campaign.binary.clone())
            .with("MAINSTAY_FAULT", format!("{},{faults}", self.faults))
            .with("MAINSTAY_FAULT_WHEN", home.join("armed").to_string_lossy());
        let proxy =
            Proxy::launch(config, &launch).await.unwrap_or_else(|log| panic!("a replica does not start: {log}"));
        Armed { proxy, home }
    }

    /// A replica that will stand still at `point`, and another one.
    async fn pair(&self, service: &Service, policy: &str, upstream: &str, point: &str) -> (Armed, Proxy) {
        let config = || self.config(service, policy, &self.server.url(), upstream);
        let victim = self.start(config(), &format!("stop@{point}:1")).await;
        (victim, self.start(config(), "").await.proxy)
    }

    /// It stands still between the ledger's word that it may send and its first byte; meanwhile another frees the key, and a
    /// repeat is executed there.
    async fn last_check(&self) -> Vec<String> {
        let service = Service::start(acting()).await;
        let (victim, heir) = self.pair(&service, &asking(""), "", "after-check").await;
        victim.arm();
        let addr = victim.proxy.addr;
        let first = tokio::spawn(async move { ask(addr, &write("k")).await });
        victim.stands().await;
        executed_at(&heir, "k").await;
        goes_on(&victim, first).await;
        effects(&service, "k")
    }

    /// It knows that the service declined, and stands still before it writes that down; meanwhile another finds that nothing was
    /// done and frees the key.
    async fn ownership(&self) -> Vec<String> {
        let character = Character::new(|_, nth| match nth {
            0 => Behaviour::new(Acts::Never, 0, Says::Status(422)),
            _ => Behaviour::new(Acts::AtOnce, 0, Says::Made(40)),
        });
        let service = Service::start(character).await;
        let (victim, heir) = self.pair(&service, &asking(""), "", "before-settle").await;
        victim.arm();
        let addr = victim.proxy.addr;
        let first = tokio::spawn(async move { ask(addr, &write("k")).await });
        victim.stands().await;
        let id = eventually("its operation is named", || async { named(&ask(heir.addr, &write("k")).await?) }).await;
        let before = state_in(&heir, &id, &["not_executed"]).await;
        goes_on(&victim, first).await;
        let after = state_of(&heir, &id).await.unwrap_or_default();
        if before == after { Vec::new() } else { vec![format!("k: {id} was {before} and is {after} now")] }
    }

    /// Two replicas begin the same keys at once, one from the first, one from the last.
    async fn key_order(&self) -> Vec<String> {
        const KEYS: usize = 150;
        let service = Service::start(acting()).await;
        let config = || self.config(&service, &asking(""), &self.server.url(), "");
        let (one, other) = (self.start(config(), "").await.proxy, self.start(config(), "").await.proxy);
        let seen_before = self.server.log().matches("deadlock detected").count();
        let seen = || self.server.log().matches("deadlock detected").count() - seen_before;
        // Two batches must meet in the midst of each other, which they do the more seldom the busier the machine is.
        for round in 0..20 {
            let send = |proxy: &Proxy, at: usize| {
                let (addr, request) = (proxy.addr, write(&format!("{round}-{at}")));
                async move { ask(addr, &request).await }
            };
            let up = join_all((0..KEYS).map(|at| send(&one, at)));
            let down = join_all((0..KEYS).rev().map(|at| send(&other, at)));
            futures_util::future::join(up, down).await;
            if seen() > 0 {
                break;
            }
        }
        let seen = seen();
        if seen == 0 { Vec::new() } else { vec![format!("{seen} deadlocks in the store's log")] }
    }

    /// The store commits, and its answer reaches nobody.
    async fn ask_again(&self) -> Vec<String> {
        let service = Service::start(acting()).await;
        let way = Interposer::before(self.server);
        let config = self.config(&service, &asking(""), &way.url(), "");
        let ledger = format!(
            "store: postgres, url: \"{}\", schema: {}, service: payments, timeouts: {{ begin: 5s }}, \
             lease: {{ heartbeat: 1s, ttl: 10s }}",
            way.url(),
            self.schema
        );
        let proxy = self.start(config.ledger(&ledger), "").await.proxy;
        let warm = ask(proxy.addr, &write("warm")).await;
        if warm.is_none_or(|reply| reply.status != 201) {
            return vec!["nothing is written".to_owned()];
        }
        way.swallow(1);
        let reply = ask(proxy.addr, &write("k")).await;
        match reply {
            Some(reply) if reply.status == 201 => Vec::new(),
            Some(reply) => vec![format!("k: refused although the store had it: {}", reply.text())],
            None => vec!["k: no answer".to_owned()],
        }
    }

    /// A write is refused because the store says nothing; it has it all the same.
    async fn refused_list(&self) -> Vec<String> {
        let service = Service::start(acting()).await;
        let way = Interposer::before(self.server);
        // Nobody can be asked: else what is found pending would be asked about in the end.
        let policy = "timeout: 30s, idempotency: { required: true }";
        // Whoever waits is refused before it is noticed that the store says nothing.
        let ledger = format!(
            "store: postgres, url: \"{}\", schema: {}, service: payments, timeouts: {{ begin: 300ms, answer: 600ms }}, \
             lease: {{ heartbeat: 400ms, ttl: 2s }}",
            way.url(),
            self.schema
        );
        let proxy = self.start(self.config(&service, policy, &way.url(), "").ledger(&ledger), "").await.proxy;
        let warm = ask(proxy.addr, &write("warm")).await;
        if warm.is_none_or(|reply| reply.status != 201) {
            return vec!["nothing is written".to_owned()];
        }
        way.set(Way::Mute);
        let refused = ask(proxy.addr, &write("k")).await;
        if refused.as_ref().is_none_or(|reply| reply.status != 503) {
            return vec![format!("k: not refused: {:?}", refused.map(|reply| reply.text()))];
        }
        way.set(Way::Open);
        let until = Instant::now() + FREED_WITHIN;
        while Instant::now() < until {
            if ask(proxy.addr, &write("k")).await.is_some_and(|reply| reply.status == 201) {
                return effects(&service, "k");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        vec!["k: its key is not freed".to_owned()]
    }

    /// It stands still with the store's answer to a sign of life in its hands, while writes of its wait for their second attempt;
    /// it goes on just before one of them is due.
    async fn lease_from_sending(&self) -> Vec<String> {
        const BACKOFF: Duration = Duration::from_secs(8);
        let (service, refusing) = (Service::start(acting()).await, Refusing::new());
        let retry = asking(", retry: { max_retries: 1, budget: none, backoff: { base: 8s, max: 8s, jitter: none } }");
        // Each has addresses of its own, so each has a configuration of its own.
        let config = |endpoints: &[SocketAddr]| {
            let config = self.config(&service, &retry, &self.server.url(), "");
            config.endpoints("both", endpoints, "").first_route("path: /pay", "both", "p")
        };
        let victim = self.start(config(&[service.addr, refusing.addr]), "stop@after-beat:1").await;
        let heir = self.start(config(&[service.addr]), "").await.proxy;
        // Of two endpoints one refuses: a write that met that one first is begun, not sent, and waits for its second attempt.
        let mut sent = Vec::new();
        for number in 0..40 {
            let (addr, request) = (victim.proxy.addr, write(&format!("k{number}")));
            tokio::spawn(async move { ask(addr, &request).await });
            sent.push((format!("k{number}"), Instant::now()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        victim.arm();
        victim.stands().await;
        sent.retain(|(key, _)| service.effects(key) == 0);
        join_all(sent.iter().map(|(key, _)| executed_at(&heir, key))).await;
        let now = Instant::now();
        let Some((_, at)) = sent.iter().find(|(_, at)| *at + BACKOFF > now + Duration::from_millis(150)) else {
            return vec!["too slow: no write is due any more".to_owned()];
        };
        // The next sign of life, by which it learns that it is dead, comes some hundred milliseconds later.
        tokio::time::sleep_until(*at + BACKOFF - Duration::from_millis(100)).await;
        victim.proxy.signal("CONT");
        tokio::time::sleep(Duration::from_secs(4)).await;
        sent.iter().flat_map(|(key, _)| effects(&service, key)).collect()
    }

    /// Keys whose hashes begin alike.
    async fn whole_hash(&self) -> Vec<String> {
        let service = Service::start(acting()).await;
        let config = self.config(&service, &asking(""), &self.server.url(), "");
        let proxy = self.start(config, "head@1").await.proxy;
        let mut wrong = Vec::new();
        // Of so many some have the first byte of their hash in common.
        for at in 0..60 {
            let key = format!("k{at}");
            let request = Request::keyed("/pay", &key, "alike");
            let Some(reply) = ask(proxy.addr, &request).await else { continue };
            if reply.status != 503 && service.effects(&key) == 0 {
                wrong.push(format!("{key}: got another key's answer: {} {}", reply.status, reply.text()));
            }
        }
        wrong
    }

    /// It may send, and stands still; another takes over and sends, since the service knows keys again; then the first one finds
    /// that nothing was sent, by it.
    async fn fenced_word(&self) -> Vec<String> {
        let character = Character::new(|_, _| Behaviour::new(Acts::AtOnce, 0, Says::Reset)).honouring_keys(true);
        let service = Service::start(character).await;
        let policy = "timeout: 1s, idempotency: { required: true, \
                      redispatch: { attempts: 5, backoff: { base: 50ms, max: 200ms } } }";
        let (victim, heir) = self.pair(&service, policy, "honours_key: true", "after-check").await;
        victim.arm();
        let addr = victim.proxy.addr;
        let first = tokio::spawn(async move { ask(addr, &write("k")).await });
        victim.stands().await;
        let id = eventually("its operation is named", || async { named(&ask(heir.addr, &write("k")).await?) }).await;
        eventually("the other sends it", || async { (service.effects("k") == 1).then_some(()) }).await;
        goes_on(&victim, first).await;
        match state_of(&heir, &id).await.as_deref() {
            Some("not_executed") => vec!["k: not done, it says, but it was".to_owned()],
            _ => Vec::new(),
        }
    }

    /// The store stands still for longer than a lease, and one of two reaches it a little later than the other.
    async fn missed_looks(&self) -> Vec<String> {
        let Some(server) = Postgres::start() else { return Vec::new() };
        let service = Service::start(acting()).await;
        let way = Interposer::before(&server);
        let config = |url: &str| {
            let ledger =
                format!("store: postgres, url: \"{url}\", service: payments, lease: {{ heartbeat: 1s, ttl: 6s }}");
            self.config(&service, &asking(""), url, "").ledger(&ledger)
        };
        let (judge, late) = (self.start(config(&server.url()), "").await, self.start(config(&way.url()), "").await);
        executed_at(&judge.proxy, "first").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // First, so that no sign of life waits in a socket for the store to go on.
        way.set(Way::Cut);
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.signal("STOP");
        tokio::time::sleep(Duration::from_secs(7)).await;
        server.signal("CONT");
        executed_at(&judge.proxy, "judge").await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        way.set(Way::Open);
        executed_at(&late.proxy, "late").await;
        let dead = server.sql("SELECT count(*) FROM mainstay.instance WHERE ended = 2");
        if dead == "0" { Vec::new() } else { vec![format!("{dead}: one that lives was taken for dead")] }
    }
}

fn effects(service: &Service, key: &str) -> Vec<String> {
    match service.effects(key) {
        0 | 1 => Vec::new(),
        many => vec![format!("{key}: {many} effects")],
    }
}

fn named(reply: &Reply) -> Option<String> {
    reply.header("operation-location")?.rsplit('/').next().map(str::to_owned)
}

/// Asks until the write is executed there.
async fn executed_at(proxy: &Proxy, key: &str) {
    eventually("its repeat is executed elsewhere", || async {
        let reply = ask(proxy.addr, &write(key)).await?;
        (reply.status == 201).then_some(())
    })
    .await;
}

async fn state_of(proxy: &Proxy, id: &str) -> Option<String> {
    let page = ask(proxy.addr, &Request::get(&format!("/_mainstay/operations/{id}"))).await?;
    page.json()["state"].as_str().map(str::to_owned)
}

async fn state_in(proxy: &Proxy, id: &str, wanted: &[&str]) -> String {
    eventually("it is settled", || async { state_of(proxy, id).await.filter(|state| wanted.contains(&state.as_str())) })
        .await
}

/// Waits for what a busy machine may take long for.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// After it has gone on where it stood, whatever it still does is done by then.
async fn goes_on(victim: &Armed, first: JoinHandle<Option<Reply>>) {
    victim.proxy.signal("CONT");
    let _ = first.await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}
