//! The disk with a memory, and with faults: `shim/shim.c`, built here and preloaded into the proxy.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use mainstay_tests::proxy::Launch;

use crate::rebuild::{Change, Record};

/// How far a log had been written when something happened: its length in bytes. Without a log every moment is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position(Option<PathBuf>);

impl Position {
    pub(crate) const fn in_log(log: PathBuf) -> Self {
        Self(Some(log))
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.as_ref().and_then(|log| fs::metadata(log).ok()).map_or(0, |log| log.len())
    }
}

/// The built shim.
pub(crate) struct Shim(PathBuf);

impl Shim {
    /// Builds it with `cc` into `directory`.
    ///
    /// # Panics
    /// There is no C compiler, or it does not compile.
    pub(crate) fn build(directory: &Path) -> Self {
        let library = directory.join("shim.so");
        let source = directory.join("shim.c");
        fs::write(&source, include_str!("shim/shim.c")).expect("write the shim's source");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .output()
            .expect("run cc");
        assert!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
        Self(library)
    }

    /// A launch of the proxy on this disk, whose ledger is in `ledger`.
    pub(crate) fn under(&self, launch: Launch, ledger: &Path) -> Launch {
        launch.with("LD_PRELOAD", self.0.to_string_lossy()).with("CRASH_DIR", ledger.to_string_lossy())
    }
}

/// Faults that begin and end while the proxy runs.
pub(crate) struct Control(PathBuf);

const WALL_CLOCK: usize = 0;
const FAILING_SYNC: usize = 1;
const ROOM: usize = 2;

impl Control {
    /// No faults yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        fs::write(&path, [0; 24]).expect("make the control file");
        Self(path)
    }

    pub(crate) fn of(&self, launch: Launch) -> Launch {
        launch.with("CRASH_CONTROL", self.0.to_string_lossy())
    }

    /// Written in place: the proxy has the file mapped.
    fn set(&self, which: usize, value: i64) {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&self.0).expect("open the control file");
        file.write_all_at(&value.to_le_bytes(), which as u64 * 8).expect("write the control file");
    }

    /// The wall clock goes so much ahead of the true one, or behind it.
    pub(crate) fn move_wall_clock(&self, by: Duration, ahead: bool) {
        let nanos = i64::try_from(by.as_nanos()).expect("hours");
        self.set(WALL_CLOCK, if ahead { nanos } else { -nanos });
    }

    /// The `nth` sync from now fails, once.
    pub(crate) fn fail_sync(&self, nth: i64) {
        self.set(FAILING_SYNC, nth);
    }

    /// Files may grow by so many bytes; `None`: as much as they like.
    pub(crate) fn leave_room(&self, bytes: Option<i64>) {
        self.set(ROOM, bytes.map_or(0, |bytes| bytes + 1));
    }
}

const HEAD: usize = 21;

/// Everything that was done to the disk, each with where in the log it ends. A record that a kill cut off is no record.
pub(crate) fn read_log(log: &Path) -> Vec<(u64, Record)> {
    let bytes = fs::read(log).unwrap_or_default();
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + HEAD) {
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
        };
        let (inode, value, length) = (number(1..9), number(9..17), number(17..21) as usize);
        let Some(data) = bytes.get(at + HEAD..at + HEAD + length) else { break };
        at += HEAD + length;
        records.push((at as u64, decode(head[0], inode, value, data)));
    }
    records
}

fn decode(kind: u8, inode: u64, number: u64, data: &[u8]) -> Record {
    let text = || String::from_utf8_lossy(data).into_owned();
    match kind {
        1 => Record::Created { inode, name: text() },
        2 => Record::Found { inode, name: text() },
        3 => Record::Changed { inode, change: Change::Write { at: number as usize, data: data.to_vec() } },
        4 => Record::Changed { inode, change: Change::Truncate { length: number as usize } },
        5 => Record::Synced { inode },
        6 => Record::SyncFailed { inode },
        7 => Record::DirectorySynced,
        8 => {
            let text = text();
            let (from, to) = text.split_once('/').expect("the shim joins two names with a slash");
            Record::Renamed { from: from.to_owned(), to: to.to_owned() }
        }
        9 => Record::Unlinked { name: text() },
        other => panic!("the shim writes no record of kind {other}"),
    }
}
