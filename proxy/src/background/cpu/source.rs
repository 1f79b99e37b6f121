//! Where CPU time is read.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::account::{Reading, listed, machine, v1_quota, v2_quota, v2_used};

/// Where the control group of a container is seen from inside it, and the topmost one outside of any.
const ROOT: &str = "/sys/fs/cgroup";
const MACHINE: &str = "/proc/stat";

/// Whose CPU time is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A control group: everything is in its directory.
    V2(PathBuf),
    /// A control group of old, whose controllers may have directories of their own.
    V1 { account: PathBuf, quota: PathBuf, set: PathBuf },
    /// No control group: the whole machine.
    Machine,
}

impl Source {
    /// The account of the control group at `root`; without a `root`, the one that this process sees, or the machine's.
    pub(super) fn find(root: Option<PathBuf>) -> Result<Self, NoCpuAccount> {
        if let Some(found) = Self::at(root.as_deref().unwrap_or(Path::new(ROOT))) {
            return Ok(found);
        }
        match root {
            Some(root) => Err(NoCpuAccount { root }),
            None if Self::Machine.read().is_ok() => Ok(Self::Machine),
            None => Err(NoCpuAccount { root: ROOT.into() }),
        }
    }

    fn at(root: &Path) -> Option<Self> {
        let controller = |names: &[&str]| {
            names.iter().map(|name| root.join(name)).find(|path| path.is_dir()).unwrap_or_else(|| root.to_owned())
        };
        let v1 = Self::V1 {
            account: controller(&["cpuacct", "cpu,cpuacct"]),
            quota: controller(&["cpu", "cpu,cpuacct"]),
            set: controller(&["cpuset"]),
        };
        [Self::V2(root.to_owned()), v1].into_iter().find(|source| source.read().is_ok())
    }

    /// The time used up to now, and the whole of which it was used; the latter may change while a pod runs.
    pub(super) fn read(&self) -> io::Result<Reading> {
        match self {
            Self::V2(root) => {
                let used = v2_used(&text(root, "cpu.stat")?).ok_or_else(|| unreadable(root))?;
                let quota = optional(root, "cpu.max").and_then(|max| v2_quota(&max));
                Ok(Reading::Group { used, cpus: whole(quota, optional(root, "cpuset.cpus.effective").as_deref())? })
            }
            Self::V1 { account, quota, set } => {
                let used = text(account, "cpuacct.usage")?.trim().parse().map_err(|_| unreadable(account))?;
                let quota = optional(quota, "cpu.cfs_quota_us").zip(optional(quota, "cpu.cfs_period_us"));
                let quota = quota.and_then(|(quota, period)| v1_quota(&quota, &period));
                let set = optional(set, "cpuset.effective_cpus").or_else(|| optional(set, "cpuset.cpus"));
                Ok(Reading::Group { used: std::time::Duration::from_nanos(used), cpus: whole(quota, set.as_deref())? })
            }
            Self::Machine => {
                let stat = fs::read_to_string(MACHINE)?;
                machine(&stat).ok_or_else(|| unreadable(Path::new(MACHINE)))
            }
        }
    }
}

/// The CPUs that a group may use: its quota, but never more than there are for it.
fn whole(quota: Option<f64>, set: Option<&str>) -> io::Result<f64> {
    let there = match set.and_then(listed) {
        Some(cpus) => f64::from(cpus),
        None => Source::Machine.read()?.cpus(),
    };
    Ok(quota.map_or(there, |quota| quota.min(there)))
}

fn text(directory: &Path, file: &str) -> io::Result<String> {
    fs::read_to_string(directory.join(file))
}

/// A file that is there only if the controller is.
fn optional(directory: &Path, file: &str) -> Option<String> {
    text(directory, file).ok()
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no CPU time in {}", path.display()))
}

impl fmt::Display for Source {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2(root) => write!(to, "cgroup v2 at {}", root.display()),
            Self::V1 { account, .. } => write!(to, "cgroup v1 at {}", account.display()),
            Self::Machine => write!(to, "the machine"),
        }
    }
}

/// The operator's: nothing says how busy the CPU is.
#[derive(Debug, thiserror::Error)]
#[error("`adaptive: bbr` needs to know how busy the CPU is, and {} has no CPU account of a control group", root.display())]
pub struct NoCpuAccount {
    /// Where one was looked for.
    pub root: PathBuf,
}
