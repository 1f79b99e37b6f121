//! Trouble that is not death: a disk that fails or is full, processes that stand still, a clock that jumps, tasks that panic.

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
    for (world, pitfall) in [(World::Honouring, "look:250"), (World::Asked, "work:3"), (World::Mute, "house:1")] {
        wrong.extend(stumbling(campaign, world, pitfall).await);
    }
    wrong.extend(no_writer(campaign).await);
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
    world: World,
}

impl Stage {
    async fn set() -> Self {
        Self::set_in(World::Mute).await
    }

    async fn set_in(world: World) -> Self {
        let home = TempDir::new();
        let (shim, control) = (Shim::build(&home.join("")), Control::new(home.join("control")));
        let service = Service::start(world.character()).await;
        Self { home, shim, control, service, history: History::default(), world }
    }

    async fn start(&self, campaign: &Campaign) -> Result<Proxy, String> {
        self.start_with(campaign, None).await
    }

    async fn start_with(&self, campaign: &Campaign, fault: Option<String>) -> Result<Proxy, String> {
        let ledger = self.home.join("ledger");
        let mut launch = self.control.of(self.shim.under(Launch::of(campaign.binary.clone()), &ledger));
        if let Some(fault) = fault {
            launch = launch.with("MAINSTAY_FAULT", fault);
        }
        Proxy::launch(self.world.config(self.service.addr, &ledger), &launch).await
    }

    /// Load for a while; in its middle something happens, and later stops.
    async fn load(&self, proxy: &Proxy, seed: u64, begins: impl FnOnce(), ends: impl FnOnce()) {
        let position = Position::default();
        let load = Load::new(&[proxy.addr], &self.history, &position, format!("t{seed:x}"), seed);
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
        self.checker(proxy).run(self.history.keys(), &campaign.tally).await
    }

    fn checker<'a>(&'a self, proxy: &'a Proxy) -> Check<'a> {
        Check {
            proxy,
            history: &self.history,
            service: &self.service,
            truthful: true,
            forgets: false,
            is_shared: false,
        }
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
    let stage = Stage::set().await;
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

/// A task panics again and again: what it does is done all the same, and the metric tells.
async fn stumbling(campaign: &Campaign, world: World, pitfall: &str) -> Vec<String> {
    let stage = Stage::set_in(world).await;
    let proxy = match stage.start_with(campaign, Some(format!("panic@{pitfall}"))).await {
        Ok(proxy) => proxy,
        Err(log) => return vec![log],
    };
    stage.load(&proxy, campaign.seed, || (), || ()).await;
    let mut wrong = if world == World::Mute { Vec::new() } else { stage.checker(&proxy).settles().await };
    wrong.extend(stage.check(campaign, &proxy).await);
    let task = if pitfall.starts_with("house") { "housekeeping" } else { "resolver" };
    // Work of its own ends alone, and the resolver goes on.
    let restarts = proxy.metric("mainstay_task_restarts_total", &[("task", task)]).await.unwrap_or(0.0);
    if (restarts > 0.0) == pitfall.starts_with("work") {
        wrong.push(format!("{task} was started again {restarts} times"));
    }
    if !proxy.log().contains("on purpose") {
        wrong.push("nothing panicked".to_owned());
    }
    wrong.extend(stage.check_after_restart(campaign, proxy).await);
    campaign.count("kinds of trouble", 1);
    if wrong.is_empty() {
        wrong
    } else {
        campaign.condemn("trouble", campaign.seed, &format!("panic@{pitfall}"), wrong)
    }
}

/// The ledger's writer panics: keyed writes are refused from then on, the pod is not ready, and nothing is lost.
async fn no_writer(campaign: &Campaign) -> Vec<String> {
    let stage = Stage::set().await;
    let proxy = match stage.start_with(campaign, Some("panic@batch:40".to_owned())).await {
        Ok(proxy) => proxy,
        Err(log) => return vec![log],
    };
    stage.load(&proxy, campaign.seed, || (), || ()).await;
    let mut wrong = Vec::new();
    stage.history.sends("refused", 0);
    match ask(proxy.addr, &write("refused")).await {
        Some(reply) if reply.slug() == Some("ledger-unavailable") => stage.history.saw("refused", &reply, 0),
        other => wrong.push(format!("without a writer a keyed write got {other:?}")),
    }
    if stage.service.effects("refused") > 0 {
        wrong.push("without a writer a refused write was sent".to_owned());
    }
    eventually("it is not ready", || async { (proxy.ready().await == Some(503)).then_some(()) }).await;
    wrong.extend(stage.check_after_restart(campaign, proxy).await);
    campaign.count("kinds of trouble", 1);
    if wrong.is_empty() { wrong } else { campaign.condemn("trouble", campaign.seed, "a writer that panics", wrong) }
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
    let stage = Stage::set().await;
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
