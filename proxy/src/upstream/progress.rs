//! What is known of an attempt before it has ended.

use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_policies::evidence::Sent;

/// Whether a request may have been sent: what is known of an attempt that is cut off by time.
#[derive(Debug, Default)]
pub struct Progress(AtomicBool);

impl Progress {
    /// [`Sent::No`] until the kernel has taken a byte of the request, or an HTTP/2 connection its head.
    pub fn sent(&self) -> Sent {
        if self.0.load(Ordering::Relaxed) { Sent::Maybe } else { Sent::No }
    }

    pub(super) fn set(&self, sent: bool) {
        self.0.store(sent, Ordering::Relaxed);
    }
}
