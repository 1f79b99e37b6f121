//! A directory as a power loss would have left it.
//!
//! What was synced is there. What was not may be there or not, each write for itself, and of a write only some sectors. Names
//! are kept by a sync of the directory; changes of names that were not synced are kept up to some point, in order, as a
//! journalling file system does. After a failed sync what it should have written is lost, whatever later syncs say: that is
//! how Linux behaves.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use fastrand::Rng;

/// One thing that was done to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Created {
        inode: u64,
        name: String,
    },
    /// Opened; it was there before the recording.
    Found {
        inode: u64,
        name: String,
    },
    Changed {
        inode: u64,
        change: Change,
    },
    Synced {
        inode: u64,
    },
    SyncFailed {
        inode: u64,
    },
    DirectorySynced,
    Renamed {
        from: String,
        to: String,
    },
    Unlinked {
        name: String,
    },
}

/// A change of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Write { at: usize, data: Vec<u8> },
    Truncate { length: usize },
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It was written all the same.
    Nothing,
    /// None of it was.
    Everything,
    /// Each write or not, and of a write each sector of that many bytes or not.
    Some { sector: usize },
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

/// The state of a directory: what the disk has, and what is only in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
    base: BTreeMap<String, Vec<u8>>,
}

/// The files of a directory, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

impl Directory {
    /// A directory in which these files are, safely.
    pub(crate) fn holding(base: Files) -> Self {
        Self { base, ..Self::default() }
    }

    /// What the directory is after one more thing was done.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Created { inode, name } => {
                // The system may give a dead file's number to a new one.
                self.inodes.insert(*inode, Inode::default());
                self.pending.push(NameChange::Set(name.clone(), *inode));
            }
            Record::Found { inode, name } => {
                if let Some(content) = self.base.remove(name) {
                    self.inodes.insert(*inode, Inode { durable: content, pending: Vec::new() });
                    self.names.insert(name.clone(), *inode);
                }
            }
            Record::Changed { inode, change } => {
                self.inodes.entry(*inode).or_default().pending.push(change.clone());
            }
            Record::Synced { inode } => {
                let file = self.inodes.entry(*inode).or_default();
                for change in std::mem::take(&mut file.pending) {
                    carry_out(&mut file.durable, &change, |_| true, usize::MAX);
                }
            }
            Record::SyncFailed { inode } => {
                if let Some(file) = self.inodes.get_mut(inode) {
                    file.pending.clear();
                }
            }
            Record::DirectorySynced => {
                for change in std::mem::take(&mut self.pending) {
                    rename(&mut self.names, &change);
                }
            }
            Record::Renamed { from, to } => self.pending.push(NameChange::Rename(from.clone(), to.clone())),
            Record::Unlinked { name } => self.pending.push(NameChange::Remove(name.clone())),
        }
    }

    /// The files that are there after the power was lost.
    pub(crate) fn lose_power(&self, loss: Loss, rng: &mut Rng) -> Files {
        let mut names = self.names.clone();
        let kept = match loss {
            Loss::Nothing => self.pending.len(),
            Loss::Everything => 0,
            Loss::Some { .. } => rng.usize(..=self.pending.len()),
        };
        for change in &self.pending[..kept] {
            rename(&mut names, change);
        }
        let mut files = self.base.clone();
        for (name, inode) in names {
            let Some(file) = self.inodes.get(&inode) else { continue };
            let mut content = file.durable.clone();
            for change in &file.pending {
                match loss {
                    Loss::Nothing => carry_out(&mut content, change, |_| true, usize::MAX),
                    Loss::Everything => {}
                    Loss::Some { sector } => match rng.u32(0..3) {
                        0 => {}
                        1 => carry_out(&mut content, change, |_| true, usize::MAX),
                        _ => carry_out(&mut content, change, |_| rng.bool(), sector),
                    },
                }
            }
            files.insert(name, content);
        }
        files
    }
}

