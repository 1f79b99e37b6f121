//! The rest of a request whose answer came before its end.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{net::tcp::OwnedWriteHalf, sync::OwnedSemaphorePermit, task::AbortHandle, time::timeout};

use super::outgoing::Outgoing;

/// How long an upload may stand still once it has been answered: as long as a body may be silent by default.
const STALL: Duration = Duration::from_mins(5);

/// An upload that goes on in a task of its own, so that neither a slow reader of the answer holds it up, nor it the answer.
/// Ends when dropped, unless detached.
pub(super) struct Upload {
    task: AbortHandle,
    detached: bool,
}

impl Upload {
    /// `permit` is what makes the connection count as one in use.
    pub(super) fn start(outgoing: Outgoing, writer: OwnedWriteHalf, permit: Arc<OwnedSemaphorePermit>) -> Self {
        // Ends with the request's body, with the connection, when it stands still, or when the answer is given up.
        let task = tokio::spawn(async move {
            run(outgoing, writer).await;
            drop(permit);
        });
        let task = task.abort_handle();
        Self { task, detached: false }
    }

    /// Lets the upload go on after its answer has ended. Its connection is closed afterwards.
    pub(super) fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.detached {
            self.task.abort();
        }
    }
}

async fn run(mut outgoing: Outgoing, mut writer: OwnedWriteHalf) {
    loop {
        let before = outgoing.written();
        match timeout(STALL, poll_fn(|cx| outgoing.poll_send(&mut writer, cx))).await {
            // Dropped, it would end the connection's sending side, which some servers take for a client that has left.
            Ok(Ok(())) => return writer.forget(),
            Ok(Err(error)) => return tracing::debug!(%error, "an upload ended after its answer had begun"),
            Err(_) if outgoing.written() == before => return,
            Err(_) => {}
        }
    }
}
