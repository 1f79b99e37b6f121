//! A store that has forgotten what it acknowledged: noticed at the next connection, and told again what is still known.
//!
//! A copy that was restored, a standby that was behind and is the primary now, a disk that lied. Nobody can tell what only the
//! store knew. But every replica knows what it owns and what it has settled lately: that is written again, and nothing is begun
//! until all others have had the time of a lease to do the same, for a key that was begun at one of them would look free. A
//! replica that has lost nothing itself cannot tell an older copy from a store that was started again, so it waits after either.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use mainstay_policies::operation::Operation;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    columns::Restores,
    connect::{Commit, Session},
    error::StoreError,
    inner::Inner,
    open,
    sql::Statement,
};

/// Operations that are written again at once.
const AT_ONCE: usize = 256;

/// Whether the store remembers.
#[derive(Default)]
pub(super) struct Memory {
    /// The connection that was looked at last, one look at a time.
    looked_at: tokio::sync::Mutex<u64>,
    /// The same of those that are only read over: what they are set to says nothing of the ones that are written over.
    read_at: tokio::sync::Mutex<u64>,
    /// Which server it is, since when it runs, and which of its histories.
    identity: Mutex<Option<String>>,
    /// Until then nothing is begun.
    lossy_until: Mutex<Option<Instant>>,
    /// What is known here has not been written again yet.
    pub(super) is_owed: AtomicBool,
    pub(super) was_restored: Notify,
    /// What a durable commit outlives.
    pub(super) level: Mutex<Option<&'static str>>,
    looks: AtomicU64,
}

impl Inner {
    /// Whether nothing is begun because the store has forgotten.
    pub(super) fn is_lossy(&self) -> bool {
        self.lossy_until().is_some()
    }

    /// How long nothing is begun for that reason.
    pub(super) fn lossy_until(&self) -> Option<Instant> {
        self.memory.lossy_until.lock().filter(|until| Instant::now() < *until)
    }

    /// Looks whether the store knows what it has acknowledged, once for each connection; to be asked before one is used to write.
    ///
    /// # Errors
    /// It could not be looked, or what it acknowledges from now on may be lost.
    pub(super) async fn remembers(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        self.look_once(&self.memory.looked_at, session).await
    }

    async fn look_once(&self, looked_at: &tokio::sync::Mutex<u64>, session: &Session) -> Result<(), StoreError> {
        let mut looked_at = looked_at.lock().await;
        if *looked_at == session.serial() {
            return Ok(());
        }
        self.look_back(session).await?;
        *looked_at = session.serial();
        Ok(())
    }

    /// Whether the store's word counts that something is not there, which it has said over `session`: what it has forgotten is
    /// missing until everybody has written again what they know.
    ///
    /// # Errors
    /// It does not, or it could not be looked.
    pub(super) async fn says_it_is_absent(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        self.look_once(&self.memory.read_at, session).await?;
        if self.is_lossy() || self.memory.is_owed.load(Relaxed) { Err(StoreError::Forgetful) } else { Ok(()) }
    }

    async fn look_back(&self, session: &Session) -> Result<(), StoreError> {
        let level = open::durability(session, &self.options.settings).await;
        let level = level.map_err(|error| StoreError::NotDurable(error.to_string()))?;
        *self.memory.level.lock() = Some(level);
        let identity = open::identity(session).await;
        let is_another = {
            let mut known = self.memory.identity.lock();
            let is_another = known.is_some() && identity.is_some() && *known != identity;
            // One that does not say this time is compared with when it says again.
            *known = identity.or(known.take());
            is_another
        };
        let seqs = self.acknowledged.lock().seqs();
        let mut there = HashMap::new();
        if !seqs.is_empty() {
            for row in session.query(Statement::Revisions, vec![&seqs]).await? {
                there.insert(row.get::<_, i64>(0).cast_unsigned(), row.get::<_, i64>(1).cast_unsigned());
            }
        }
        let lost = self.acknowledged.lock().lost(&there, self.steady_now()).len() as u64;
        self.memory.looks.fetch_add(1, Relaxed);
        if lost == 0 && !is_another {
            return Ok(());
        }
        if lost > 0 {
            tracing::error!(
                operations = lost,
                "the ledger's store has forgotten what it had acknowledged: what is known here is written again, and nothing \
                 is begun for the time of a lease"
            );
            self.meters.add("lost", "", lost);
        } else {
            tracing::warn!(
                "the ledger's store was started again, is another server, or has another history: nothing is begun for the \
                 time of a lease"
            );
        }
        *self.memory.lossy_until.lock() = Some(Instant::now() + self.options.settings.ttl);
        self.memory.is_owed.store(true, Relaxed);
        Ok(())
    }

    /// Waits until what the store has forgotten has been written again.
    pub(super) async fn restored(&self) {
        loop {
            let restored = self.memory.was_restored.notified();
            if !self.memory.is_owed.load(Relaxed) {
                return;
            }
            restored.await;
        }
    }

    /// Writes again what this replica owns or has settled lately, where the store does not know it.
    pub(super) async fn restore(&self, session: &Session) -> Result<(), StoreError> {
        let known: Vec<Operation> = self.owned.lock().known().cloned().collect();
        let mut written = 0;
        for some in known.chunks(AT_ONCE) {
            let restores = Restores::of(some, self);
            // Together: one that is read without its response would be remembered as one that never had any.
            let parts =
                vec![(Statement::Restore, restores.params()), (Statement::RestoreResponses, restores.responses())];
            let answers = session.transaction(parts, Commit::Durable).await?;
            let rows = &answers[0];
            written += rows.len();
            for row in rows {
                let (seq, wanted, held): (i64, bool, bool) = (row.get(0), row.get(1), row.get(2));
                if wanted && !held {
                    self.meters.count("keys_twice", "");
                    tracing::error!(
                        seq,
                        "while the store had forgotten it, an operation's key was begun again: the service may have carried out \
                         both"
                    );
                }
            }
        }
        self.acknowledged.lock().clear();
        self.memory.is_owed.store(false, Relaxed);
        self.memory.was_restored.notify_waiters();
        tracing::warn!(known = known.len(), written, "what the ledger's store had forgotten was written again");
        Ok(())
    }
}