fn rename(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

/// Does `change`; of a write only those sectors that are `kept`.
fn carry_out(content: &mut Vec<u8>, change: &Change, mut kept: impl FnMut(usize) -> bool, sector: usize) {
    match change {
        Change::Truncate { length } => content.resize(*length, 0),
        Change::Write { at, data } => {
            let mut from = 0;
            while from < data.len() {
                // Sectors are the file's, not the write's.
                let to = data.len().min(
                    (at + from)
                        .checked_div(sector)
                        .map_or(data.len(), |n| (n + 1).saturating_mul(sector).saturating_sub(*at)),
                );
                if kept(at + from) {
                    let end = at + to;
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    content[at + from..end].copy_from_slice(&data[from..to]);
                }
                from = to;
            }
        }
    }
}

/// Every file of a directory that must survive.
pub(crate) fn read(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let lives = ["-shm", ".lock"].iter().all(|end| !name.ends_with(end));
        lives.then(|| fs::read(entry.path()).ok().map(|content| (name, content))).flatten()
    });
    files.collect()
}

/// Makes a directory of these files.
pub(crate) fn write(directory: &Path, files: &Files) {
    fs::create_dir_all(directory).expect("make a directory");
    for (name, content) in files {
        let mut file = fs::File::create(directory.join(name)).expect("make a file");
        file.write_all(content).expect("write a file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_at(at: usize, data: &[u8]) -> Record {
        Record::Changed { inode: 7, change: Change::Write { at, data: data.to_vec() } }
    }

    fn after(records: &[Record]) -> Directory {
        let mut directory = Directory::default();
        for record in records {
            directory.apply(record);
        }
        directory
    }

    fn left(directory: &Directory, loss: Loss) -> Option<Vec<u8>> {
        directory.lose_power(loss, &mut Rng::with_seed(1)).get("db").cloned()
    }

    fn made() -> Vec<Record> {
        vec![Record::Created { inode: 7, name: "db".into() }, Record::DirectorySynced]
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_may_be_lost() {
        let mut records = made();
        records.extend([write_at(0, b"safe"), Record::Synced { inode: 7 }, write_at(2, b"new")]);
        let directory = after(&records);
        assert_eq!(left(&directory, Loss::Everything).unwrap(), b"safe");
        assert_eq!(left(&directory, Loss::Nothing).unwrap(), b"sanew");
    }

    #[test]
    fn a_name_survives_only_with_its_directory() {
        let mut records = made();
        records.remove(1);
        records.extend([write_at(0, b"safe"), Record::Synced { inode: 7 }]);
        assert_eq!(left(&after(&records), Loss::Everything), None);
        records.push(Record::DirectorySynced);
        assert_eq!(left(&after(&records), Loss::Everything).unwrap(), b"safe");
        records.push(Record::Renamed { from: "db".into(), to: "other".into() });
        assert_eq!(left(&after(&records), Loss::Everything).unwrap(), b"safe");
        assert_eq!(left(&after(&records), Loss::Nothing), None);
    }

    #[test]
    fn what_a_failed_sync_should_have_written_is_lost_for_good() {
        let mut records = made();
        records.extend([write_at(0, b"lost"), Record::SyncFailed { inode: 7 }, write_at(4, b"kept")]);
        records.push(Record::Synced { inode: 7 });
        assert_eq!(left(&after(&records), Loss::Nothing).unwrap(), b"\0\0\0\0kept");
    }

    #[test]
    fn torn_writes_are_whole_or_absent_in_each_sector_of_the_file() {
        let mut records = made();
        records.push(write_at(0, &[1; 4096]));
        records.push(Record::Synced { inode: 7 });
        records.push(write_at(500, &[2; 2000]));
        let directory = after(&records);
        let mut mixed = 0;
        for seed in 0..50 {
            let files = directory.lose_power(Loss::Some { sector: 512 }, &mut Rng::with_seed(seed));
            let content = &files["db"];
            assert!(
                content[..500].iter().chain(&content[2500..]).all(|byte| *byte == 1),
                "only what was written changes"
            );
            let sectors = [500..512, 512..1024, 1024..1536, 1536..2048, 2048..2500];
            let whole = sectors.map(|sector| {
                let first = content[sector.start];
                assert!(content[sector].iter().all(|byte| *byte == first), "a sector is whole");
                first
            });
            mixed += usize::from(whole.contains(&1) && whole.contains(&2));
        }
        assert!(mixed > 5, "some writes are torn: {mixed}");
    }
}
