//! A rolling upgrade: while one replica lives that reads no newer version of records, the others write none; what each has
//! written the other answers, takes over and settles. Once the last old one has left, the newer version is written.

use std::{collections::BTreeSet, time::Duration};

use mainstay_tests::{
    client::Request,
    config::Config,
    postgres::Postgres,
    proxy::{Launch, Proxy},
    script::Answer,
    upstream::Upstream,
};
use tokio::time::Instant;

use crate::Campaign;

/// Writes at each of them.
const KEYS: usize = 20;
/// How long the others may take to learn that the last old one has left: some heartbeats on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Goes through one, and says what went wrong.
pub(crate) async fn upgrade(campaign: &Campaign) -> Vec<String> {
    let Some(server) = Postgres::start() else {
        campaign.count("replicas: skipped, there is no PostgreSQL", 1);
        return Vec::new();
    };
    let wrong = roll(campaign, &server).await.err();
    campaign.count("rolling upgrades with a version of records more", 1);
    wrong.map(|wrong| campaign.condemn("replicas", campaign.seed, "a rolling upgrade", vec![wrong])).unwrap_or_default()
}

async fn roll(campaign: &Campaign, server: &Postgres) -> Result<(), String> {
    let service = Upstream::start(|seen| Answer::status(201).body(format!("made {}", seen.index)).steps()).await;
    let config = || {
        Config::single(service.addr, "timeout: 2s, idempotency: { required: true }").ledger(&format!(
            "store: postgres, url: \"{}\", service: payments, lease: {{ heartbeat: 200ms, ttl: 1s }}",
            server.url()
        ))
    };
    let launch = || Launch::of(campaign.binary.clone());
    let mut old = Proxy::launch(config(), &launch()).await?;
    let new = Proxy::launch(config(), &launch().with("MAINSTAY_FAULT", "speak@1")).await?;
    let mut answers = Vec::new();
    for number in 0..KEYS {
        for (proxy, key) in [(&old, format!("old-{number}")), (&new, format!("new-{number}"))] {
            let answer = proxy.send(Request::keyed("/pay", &key, "x")).await;
            expect(answer.status == 201, || format!("{key}: {}", answer.text()))?;
            answers.push((key, answer.text()));
        }
    }
    let together = versions(server)?;
    expect(together.len() == 1, || format!("while both halves live, versions {together:?} are written"))?;
    for proxy in [&old, &new] {
        replays(proxy, &answers).await?;
    }
    old.terminate().await;
    let until = Instant::now() + PATIENCE;
    let mut number = 0;
    while versions(server)?.last() == together.last() {
        expect(Instant::now() < until, || "the newer version is never written".to_owned())?;
        let key = format!("after-{number}");
        let answer = new.send(Request::keyed("/pay", &key, "x")).await;
        expect(answer.status == 201, || format!("{key}: {}", answer.text()))?;
        answers.push((key, answer.text()));
        number += 1;
    }
    let other = Proxy::launch(config(), &launch().with("MAINSTAY_FAULT", "speak@1")).await?;
    for proxy in [&new, &other] {
        replays(proxy, &answers).await?;
    }
    let twice = answers.iter().find(|(key, _)| service.effects(key) != 1);
    twice.map_or(Ok(()), |(key, _)| Err(format!("{key} had {} effects", service.effects(key))))
}

/// Every answer is the other's, too.
async fn replays(proxy: &Proxy, answers: &[(String, String)]) -> Result<(), String> {
    for (key, text) in answers {
        let again = proxy.send(Request::keyed("/pay", key, "x")).await;
        expect(again.status == 201 && again.text() == *text, || format!("{key}: {text}, then {}", again.text()))?;
    }
    Ok(())
}

/// The versions of the records that there are.
fn versions(server: &Postgres) -> Result<BTreeSet<u32>, String> {
    let found = server.try_sql("SELECT DISTINCT get_byte(record, 0) FROM mainstay.op")?;
    Ok(found.lines().filter_map(|line| line.parse().ok()).collect())
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
