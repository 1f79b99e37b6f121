//! The checker's own test: with a protection switched off it must find something.

use std::time::Duration;

use mainstay_tests::{
    client::Request,
    eventually,
    net::free_addr,
    proxy::{Launch, Proxy, TempDir},
    script::Answer,
};

use crate::{
    Campaign,
    behaviour::{Acts, Behaviour, Says},
    check::Check,
    disk::Position,
    history::History,
    load::{Load, ask, write},
    power::{Before, Recording},
    rebuild::{Loss, Record},
    service::{Character, Service},
    world::World,
};

/// Tries for what depends on when the kill comes; one in two would do.
const TRIES: u64 = 8;

/// Every protection that is missed by nobody.
pub(crate) async fn run(campaign: &Campaign) -> Vec<String> {
    let mut unseen = Vec::new();
    for (name, kill, sign) in [("durable-begin", "after-send", "2 effects"), ("durable-settle", "", "not replayed")] {
        unseen.extend(must(name, "", &killed(campaign, "", kill).await));
        let mut found = Vec::new();
        for _ in 0..TRIES {
            found = killed(campaign, &format!("off@{name}"), kill).await;
            if found.iter().any(|wrong| wrong.contains(sign)) {
                break;
            }
        }
        unseen.extend(must(name, sign, &found));
    }
    unseen.extend(must("ownership", "", &overtaken(campaign, "").await));
    unseen.extend(must("ownership", "not replayed", &overtaken(campaign, "off@ownership").await));
    unseen.extend(must("sticky-states", "", &contradicted(campaign, "").await));
    unseen.extend(must(
        "sticky-states",
        "was failed and is succeeded",
        &contradicted(campaign, "off@sticky-states").await,
    ));
    unseen.extend(lying_disk(campaign).await);
    unseen.extend(nonsense(campaign).await);
    campaign.count("checks of the checker", 11);
    unseen
}

/// Fails unless `found` shows the `sign`; no sign: unless nothing was found.
pub(crate) fn must(protection: &str, sign: &str, found: &[String]) -> Vec<String> {
    match sign {
        "" if found.is_empty() => Vec::new(),
        "" => vec![format!("red: with {protection} in place: {found:?}")],
        sign if found.iter().any(|wrong| wrong.contains(sign)) => Vec::new(),
        sign => vec![format!("red: without {protection} the checker found no {sign:?}, only {found:?}")],
    }
}

/// Load, a kill, a restart, a check. Without a point the kill comes as soon as some writes were answered.
async fn killed(campaign: &Campaign, faults: &str, point: &str) -> Vec<String> {
    let home = TempDir::new();
    let character = Character::new(|_, _| Behaviour::new(Acts::AtOnce, 15, Says::Made(40)));
    let service = Service::start(character).await;
    let (history, position) = (History::default(), Position::default());
    let config = World::Mute.config(service.addr, &home.join("ledger"));
    let kill = if point.is_empty() { String::new() } else { format!("kill@{point}:20") };
    let launch = Launch::of(campaign.binary.clone()).with("MAINSTAY_FAULT", format!("{faults},{kill}"));
    let mut proxy = Proxy::launch(config.clone(), &launch).await.expect("the proxy starts");
    let load = Load::new(&[proxy.addr], &history, &position, "red".into(), campaign.seed);
    let dying = async {
        if point.is_empty() {
            eventually("writes are answered", || async { (history.successes() >= 20).then_some(()) }).await;
            proxy.signal("KILL");
        }
        proxy.ended().await;
        load.stop();
    };
    futures_util::future::join(load.run(), dying).await;
    let proxy = Proxy::launch(config, &Launch::of(campaign.binary.clone())).await.expect("the proxy starts again");
    let check =
        Check { proxy: &proxy, history: &history, service: &service, truthful: true, forgets: false, is_shared: false };
    check.run(history.keys(), &campaign.tally).await
}

