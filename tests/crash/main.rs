//! Does Mainstay keep its promises when it, its disk, or its service dies? See `README.md`.
//!
//! `crash [short|kill|power|red|trouble|replicas|all] [--kind kill|stop|store|red] [--seed N] [--rounds N] [--minutes M]`

mod behaviour;
mod check;
mod disk;
mod history;
mod kill;
mod load;
mod power;
mod rebuild;
mod red;
mod replicas;
mod service;
mod trouble;
mod world;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::check::Tally;

/// Violations that are shown; the first ones tell, the rest repeats.
const SHOWN: usize = 12;

/// What every part of a run shares.
pub(crate) struct Campaign {
    pub(crate) seed: u64,
    pub(crate) binary: PathBuf,
    pub(crate) tally: Tally,
    /// When a run by the clock ends.
    until: Option<Instant>,
    is_loud: bool,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Campaign {
    /// Whether a run by the clock goes on.
    pub(crate) fn has_time(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn count(&self, what: &str, by: u64) {
        *self.counts.lock().entry(what.to_owned()).or_default() += by;
    }

    pub(crate) fn progress(&self, what: &str) {
        if self.is_loud {
            eprintln!("{what}");
        }
    }

    /// Names the circumstances of broken promises.
    pub(crate) fn condemn(&self, mode: &str, seed: u64, what: &str, wrong: Vec<String>) -> Vec<String> {
        let mut report =
            vec![format!("{mode}, seed {seed} of the run's {}, {what}: {} violations", self.seed, wrong.len())];
        report.extend(wrong.into_iter().take(SHOWN));
        report
    }

    /// What `mainstay ledger check` finds wrong with a ledger that nobody has open.
    pub(crate) fn check_ledger(&self, directory: &Path) -> Vec<String> {
        if !directory.join("ledger.db").exists() {
            return Vec::new();
        }
        let checked = std::process::Command::new(&self.binary).args(["ledger", "check"]).arg(directory).output();
        let checked = checked.expect("run mainstay ledger check");
        self.count("ledgers checked by `mainstay ledger check`", 1);
        if checked.status.success() {
            return Vec::new();
        }
        let words = [checked.stdout, checked.stderr].concat();
        vec![format!("ledger check, {}: {}", checked.status, String::from_utf8_lossy(&words))]
    }

    fn summary(&self) {
        for (what, count) in self.counts.lock().iter() {
            println!("{count:>9}  {what}");
        }
        let tally = &self.tally;
        let rows = [
            (&tally.keys, "keys checked"),
            (&tally.replays, "of them answered with success before, and replayed identically"),
            (&tally.resolved, "of them replayed as what the service says of the write, its answer having come late"),
            (&tally.settled, "settled when checked"),
            (&tally.unknown, "unknown when checked"),
            (&tally.ids, "operation ids read again"),
        ];
        for (count, what) in rows {
            println!("{:>9}  {what}", count.load(Ordering::Relaxed));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Short,
    Kill,
    Power,
    Red,
    Trouble,
    Replicas,
    All,
}

/// What the command line says.
struct Arguments {
    mode: Mode,
    seed: Option<u64>,
    rounds: Option<usize>,
    minutes: u64,
    /// What befalls the replicas; all of it if it is not said.
    kind: Option<replicas::Kind>,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = Self { mode: Mode::Short, seed: None, rounds: None, minutes: 0, kind: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            if word == "--kind" {
                let kind = words.next().and_then(|name| replicas::Kind::named(&name));
                arguments.kind = Some(kind.ok_or("--kind is kill, stop, store or red")?);
                continue;
            }
            let mut number = || {
                let value = words.next().and_then(|value| value.parse::<u64>().ok());
                value.ok_or_else(|| format!("{word} needs a number"))
            };
            match word.as_str() {
                "--seed" => arguments.seed = Some(number()?),
                "--rounds" => arguments.rounds = Some(number()? as usize),
                "--minutes" => arguments.minutes = number()?,
                "short" => arguments.mode = Mode::Short,
                "kill" => arguments.mode = Mode::Kill,
                "power" => arguments.mode = Mode::Power,
                "red" => arguments.mode = Mode::Red,
                "trouble" => arguments.mode = Mode::Trouble,
                "replicas" => arguments.mode = Mode::Replicas,
                "all" => arguments.mode = Mode::All,
                other => return Err(format!("what is {other}? short, kill, power, red, trouble, replicas or all")),
            }
        }
        Ok(arguments)
    }
}

/// The build with the feature `faults`: `MAINSTAY_FAULTY_BIN`, else `mainstay-faulty` beside this program.
fn faulty_binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = || own.parent().unwrap_or(Path::new(".")).join("mainstay-faulty");
    let path = std::env::var_os("MAINSTAY_FAULTY_BIN").map_or_else(beside, PathBuf::from);
    let version = std::process::Command::new(&path).arg("--version").output();
    let version = version.map_err(|error| format!("{}: {error}; see tests/crash/README.md", path.display()))?;
    if !String::from_utf8_lossy(&version.stdout).contains("WITH FAULTS") {
        return Err(format!("{} was built without the feature `faults`", path.display()));
    }
    Ok(path)
}

fn main() -> ExitCode {
    let prepared = Arguments::read().and_then(|arguments| Ok((arguments, faulty_binary()?)));
    let (arguments, binary) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            eprintln!("crash: {problem}");
            return ExitCode::FAILURE;
        }
    };
    // The short run is the same each time, as far as threads and sockets allow.
    let seed =
        arguments.seed.unwrap_or_else(|| if arguments.mode == Mode::Short { 1 } else { fastrand::u64(..1 << 40) });
    println!("crash: {:?}, --seed {seed}", arguments.mode);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let minutes = Duration::from_secs(60 * arguments.minutes);
        let campaign = Campaign {
            seed,
            binary,
            tally: Tally::default(),
            until: (arguments.minutes > 0).then(|| Instant::now() + minutes),
            is_loud: arguments.mode != Mode::Short,
            counts: Mutex::default(),
        };
        let began = Instant::now();
        let wrong = run(&campaign, &arguments).await;
        campaign.summary();
        println!("{:>9}  seconds", began.elapsed().as_secs());
        if wrong.is_empty() {
            println!("no violation");
            ExitCode::SUCCESS
        } else {
            println!("VIOLATED:\n  {}", wrong.join("\n  "));
            ExitCode::FAILURE
        }
    })
}

