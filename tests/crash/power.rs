//! Power loss: what the proxy does to its ledger is recorded, the directory is rebuilt as it would have been left at some
//! moment, and a proxy is started on that. What clients had been told by then must be true.

use std::{fs, path::PathBuf, time::Duration};

use fastrand::Rng;
use mainstay_tests::proxy::{Launch, Proxy, TempDir};

use crate::{
    Campaign,
    check::Check,
    disk::{Control, Position, Shim, read_log},
    history::History,
    load::Load,
    rebuild::{self, Directory, Files, Loss, Record},
    service::{Service, Truth},
    world::World,
};

/// Power losses that are tried on one recording.
const CUTS: usize = 5;
/// Recordings on top of each other, before a fresh ledger.
const CHAIN: usize = 3;

/// A run of the proxy under load on a disk with a memory.
pub(crate) struct Recording {
    pub(crate) world: World,
    pub(crate) home: TempDir,
    pub(crate) history: History,
    pub(crate) truth: Truth,
    pub(crate) base: Files,
    pub(crate) records: Vec<(u64, Record)>,
}

/// What a recording begins with.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) files: Files,
    pub(crate) history: History,
    pub(crate) truth: Truth,
}

impl Recording {
    /// Loads a proxy for `time`, while `trouble` happens to it, and kills it.
    pub(crate) async fn make(
        campaign: &Campaign,
        seed: u64,
        world: World,
        faults: &str,
        before: Before,
        time: Duration,
        trouble: impl FnOnce(&Control),
    ) -> Result<Self, String> {
        let mut rng = Rng::with_seed(seed);
        let home = TempDir::new();
        let (ledger, log) = (home.join("ledger"), home.join("disk.log"));
        rebuild::write(&ledger, &before.files);
        let position = Position::in_log(log.clone());
        let service = Service::resume(world.character(), position.clone(), before.truth).await;
        let control = Control::new(home.join("control"));
        let shim = Shim::build(&home.join(""));
        // Often, so that the log of this short run is begun anew some times, and segments of keys are made.
        let faults = format!("copy@{},seal@{},{faults}", rng.usize(8..120), rng.usize(10..200));
        let launch = Launch::of(campaign.binary.clone()).with("MAINSTAY_FAULT", faults);
        let launch = control.of(shim.under(launch, &ledger)).with("CRASH_LOG", log.to_string_lossy());
        let started = Proxy::launch(world.config(service.addr, &ledger), &launch).await;
        let mut proxy = started.map_err(|log| format!("the proxy does not start: {log}"))?;
        let history = before.history;
        let load = Load::new(&[proxy.addr], &history, &position, format!("{seed:x}"), rng.u64(..));
        let ending = async {
            tokio::time::sleep(time / 2).await;
            trouble(&control);
            tokio::time::sleep(time / 2).await;
            proxy.signal("KILL");
            proxy.ended().await;
            load.stop();
        };
        futures_util::future::join(load.run(), ending).await;
        let records = read_log(&log);
        let truth = service.truth();
        Ok(Self { world, home, history, truth, base: before.files, records })
    }

    /// The directory at that point of the log.
    pub(crate) fn directory_at(&self, cut: u64, believes: impl Fn(&Record, u64) -> bool) -> Directory {
        let mut directory = Directory::holding(self.base.clone());
        for (at, record) in self.records.iter().take_while(|(at, _)| *at <= cut) {
            if believes(record, *at) {
                directory.apply(record);
            }
        }
        directory
    }

    /// Starts a proxy on these files and checks what had been promised by `cut`.
    pub(crate) async fn check(&self, campaign: &Campaign, files: &Files, cut: u64) -> Vec<String> {
        let ledger = self.home.join("rebuilt");
        fs::remove_dir_all(&ledger).ok();
        rebuild::write(&ledger, files);
        let service = Service::resume(self.world.character(), Position::default(), self.truth.as_of(cut)).await;
        let history = self.history.as_of(cut);
        let damaged = campaign.check_ledger(&ledger);
        if !damaged.is_empty() {
            return damaged;
        }
        let launch = Launch::of(campaign.binary.clone());
        let proxy = match Proxy::launch(self.world.config(service.addr, &ledger), &launch).await {
            Ok(proxy) => proxy,
            Err(log) => return vec![format!("the proxy does not start after the power loss: {log}")],
        };
        let forgets = self.world.forgets();
        let check =
            Check { proxy: &proxy, history: &history, service: &service, truthful: true, forgets, is_shared: false };
        check.run(history.keys(), &campaign.tally).await
    }

    /// A moment of the log: one at which somebody was just told something, or any.
    pub(crate) fn choose_cut(&self, rng: &mut Rng) -> u64 {
        let promises = self.history.promises();
        if !promises.is_empty() && rng.bool() {
            return promises[rng.usize(..promises.len())];
        }
        self.records.get(rng.usize(..self.records.len().max(1))).map_or(0, |(at, _)| *at)
    }

    pub(crate) fn end(&self) -> u64 {
        self.records.last().map_or(0, |(at, _)| *at)
    }

    /// What the next recording begins with, if this one simply ended.
    fn after(&self) -> Before {
        let files = rebuild::read(&self.home.join("ledger"));
        Before { files, history: self.history.long_ago(), truth: self.truth.long_ago() }
    }

    /// Leaves the files for somebody to look at.
    pub(crate) fn keep(self) -> PathBuf {
        let path = self.home.join("");
        std::mem::forget(self.home);
        path
    }
}

/// How a power loss treats what was not synced.
fn choose_loss(rng: &mut Rng) -> Loss {
    match rng.u32(0..6) {
        0 => Loss::Nothing,
        1 | 2 => Loss::Everything,
        3 | 4 => Loss::Some { sector: 4096 },
        _ => Loss::Some { sector: 512 },
    }
}

/// Runs power losses until the campaign has enough of them.
pub(crate) async fn rounds(campaign: &Campaign, rounds: usize) -> Vec<String> {
    let mut done = 0;
    let mut before = Before::default();
    for number in 0.. {
        if done >= rounds && !campaign.has_time() {
            break;
        }
        let seed = campaign.seed.wrapping_add(0x1000).wrapping_add(number as u64);
        if number % CHAIN == 0 {
            before = Before::default();
        }
        let mut rng = Rng::with_seed(seed);
        let (world, time) = (World::nth(number / CHAIN), Duration::from_millis(rng.u64(150..500)));
        let recording = match Recording::make(campaign, seed, world, "", before, time, |_| ()).await {
            Ok(recording) => recording,
            Err(wrong) => return campaign.condemn("power", seed, "", vec![wrong]),
        };
        for _ in 0..CUTS {
            let (cut, loss) = (recording.choose_cut(&mut rng), choose_loss(&mut rng));
            let files = recording.directory_at(cut, |_, _| true).lose_power(loss, &mut rng);
            let wrong = recording.check(campaign, &files, cut).await;
            if !wrong.is_empty() {
                let what = format!("{world:?}, cut {cut} of {}, {loss:?}", recording.end());
                let mut report = campaign.condemn("power", seed, &what, wrong);
                report.push(format!("its files: {}", recording.keep().display()));
                return report;
            }
            done += 1;
        }
        let copies = recording.records.iter().filter(|(_, record)| matches!(record, Record::Synced { .. })).count();
        campaign.count("syncs recorded", copies as u64);
        campaign.progress(&format!("power: {done} losses"));
        before = recording.after();
    }
    campaign.count("power losses", done as u64);
    Vec::new()
}
