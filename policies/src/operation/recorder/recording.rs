//! A change on its way to the record, which arrives whether or not anybody still waits for it.
//!
//! A client may leave while its write is being settled, and a ledger that is kept elsewhere may be away for longer than a client
//! is to wait. What was heard is evidence all the same: it is written, and the witness learns of it once.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use tokio::runtime::Handle;

use super::{Applied, Door};
use crate::operation::ledger::LedgerError;

type Change = Pin<Box<dyn Future<Output = Result<Applied, LedgerError>> + Send>>;

/// A change on its way to the record. Dropped before its end, it goes on in a task of its own: it ends when the ledger has taken
/// it, or with the runtime.
pub(super) struct Recording {
    change: Option<Change>,
    door: Arc<Door>,
}

impl Recording {
    pub(super) fn new(
        change: impl Future<Output = Result<Applied, LedgerError>> + Send + 'static,
        door: Arc<Door>,
    ) -> Self {
        Self { change: Some(Box::pin(change)), door }
    }
}

impl Future for Recording {
    type Output = Result<Applied, LedgerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let change = self.change.as_mut().expect("it is polled until it is ready, and not again");
        let polled = change.as_mut().poll(context);
        if polled.is_ready() {
            self.change = None;
        }
        polled
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(change) = self.change.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let counted = Unrecorded::new(Arc::clone(&self.door));
        runtime.spawn(async move {
            // Whoever wanted to know has gone; whoever asks finds it on record.
            let _ = change.await;
            drop(counted);
        });
    }
}

/// One change that is not on record yet.
struct Unrecorded(Arc<Door>);

impl Unrecorded {
    fn new(door: Arc<Door>) -> Self {
        door.unrecorded.fetch_add(1, Relaxed);
        Self(door)
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        self.0.unrecorded.fetch_sub(1, Relaxed);
    }
}
