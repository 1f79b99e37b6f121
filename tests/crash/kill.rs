//! `kill -9`, at the named points and at any moment, under load; a check after each restart.

use std::{fs, time::Duration};

use fastrand::Rng;
use mainstay_tests::proxy::{Launch, Proxy, TempDir};
use tokio::time::timeout;

use crate::{Campaign, check::Check, disk::Position, history::History, load::Load, service::Service, world::World};

/// The places in the proxy at which it can be told to die.
const POINTS: [&str; 5] = ["before-begin", "after-begin", "after-send", "before-settle", "after-settle"];

/// Rounds on one ledger, before it is checked whole and thrown away.
const ROUNDS_PER_LEDGER: usize = 10;

/// How long a named point is waited for.
const POINT_PATIENCE: Duration = Duration::from_millis(700);

/// How a round ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// From outside, after so long.
    AnyMoment(Duration),
    /// By its own hand, when a write comes past that point for the n-th time.
    At(&'static str, u32),
}

impl Death {
    fn choose(rng: &mut Rng, round: usize) -> Self {
        if round.is_multiple_of(2) {
            Self::At(POINTS[(round / 2) % POINTS.len()], rng.u32(1..60))
        } else {
            Self::AnyMoment(Duration::from_millis(rng.u64(10..350)))
        }
    }
}

/// One ledger's life.
struct Life<'a> {
    campaign: &'a Campaign,
    home: &'a TempDir,
    world: World,
    seed: u64,
    service: Service,
    history: History,
}

/// Runs rounds until the campaign has enough of them.
pub(crate) async fn rounds(campaign: &Campaign, rounds: usize) -> Vec<String> {
    let mut done = 0;
    for number in 0.. {
        if done >= rounds && !campaign.has_time() {
            break;
        }
        let seed = campaign.seed.wrapping_add(number as u64);
        let home = TempDir::new();
        let world = World::nth(number);
        let life = Life {
            campaign,
            home: &home,
            world,
            seed,
            service: Service::start(world.character()).await,
            history: History::default(),
        };
        let count = if campaign.has_time() { ROUNDS_PER_LEDGER } else { ROUNDS_PER_LEDGER.min(rounds - done) };
        let wrong = life.run(count, done).await;
        done += count;
        if !wrong.is_empty() {
            std::mem::forget(home);
            return campaign.condemn("kill", seed, &format!("{world:?}"), wrong);
        }
        campaign.progress(&format!("kill: {done} rounds"));
    }
    campaign.count("kill -9 rounds", done as u64);
    Vec::new()
}

impl Life<'_> {
    async fn run(&self, rounds: usize, before: usize) -> Vec<String> {
        let mut rng = Rng::with_seed(self.seed);
        for round in 0..rounds {
            let death = Death::choose(&mut rng, before + round);
            let wrong = self.round(round, death, &mut rng).await;
            if !wrong.is_empty() {
                return wrong;
            }
        }
        let proxy = match self.start(&Launch::of(self.campaign.binary.clone())).await {
            Ok(proxy) => proxy,
            Err(wrong) => return vec![wrong],
        };
        let mut wrong = self.check(&proxy, self.history.keys()).await;
        if wrong.is_empty() && self.world == World::Honouring {
            wrong = self.settled(&proxy).await;
        }
        wrong
    }

    /// Where the service honours keys, what is unknown is sent again until it is known; then all must hold once more.
    async fn settled(&self, proxy: &Proxy) -> Vec<String> {
        let check = Check {
            proxy,
            history: &self.history,
            service: &self.service,
            truthful: true,
            forgets: false,
            is_shared: false,
        };
        let mut wrong = check.settles().await;
        wrong.extend(self.check(proxy, self.history.keys()).await);
        wrong.extend(check.settles().await);
        wrong
    }

    async fn start(&self, launch: &Launch) -> Result<Proxy, String> {
        let damaged = self.campaign.check_ledger(&self.home.join("ledger"));
        if !damaged.is_empty() {
            return Err(damaged.concat());
        }
        let config = self.world.config(self.service.addr, &self.home.join("ledger"));
        Proxy::launch(config, launch).await.map_err(|log| format!("the proxy does not start again: {log}"))
    }

    async fn check(&self, proxy: &Proxy, keys: Vec<String>) -> Vec<String> {
        let forgets = self.world.forgets();
        let check =
            Check { proxy, history: &self.history, service: &self.service, truthful: true, forgets, is_shared: false };
        check.run(keys, &self.campaign.tally).await
    }

    /// A start, a check of what the last rounds did, load, and death.
    async fn round(&self, round: usize, death: Death, rng: &mut Rng) -> Vec<String> {
        let armed = self.home.join("armed");
        fs::remove_file(&armed).ok();
        let mut launch = Launch::of(self.campaign.binary.clone());
        // Small segments of keys, so that some are always half written.
        let mut faults = format!("seal@{}", rng.usize(10..200));
        if let Death::At(point, nth) = death {
            faults = format!("{faults},kill@{point}:{nth}");
            launch = launch.with("MAINSTAY_FAULT_WHEN", armed.to_string_lossy());
        }
        let launch = launch.with("MAINSTAY_FAULT", faults);
        let mut proxy = match self.start(&launch).await {
            Ok(proxy) => proxy,
            Err(wrong) => return vec![wrong],
        };
        let last = format!("{:x}-{}-", self.seed, round.wrapping_sub(1));
        let fresh = self.history.keys().into_iter().filter(|key| key.starts_with(&last)).collect();
        let wrong = self.check(&proxy, fresh).await;
        if !wrong.is_empty() {
            return wrong;
        }
        fs::write(&armed, "").expect("write a file");
        let position = Position::default();
        let prefix = format!("{:x}-{round}", self.seed);
        let load = Load::new(&[proxy.addr], &self.history, &position, prefix, rng.u64(..));
        let dying = async {
            match death {
                Death::AnyMoment(after) => {
                    tokio::time::sleep(after).await;
                    self.campaign.count("died at any moment", 1);
                }
                Death::At(point, _) => {
                    let died = timeout(POINT_PATIENCE, proxy.ended()).await.is_ok();
                    self.campaign.count(if died { point } else { "point not reached in time" }, 1);
                }
            }
            if proxy.runs() {
                proxy.signal("KILL");
            }
            proxy.ended().await;
            load.stop();
        };
        futures_util::future::join(load.run(), dying).await;
        Vec::new()
    }
}
