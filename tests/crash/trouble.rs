//! Trouble that is not death: a disk that fails or is full, processes that stand still, a clock that jumps.

use std::time::Duration;

use fastrand::Rng;
use mainstay_tests::{
    client::Request,
    eventually,
    proxy::{Launch, Proxy, TempDir},
};

use crate::{
    Campaign,
    check::Check,
    disk::{Control, Position, Shim},
    history::History,
    load::{Load, ask, write},
    power::{Before, Recording},
    rebuild::{self, Loss},
    service::Service,
    world::World,
};

/// How long the load runs in each.
const TIME: Duration = Duration::from_millis(600);

/// Each kind of trouble once.
pub(crate) async fn run(campaign: &Campaign) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(failing_sync(campaign).await);
    wrong.extend(full_disk(campaign).await);
    for trouble in [Trouble::ProxyStops, Trouble::ServiceStops, Trouble::ClockAhead, Trouble::ClockBehind] {
        let found = endured(campaign, trouble).await;
        if !found.is_empty() {
            wrong.extend(campaign.condemn("trouble", campaign.seed, &format!("{trouble:?}"), found));
        }
        campaign.count("kinds of trouble", 1);
    }
    wrong
}

/// A sync fails in the midst of it, and what it should have written is lost although later syncs succeed.
async fn failing_sync(campaign: &Campaign) -> Vec<String> {
    let mut rng = Rng::with_seed(campaign.seed);
    let nth = rng.i64(1..6);
    let fail = |control: &Control| control.fail_sync(nth);
    let made = Recording::make(campaign, campaign.seed, World::Mute, "", Before::default(), TIME, fail).await;
    let recording = match made {
        Ok(recording) => recording,
        Err(wrong) => return vec![wrong],
    };
    campaign.count("kinds of trouble", 1);
    let failed = recording.records.iter().position(|(_, record)| matches!(record, rebuild::Record::SyncFailed { .. }));
    let Some(failed) = failed else { return vec!["trouble: no sync failed".to_owned()] };
    let later =
        recording.records[failed..].iter().filter(|(_, r)| matches!(r, rebuild::Record::Changed { .. })).count();
    let mut wrong = Vec::new();
    if later > 0 {
        wrong.push(format!("trouble: {later} writes to the ledger after a failed sync"));
    }
    for loss in [Loss::Everything, Loss::Nothing] {
        let end = recording.end();
        let files = recording.directory_at(end, |_, _| true).lose_power(loss, &mut rng);
        let found = recording.check(campaign, &files, end).await;
        if !found.is_empty() {
            wrong.extend(campaign.condemn("trouble", campaign.seed, "a failing sync", found));
        }
    }
    wrong
}

/// A proxy on a disk with faults, and what its clients saw.
struct Stage {
    home: TempDir,
    shim: Shim,
    control: Control,
    service: Service,
    history: History,
}

impl Stage {
    async fn set(seed: u64) -> Self {
        let home = TempDir::new();
        let (shim, control) = (Shim::build(&home.join("")), Control::new(home.join("control")));
        let service = Service::start(World::Mute.character(seed)).await;
        Self { home, shim, control, service, history: History::default() }
    }

    async fn start(&self, campaign: &Campaign) -> Result<Proxy, String> {
        let ledger = self.home.join("ledger");
        let launch = self.control.of(self.shim.under(Launch::of(campaign.binary.clone()), &ledger));
        Proxy::launch(World::Mute.config(self.service.addr, &ledger), &launch).await
    }

    /// Load for a while; in its middle something happens, and later stops.
    async fn load(&self, proxy: &Proxy, seed: u64, begins: impl FnOnce(), ends: impl FnOnce()) {
        let position = Position::default();
        let load = Load::new(proxy.addr, &self.history, &position, format!("t{seed:x}"), seed);
        let ending = async {
            tokio::time::sleep(TIME / 3).await;
            begins();
            tokio::time::sleep(TIME / 3).await;
            ends();
            tokio::time::sleep(TIME / 3).await;
            load.stop();
        };
        futures_util::future::join(load.run(), ending).await;
    }

