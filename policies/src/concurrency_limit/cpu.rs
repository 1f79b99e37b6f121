//! How busy the CPU is: a number that one writes and every limit reads, and how samples of it are smoothed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What is left of an old load after [`SMOOTHED_OVER`]: a load that jumps from nothing to everything passes 80 % after 8 s,
/// so that neither a collection of garbage nor a deployment sheds anything.
const DECAY: f64 = 0.95;
/// The time to which [`DECAY`] belongs.
const SMOOTHED_OVER: Duration = Duration::from_millis(250);

/// The share of the CPU that is in use; clones are the same number.
///
/// Whoever embeds a limit by CPU writes it every now and then. Until it is known, nothing is shed.
#[derive(Clone, Debug)]
pub struct CpuLoad(Arc<AtomicU64>);

impl CpuLoad {
    /// A load that nobody knows yet.
    pub fn unknown() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }

    /// Sets the share, from 0 to 1; `None` if it is not known.
    pub fn set(&self, share: Option<f64>) {
        // One number on its own: no other memory has to be seen with it.
        self.0.store(share.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    /// The share, from 0 to 1, if it is known.
    pub fn share(&self) -> Option<f64> {
        let share = f64::from_bits(self.0.load(Ordering::Relaxed));
        (!share.is_nan()).then_some(share)
    }
}

impl Default for CpuLoad {
    fn default() -> Self {
        Self::unknown()
    }
}

/// An exponentially weighted moving average of the load.
///
/// A sample over `t` weighs `1 - 0.95^(t / 250ms)`, so that a late one counts for the time that it stands for. The first
/// one is taken as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmoothedLoad(Option<f64>);

impl SmoothedLoad {
    /// The average after a sample of `share` over the last `elapsed`.
    pub fn next(&mut self, share: f64, elapsed: Duration) -> f64 {
        let share = share.clamp(0.0, 1.0);
        let keep = DECAY.powf(elapsed.as_secs_f64() / SMOOTHED_OVER.as_secs_f64());
        let average = self.0.map_or(share, |before| before * keep + share * (1.0 - keep));
        self.0 = Some(average);
        average
    }
}
