//! What the kernel writes about CPU time, and what two readings of it say; pure.

use std::time::Duration;

/// CPU time that was used up to now, and of what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// Of a control group, which may use so many CPUs.
    Group { used: Duration, cpus: f64 },
    /// Of the machine, in the kernel's ticks.
    Machine { busy: u64, total: u64, cpus: u32 },
}

impl Reading {
    /// The share in use between `earlier` and this one, `elapsed` later; `None` if they tell nothing.
    pub(super) fn share_since(&self, earlier: &Self, elapsed: Duration) -> Option<f64> {
        let (used, whole) = match (self, earlier) {
            (Self::Group { used, cpus }, Self::Group { used: before, .. }) => {
                (used.saturating_sub(*before).as_secs_f64(), elapsed.as_secs_f64() * cpus)
            }
            (Self::Machine { busy, total, .. }, Self::Machine { busy: busy_before, total: total_before, .. }) => {
                (busy.saturating_sub(*busy_before) as f64, total.saturating_sub(*total_before) as f64)
            }
            _ => return None,
        };
        // A group that catches up on time that it saved may use more than its whole for a moment.
        (whole > 0.0).then(|| (used / whole).min(1.0))
    }

    /// The whole, in CPUs.
    pub(super) fn cpus(&self) -> f64 {
        match self {
            Self::Group { cpus, .. } => *cpus,
            Self::Machine { cpus, .. } => f64::from(*cpus),
        }
    }
}

/// `cpu.stat` of cgroup v2: the time that was used.
pub(super) fn v2_used(stat: &str) -> Option<Duration> {
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(micros.trim().parse().ok()?))
}

/// `cpu.max` of cgroup v2, `max 100000` or `150000 100000`: the quota in CPUs, if there is one.
pub(super) fn v2_quota(max: &str) -> Option<f64> {
    let (quota, period) = max.trim().split_once(' ')?;
    quota_in_cpus(quota.parse().ok()?, period.parse().ok()?)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` of cgroup v1: the quota in CPUs, if there is one; -1 is none.
pub(super) fn v1_quota(quota: &str, period: &str) -> Option<f64> {
    quota_in_cpus(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn quota_in_cpus(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// How many CPUs a list as `0-3,8` names.
pub(super) fn listed(cpus: &str) -> Option<u32> {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    cpus.trim().split(',').map(count).try_fold(0_u32, |sum, part| sum.checked_add(part?)).filter(|sum| *sum > 0)
}

/// `/proc/stat`. Time that a hypervisor gave to others counts as busy: it is not there for the service either.
pub(super) fn machine(stat: &str) -> Option<Reading> {
    let mut lines = stat.lines().take_while(|line| line.starts_with("cpu"));
    let all = lines.next()?.strip_prefix("cpu ")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what comes after is part of user and nice.
    let ticks: Vec<u64> = all.split_whitespace().take(8).map(|it| it.parse().ok()).collect::<Option<_>>()?;
    let total: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
    Some(Reading::Machine { busy: total - idle, total, cpus: u32::try_from(lines.count()).ok()?.max(1) })
}