async fn run(campaign: &Campaign, arguments: &Arguments) -> Vec<String> {
    let (kills, losses) = match arguments.mode {
        Mode::Short => (12, 8),
        _ => (arguments.rounds.unwrap_or(50), arguments.rounds.unwrap_or(20)),
    };
    let mode = arguments.mode;
    let is = |modes: &[Mode]| modes.contains(&mode);
    let mut wrong = Vec::new();
    if is(&[Mode::Red, Mode::Short, Mode::All]) {
        wrong.extend(red::run(campaign).await);
    }
    if is(&[Mode::Trouble, Mode::Short, Mode::All]) {
        wrong.extend(trouble::run(campaign).await);
    }
    if is(&[Mode::Power, Mode::Short, Mode::All]) {
        wrong.extend(power::rounds(campaign, losses).await);
    }
    if is(&[Mode::Kill, Mode::Short, Mode::All]) {
        wrong.extend(kill::rounds(campaign, kills).await);
    }
    if is(&[Mode::Replicas, Mode::Short, Mode::All]) && arguments.kind.is_none() {
        wrong.extend(replicas::upgrade(campaign).await);
    }
    if is(&[Mode::Replicas, Mode::All, Mode::Short]) {
        for kind in [replicas::Kind::Red, replicas::Kind::Kill, replicas::Kind::Stop, replicas::Kind::Store] {
            if arguments.kind.is_none_or(|chosen| chosen == kind) {
                let short = if kind == replicas::Kind::Store { 3 } else { 2 };
                let rounds = if mode == Mode::Short { short } else { arguments.rounds.unwrap_or(8) };
                wrong.extend(replicas::rounds(campaign, kind, rounds).await);
            }
        }
    }
    wrong
}