    async fn check(&self, campaign: &Campaign, proxy: &Proxy) -> Vec<String> {
        eventually("nothing is in flight", || async {
            let list = ask(proxy.addr, &Request::get("/_mainstay/operations?state=pending")).await?;
            (list.json()["operations"].as_array()?.is_empty()).then_some(())
        })
        .await;
        let check = Check { proxy, history: &self.history, service: &self.service, truthful: true, forgets: false };
        check.run(self.history.keys(), &campaign.tally).await
    }

    /// Kills the proxy, starts it again, and checks.
    async fn check_after_restart(&self, campaign: &Campaign, mut proxy: Proxy) -> Vec<String> {
        proxy.signal("KILL");
        proxy.ended().await;
        drop(proxy);
        match self.start(campaign).await {
            Ok(proxy) => self.check(campaign, &proxy).await,
            Err(log) => vec![format!("the proxy does not start again: {log}")],
        }
    }
}

/// No room: keyed writes are refused and nothing is sent for them, other traffic goes on; with room again all goes on.
async fn full_disk(campaign: &Campaign) -> Vec<String> {
    let stage = Stage::set(campaign.seed).await;
    let proxy = match stage.start(campaign).await {
        Ok(proxy) => proxy,
        Err(log) => return vec![log],
    };
    stage.load(&proxy, campaign.seed, || stage.control.leave_room(Some(100_000)), || ()).await;
    let mut wrong = Vec::new();
    stage.history.sends("full", 0);
    match ask(proxy.addr, &write("full")).await {
        Some(reply) if reply.status == 503 && reply.slug() == Some("ledger-unavailable") => {
            stage.history.saw("full", &reply, 0);
            if reply.header("retry-after").is_none() {
                wrong.push("full disk: no Retry-After".to_owned());
            }
        }
        other => wrong.push(format!("full disk: a keyed write got {other:?}")),
    }
    if stage.service.effects("full") > 0 {
        wrong.push("full disk: a refused write was sent".to_owned());
    }
    match ask(proxy.addr, &Request::get("/free")).await {
        Some(reply) if reply.status == 200 => {}
        other => wrong.push(format!("full disk: other traffic got {other:?}")),
    }
    stage.control.leave_room(None);
    eventually("the ledger takes writes again", || async {
        stage.history.sends("full", 0);
        let reply = ask(proxy.addr, &write("full")).await?;
        stage.history.saw("full", &reply, 0);
        (reply.slug() != Some("ledger-unavailable")).then_some(())
    })
    .await;
    // An operation whose end could not be written may be pending for a while; a restart ends that.
    let found = stage.check_after_restart(campaign, proxy).await;
    if !found.is_empty() {
        wrong.extend(campaign.condemn("trouble", campaign.seed, "a full disk", found));
    }
    campaign.count("kinds of trouble", 1);
    wrong
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    ProxyStops,
    ServiceStops,
    ClockAhead,
    ClockBehind,
}

/// Trouble that everybody must live through, and a kill after it.
async fn endured(campaign: &Campaign, trouble: Trouble) -> Vec<String> {
    const HOUR: Duration = Duration::from_hours(1);
    let stage = Stage::set(campaign.seed).await;
    let proxy = match stage.start(campaign).await {
        Ok(proxy) => proxy,
        Err(log) => return vec![log],
    };
    let begins = || match trouble {
        Trouble::ProxyStops => proxy.signal("STOP"),
        Trouble::ServiceStops => stage.service.pause(true),
        Trouble::ClockAhead => stage.control.move_wall_clock(HOUR, true),
        Trouble::ClockBehind => stage.control.move_wall_clock(HOUR, false),
    };
    let ends = || match trouble {
        Trouble::ProxyStops => proxy.signal("CONT"),
        Trouble::ServiceStops => stage.service.pause(false),
        // The clock is right again only after the restart.
        Trouble::ClockAhead | Trouble::ClockBehind => {}
    };
    stage.load(&proxy, campaign.seed, begins, ends).await;
    let mut wrong = stage.check(campaign, &proxy).await;
    stage.control.move_wall_clock(Duration::ZERO, true);
    wrong.extend(stage.check_after_restart(campaign, proxy).await);
    wrong
}
