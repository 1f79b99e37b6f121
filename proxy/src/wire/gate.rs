//! A body that waits until the other side wants it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// Opens when the upstream says `100 Continue`.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<GateState>);

#[derive(Default)]
struct GateState {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    /// The upstream has said `100 Continue`.
    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Acquire)
    }

    pub(crate) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.waker.register(cx.waker());
        if self.0.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}
