//! The process itself, under the names that every Prometheus client library uses.

use std::{fmt, fs};

use mainstay_policies::clock::WallClock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::time::Instant;

/// Clock ticks per second in `/proc`: 100 in the kernel's interface to user space on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    started: Instant,
    started_unix_seconds: f64,
}

impl Process {
    pub(super) fn started(clock: &WallClock) -> Self {
        Self { started: Instant::now(), started_unix_seconds: clock.now() as f64 / 1e3 }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: Option<f64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("mainstay_uptime_seconds", "Time since start", Some(self.started.elapsed().as_secs_f64()))?;
        gauge("process_start_time_seconds", "Start time since the Unix epoch", Some(self.started_unix_seconds))?;
        gauge("process_resident_memory_bytes", "Resident memory", resident_bytes())?;
        gauge("process_open_fds", "Open file descriptors", open_fds())?;
        if let Some(seconds) = cpu_seconds() {
            let (name, help) = ("process_cpu_seconds", "User and system CPU time spent");
            ConstCounter::new(seconds).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

/// `VmRSS:     1234 kB` in `/proc/self/status`.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<f64>().ok()? * 1024.0)
}

fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// Fields 14 and 15 of `/proc/self/stat`; the second field is the name, in parentheses, and may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}
