//! The rest of a request whose answer came before its end.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{task::AbortHandle, time::timeout};

use crate::wire::body::BoxError;

/// How long an upload may stand still once it has been answered: as long as a body may be silent by default.
const STALL: Duration = Duration::from_mins(5);

/// What is not sent of a request, and the way that it goes out.
pub(super) trait Sending: Send + 'static {
    /// Sends what goes. Ready when all is out.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;

    /// Bytes that have gone out.
    fn written(&self) -> u64;

    /// All of it has gone out.
    fn finish(self);
}

/// An upload that goes on in a task of its own, so that neither a slow reader of the answer holds it up, nor it the answer.
/// Ends when dropped, unless detached.
pub(super) struct Upload {
    task: AbortHandle,
    detached: bool,
}

impl Upload {
    pub(super) fn start(rest: impl Sending) -> Self {
        // Ends with the request's body, with the connection, when it stands still, or when the answer is given up.
        let task = tokio::spawn(run(rest)).abort_handle();
        Self { task, detached: false }
    }

    /// Lets the upload go on after its answer has ended. Over HTTP/1.1 its connection is closed afterwards.
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

async fn run(mut rest: impl Sending) {
    loop {
        let before = rest.written();
        match timeout(STALL, poll_fn(|cx| rest.poll_send(cx))).await {
            Ok(Ok(())) => return rest.finish(),
            Ok(Err(error)) => return tracing::debug!(%error, "an upload ended after its answer had begun"),
            Err(_) if rest.written() == before => return,
            Err(_) => {}
        }
    }
}
