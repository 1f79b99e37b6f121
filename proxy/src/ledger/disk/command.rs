//! What the writer is asked to do, and what it answers.

use mainstay_policies::{
    clock::WallClock,
    evidence::Evidence,
    operation::{
        KeptRequest, Operation, State, UnixMillis,
        audit::AuditEntry,
        ledger::{Begun, LedgerError},
    },
};
use tokio::sync::{mpsc, oneshot};

/// What the writer is asked to do.
pub(super) enum Command {
    Begin {
        draft: Operation,
        now: UnixMillis,
        reply: oneshot::Sender<Result<Handed, LedgerError>>,
    },
    Update {
        next: Operation,
        /// What the audit trail says of it.
        entry: Option<Box<AuditEntry>>,
        reply: oneshot::Sender<Result<Operation, LedgerError>>,
    },
    /// Write down what memory has acknowledged already.
    Store {
        seq: u64,
    },
    Append {
        entry: Box<AuditEntry>,
        reply: oneshot::Sender<Result<u64, LedgerError>>,
    },
    /// Time for fresh keys, after all that was ever reserved.
    Reserve {
        from: UnixMillis,
        span: u64,
        reply: oneshot::Sender<Result<UnixMillis, LedgerError>>,
    },
    /// Keep a value under a name, if what is kept there is what was seen.
    Note {
        name: &'static str,
        seen: Option<Vec<u8>>,
        value: Vec<u8>,
        /// 1 if it was kept.
        reply: oneshot::Sender<Result<u64, LedgerError>>,
    },
    /// A begun operation that its caller never took: nothing was sent for it.
    Release {
        operation: Operation,
    },
    /// Stands for a fault of the writer's own.
    #[cfg(test)]
    Panic,
    Expire {
        now: UnixMillis,
        limit: usize,
        reply: oneshot::Sender<Result<usize, LedgerError>>,
    },
}

impl Command {
    /// Nothing of it was done.
    pub(super) fn refuse(self, why: &str) {
        match self {
            Self::Begin { reply, .. } => drop(reply.send(Err(unavailable(why)))),
            Self::Update { reply, .. } => drop(reply.send(Err(unavailable(why)))),
            Self::Append { reply, .. } | Self::Reserve { reply, .. } | Self::Note { reply, .. } => {
                drop(reply.send(Err(unavailable(why))));
            }
            Self::Expire { reply, .. } => drop(reply.send(Err(unavailable(why)))),
            Self::Store { .. } | Self::Release { .. } => {}
            #[cfg(test)]
            Self::Panic => {}
        }
    }
}

/// An answer that is given when the batch is durable.
pub(super) enum Answer {
    Begin(oneshot::Sender<Result<Handed, LedgerError>>, Result<Begun, LedgerError>),
    Update(oneshot::Sender<Result<Operation, LedgerError>>, Result<Operation, LedgerError>),
    /// The number of an entry in the audit trail, a time, or how many notes were kept.
    Append(oneshot::Sender<Result<u64, LedgerError>>, u64),
    Expire(oneshot::Sender<Result<usize, LedgerError>>, usize),
}

impl Answer {
    /// Nobody may be there any more; what was written stays.
    pub(super) fn give(self, hand: impl FnOnce(Begun) -> Handed) {
        match self {
            Self::Begin(reply, begun) => drop(reply.send(begun.map(hand))),
            Self::Update(reply, updated) => drop(reply.send(updated)),
            Self::Append(reply, number) => drop(reply.send(Ok(number))),
            Self::Expire(reply, done) => drop(reply.send(Ok(done))),
        }
    }

    /// The batch was not committed, or nobody knows whether it was.
    pub(super) fn withdraw(self, why: &str) {
        match self {
            Self::Begin(reply, _) => drop(reply.send(Err(unavailable(why)))),
            Self::Update(reply, _) => drop(reply.send(Err(unavailable(why)))),
            Self::Append(reply, _) => drop(reply.send(Err(unavailable(why)))),
            Self::Expire(reply, _) => drop(reply.send(Err(unavailable(why)))),
        }
    }
}

pub(super) fn unavailable(why: &str) -> LedgerError {
    LedgerError::Unavailable(why.to_owned())
}

/// What `begin` found, on its way to the caller. If the caller leaves before it has a new operation in its hands, nothing
/// will be sent for it, and its key is freed; if that is lost, too, the operation becomes unknown when it is due.
pub(super) struct Handed {
    begun: Option<Begun>,
    queue: mpsc::WeakSender<Command>,
    clock: WallClock,
}

impl Handed {
    pub(super) const fn new(begun: Begun, queue: mpsc::WeakSender<Command>, clock: WallClock) -> Self {
        Self { begun: Some(begun), queue, clock }
    }

    pub(super) fn take(mut self) -> Option<Begun> {
        self.begun.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(Begun::New(operation)) = self.begun.take()
            && let Some(queue) = self.queue.upgrade()
        {
            let operation = Operation {
                state: State::NotExecuted,
                reason: "abandoned".into(),
                last_evidence: Some(Evidence::NotExecuted),
                settled_at: Some(self.clock.now()),
                next_check_at: None,
                request: KeptRequest::None,
                ..operation
            };
            let _ = queue.try_send(Command::Release { operation });
        }
    }
}
