//! What the machine, or the container, gives this process: the defaults that depend on it are read here.
//!
//! A control group's bounds come first, since they are what the kernel holds the process to; the variables are what a pod's
//! downward API says (`resourceFieldRef`), and count where the group says nothing.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

/// Where control groups are seen.
const ROOT: &str = "/sys/fs/cgroup";
/// The CPU that was asked for, in thousandths.
const CPU_REQUEST: &str = "MAINSTAY_CPU_REQUEST";
/// Bytes of memory that the container may have.
const MEMORY_LIMIT: &str = "MAINSTAY_MEMORY_LIMIT";

/// Without a bound a worker for each CPU of a large node would be waste: each serves some 30 000 requests a second.
const UNBOUND_WORKERS: usize = 4;
/// So many are worth it whatever was asked for: what is asked for is a floor.
const FEWEST_WORKERS: usize = 2;
/// What a request leaves to be used beyond it.
const CPUS_PER_REQUESTED: usize = 4;

const MIB: u64 = 1024 * 1024;
/// Less would hold no more than a dozen writes.
const LEAST_BUFFERED: u64 = 16 * MIB;
/// Where nothing bounds memory.
const UNBOUND_BUFFERED: u64 = 256 * MIB;
/// Twice the idle connections that are promised to be held.
const MOST_CONNECTIONS: u64 = 20_000;
/// A client connection without a request; 6.6 KB were measured.
pub(crate) const CONNECTION_BYTES: u64 = 8 * 1024;

/// `limits.workers: auto`.
pub(crate) fn workers() -> NonZeroUsize {
    let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = workers_of(cpus, cpu_quota(), number(CPU_REQUEST));
    NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN)
}

/// The default of `limits.buffered_bytes`.
pub(crate) fn buffered_bytes() -> u64 {
    memory_limit().map_or(UNBOUND_BUFFERED, |limit| (limit / 4).max(LEAST_BUFFERED))
}

/// The default of `limits.connections`.
pub(crate) fn connections() -> usize {
    let most = memory_limit().map_or(MOST_CONNECTIONS, |limit| (limit / 2 / CONNECTION_BYTES).min(MOST_CONNECTIONS));
    usize::try_from(most.max(1)).unwrap_or(usize::MAX)
}

/// Bytes of memory that this process may have, if anything says so.
pub(crate) fn memory_limit() -> Option<u64> {
    let of_group =
        |group: &Path| read(&group.join("memory.max")).or_else(|| read(&group.join("memory.limit_in_bytes")));
    let smallest = groups("memory").iter().filter_map(|group| of_group(group)?.parse::<u64>().ok()).min();
    // A group of the first version says a number beyond all memory where it bounds nothing.
    smallest.filter(|limit| *limit < 1 << 60).or_else(|| number(MEMORY_LIMIT)).filter(|limit| *limit > 0)
}

/// The CPUs that a quota comes to; `None` without one.
fn cpu_quota() -> Option<f64> {
    let of_group = |group: &PathBuf| {
        if let Some(max) = read(&group.join("cpu.max")) {
            let (quota, period) = max.split_once(' ')?;
            return ratio(quota, period);
        }
        ratio(&read(&group.join("cpu.cfs_quota_us"))?, &read(&group.join("cpu.cfs_period_us"))?)
    };
    groups("cpu").iter().filter_map(of_group).min_by(f64::total_cmp)
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.trim().parse::<f64>().ok()?, period.trim().parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn workers_of(cpus: usize, quota: Option<f64>, request_milli: Option<u64>) -> usize {
    let workers = match (quota, request_milli) {
        (Some(quota), _) => quota.ceil() as usize,
        (None, Some(milli)) => {
            let milli = usize::try_from(milli).unwrap_or(usize::MAX);
            milli.saturating_mul(CPUS_PER_REQUESTED).div_ceil(1000).max(FEWEST_WORKERS)
        }
        (None, None) => UNBOUND_WORKERS,
    };
    workers.clamp(1, cpus.max(1))
}

/// The control groups that this process is in, from its own to the topmost: the smallest bound of them holds.
fn groups(controller: &str) -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => PathBuf::from(ROOT),
            named if named.split(',').any(|name| name == controller) => Path::new(ROOT).join(controller),
            _ => continue,
        };
        // In a container the path may be the host's, and only its end is there.
        let below = Path::new(path.trim_start_matches('/'));
        found.extend(below.ancestors().map(|part| root.join(part)));
    }
    found.push(PathBuf::from(ROOT));
    found
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_follow_the_quota_then_the_request_and_never_the_node() {
        for (cpus, quota, request, expected) in [
            (192, None, None, 4),
            (2, None, None, 2),
            (192, Some(1.5), None, 2),
            (192, Some(0.1), Some(4000), 1),
            (4, Some(8.0), None, 4),
            (192, None, Some(50), 2),
            (192, None, Some(1001), 5),
            (1, None, Some(1001), 1),
        ] {
            assert_eq!(workers_of(cpus, quota, request), expected, "{cpus} {quota:?} {request:?}");
        }
    }

    #[test]
    fn a_quota_that_bounds_nothing_is_none() {
        assert_eq!((ratio("max", "100000"), ratio("-1", "100000"), ratio("150000", "100000")), (None, None, Some(1.5)));
    }
}
