//! Additive increase, multiplicative decrease; pure.

use std::time::Duration;

use super::{Adaptive, Aimd, ConcurrencyLimit};

/// What a finished request says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// It answered after this long.
    Latency(Duration),
    /// It refused, timed out, or the transport failed.
    Drop,
}

/// Where the limit starts.
pub(super) fn initial(params: &ConcurrencyLimit) -> u32 {
    let start = params.max_concurrent.get();
    match &params.adaptive {
        Some(Adaptive::Aimd(aimd)) => aimd.bound(start),
        Some(Adaptive::Bbr(_)) | None => start,
    }
}

impl Aimd {
    /// The limit after a sample taken while `in_flight` requests, itself included, were in flight.
    pub(super) fn next(&self, limit: u32, in_flight: u32, sample: Sample) -> u32 {
        let overload = match sample {
            Sample::Drop => true,
            Sample::Latency(latency) => latency > self.threshold,
        };
        let next = if overload {
            // In whole numbers: 0.9 has no exact binary form.
            u32::try_from(u64::from(limit) * 9 / 10).unwrap_or(limit)
        } else if u64::from(in_flight) * 2 >= u64::from(limit) {
            limit.saturating_add(1)
        } else {
            limit
        };
        self.bound(next)
    }

    /// A minimum above the maximum wins.
    fn bound(&self, limit: u32) -> u32 {
        limit.min(self.max.get()).max(self.min.get())
    }
}