/// One write whose answer comes after its timeout, at a service that tells this about it.
async fn late(campaign: &Campaign, faults: &str, says: Says, tells: (u64, &'static str)) -> Story {
    let home = TempDir::new();
    let (delay, state) = (Duration::from_millis(tells.0), tells.1);
    let character = Character::new(move |_, _| Behaviour::new(Acts::AtOnce, 700, says.clone()))
        .telling(move |_| (delay, Answer::json(200, &format!(r#"{{"state":"{state}"}}"#))));
    let service = Service::start(character).await;
    let rules = "{ status: 200, json: { /state: WORKING }, then: ongoing }, \
                 { status: 200, json: { /state: FAILED }, then: failed }";
    let config = World::Mute.config(service.addr, &home.join("ledger"));
    let policy = format!(
        "timeout: 200ms, idempotency: {{ required: true, late_response: 5s, \
         status: {{ request: \"GET /by-ref/{{key}}\", rules: [ {rules} ] }} }}"
    );
    let config = config.policy("q", &policy).first_route("path: /pay", "app", "q");
    let launch = Launch::of(campaign.binary.clone()).with("MAINSTAY_FAULT", faults);
    let proxy = Proxy::launch(config, &launch).await.expect("the proxy starts");
    let history = History::default();
    history.sends("k", 0);
    let first = ask(proxy.addr, &write("k")).await.expect("an answer");
    history.saw("k", &first, 0);
    Story { _home: home, service, proxy, history }
}

struct Story {
    _home: TempDir,
    service: Service,
    proxy: Proxy,
    history: History,
}

impl Story {
    async fn repeats_until_answered(&self) {
        eventually("the late answer is replayed", || async {
            let reply = ask(self.proxy.addr, &write("k")).await?;
            self.history.saw("k", &reply, 0);
            (reply.status == 201).then_some(())
        })
        .await;
    }

    async fn check(&self, campaign: &Campaign) -> Vec<String> {
        let check = Check {
            proxy: &self.proxy,
            history: &self.history,
            service: &self.service,
            truthful: false,
            forgets: false,
            is_shared: false,
        };
        check.run(vec!["k".to_owned()], &campaign.tally).await
    }
}

/// A status query begins while the outcome is unknown and comes back when it is known: it must not put the clock back.
async fn overtaken(campaign: &Campaign, faults: &str) -> Vec<String> {
    let story = late(campaign, faults, Says::Made(40), (1200, "WORKING")).await;
    let repeat = write("k");
    let query = ask(story.proxy.addr, &repeat);
    let meanwhile = async {
        // Readers of the record meet no query: the late answer is seen by reading, then replayed.
        eventually("the late answer settles", || async {
            let page = ask(story.proxy.addr, &Request::get("/_mainstay/operations?key=k")).await?;
            (page.json()["state"] == "succeeded").then_some(())
        })
        .await;
        story.repeats_until_answered().await;
    };
    futures_util::future::join(query, meanwhile).await;
    story.check(campaign).await
}

/// The service's status endpoint says that the write failed; then its answer arrives and says that it was done.
async fn contradicted(campaign: &Campaign, faults: &str) -> Vec<String> {
    let story = late(campaign, faults, Says::Made(40), (0, "FAILED")).await;
    let page = eventually("the query settles", || async {
        ask(story.proxy.addr, &write("k")).await?;
        let page = ask(story.proxy.addr, &Request::get("/_mainstay/operations?key=k")).await?;
        (page.json()["state"] == "failed").then_some(page)
    })
    .await;
    story.history.read("k", &page.json(), 0, false);
    eventually("the late answer is noticed", || async {
        let page = ask(story.proxy.addr, &Request::get("/_mainstay/operations?key=k")).await?;
        (page.json()["attention"].is_object() || page.json()["state"] != "failed").then_some(())
    })
    .await;
    let mut wrong = story.check(campaign).await;
    let page = ask(story.proxy.addr, &Request::get("/_mainstay/operations?key=k")).await;
    let document = page.expect("an answer").json();
    if faults.is_empty() && document["attention"]["reason"] != "conflict" {
        wrong.push(format!("k: a lie of the status endpoint called nobody: {document}"));
    }
    wrong
}

/// A fault that is misspelt must not become a test of nothing.
async fn nonsense(campaign: &Campaign) -> Vec<String> {
    let home = TempDir::new();
    let config = World::Mute.config(free_addr(), &home.join("ledger"));
    let launch = Launch::of(campaign.binary.clone()).with("MAINSTAY_FAULT", "off@everything");
    match Proxy::launch(config, &launch).await {
        Err(log) if log.contains("is no fault") && log.contains("BROKEN ON PURPOSE") => Vec::new(),
        Err(log) => vec![format!("red: a misspelt fault: {log}")],
        Ok(_) => vec!["red: a misspelt fault was taken".to_owned()],
    }
}

/// A disk that says it has written and has not: power losses must be noticed.
async fn lying_disk(campaign: &Campaign) -> Vec<String> {
    let made = Recording::make(
        campaign,
        campaign.seed,
        World::Mute,
        "",
        Before::default(),
        Duration::from_millis(400),
        |_| (),
    );
    let recording = match made.await {
        Ok(recording) => recording,
        Err(wrong) => return vec![wrong],
    };
    let (end, half) = (recording.end(), recording.end() / 2);
    for (name, lies, sign) in [("an honest disk", false, ""), ("a disk that writes what it syncs", true, ":")] {
        let believes = |record: &Record, at: u64| !(lies && at > half && matches!(record, Record::Synced { .. }));
        let files =
            recording.directory_at(end, believes).lose_power(Loss::Everything, &mut fastrand::Rng::with_seed(1));
        let unseen = must(name, sign, &recording.check(campaign, &files, end).await);
        if !unseen.is_empty() {
            return unseen;
        }
    }
    Vec::new()
}
