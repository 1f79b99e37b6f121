//! What the writer is asked to do, and what it answers.

use std::sync::Arc;

use mainstay_policies::operation::{
    KeptRequest, Operation, Retained, UnixMillis,
    audit::AuditEntry,
    ledger::{Begun, LedgerError},
};
use tokio::sync::{mpsc, oneshot};

use super::inner::Inner;
use crate::ledger::shared::again::abandoned;

/// What the writer is asked to do.
pub(super) enum Command {
    Begin(BeginCommand),
    Update(UpdateCommand),
}

/// A new operation: it has its number, its owner, epoch and revision.
pub(super) struct BeginCommand {
    pub(super) draft: Operation,
    pub(super) now: UnixMillis,
    pub(super) reply: oneshot::Sender<Result<Handed, LedgerError>>,
}

/// A change of an operation.
pub(super) struct UpdateCommand {
    pub(super) next: Operation,
    /// What the audit trail says of it.
    pub(super) entry: Option<Box<AuditEntry>>,
    /// Nobody waits, if it is `None` or the other side has gone: it is written all the same.
    pub(super) reply: Option<oneshot::Sender<Result<Operation, LedgerError>>>,
    /// It changes when the operation is looked at, and nothing else of it: a crash of the store may lose it.
    pub(super) is_of_time: bool,
    /// What it was, where nobody but the writer can tell that it was changed.
    pub(super) before: Option<Box<Operation>>,
}

impl Command {
    /// Roughly how much is to be sent for it.
    pub(super) fn bytes(&self) -> usize {
        const RECORD: usize = 512;
        match self {
            Self::Begin(begin) => match &begin.draft.request {
                KeptRequest::Given(request) => RECORD + request.body.len() + 64 * request.headers.len(),
                KeptRequest::None | KeptRequest::Kept => RECORD,
            },
            Self::Update(update) => match &update.next.retained {
                Retained::Stored(response) => RECORD + response.body.len() + 64 * response.headers.len(),
                Retained::None | Retained::StatusOnly => RECORD,
            },
        }
    }
}

impl UpdateCommand {
    pub(super) fn answer(self, with: Result<Operation, LedgerError>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(with);
        }
    }
}

/// What `begin` found, on its way to the caller. If the caller leaves before it has a new operation in its hands, nothing is
/// sent for it, and its key is freed.
pub(super) struct Handed {
    begun: Option<Begun>,
    inner: Arc<Inner>,
    queue: mpsc::WeakSender<Command>,
}

impl Handed {
    pub(super) const fn new(begun: Begun, inner: Arc<Inner>, queue: mpsc::WeakSender<Command>) -> Self {
        Self { begun: Some(begun), inner, queue }
    }

    pub(super) fn take(mut self) -> Option<Begun> {
        self.begun.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let Some(Begun::New(operation)) = self.begun.take() else { return };
        let id = operation.id;
        let command = abandonment(operation, self.inner.clock.now());
        let is_queued = self.queue.upgrade().is_some_and(|queue| self.inner.enqueue(&queue, command));
        if !is_queued {
            self.inner.refused.lock().add(id);
        }
    }
}

/// An operation that was begun and that nobody took: nothing was sent of it.
pub(super) fn abandonment(operation: Operation, now: UnixMillis) -> Command {
    let next = abandoned(operation.clone(), now);
    Command::Update(UpdateCommand {
        next,
        entry: None,
        reply: None,
        is_of_time: false,
        before: Some(Box::new(operation)),
    })
}
