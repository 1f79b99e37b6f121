//! A connection that is made again whenever it ends.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{connect::Session, error::StoreError, options::Settings};

/// Waits between two tries: from the first, doubled up to the longest, and each drawn between nothing and that. Never so long that
/// others could call a replica dead which only waits.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A connection that is made again whenever it ends.
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Session>>>,
    keeper: AbortHandle,
}

impl Link {
    /// Begins with `first`, if there is one, and goes on with others.
    pub(super) fn keep(
        name: &'static str,
        first: Option<Session>,
        settings: Settings,
        texts: Arc<Vec<String>>,
    ) -> Self {
        let (tell, current) = watch::channel(first.map(Arc::new));
        let keeper = tokio::spawn(async move {
            loop {
                let session = tell.borrow().clone();
                if let Some(session) = session {
                    session.ended().await;
                    tell.send_replace(None);
                    tracing::warn!(connection = name, "the connection to the ledger's store has ended");
                }
                let session = again(name, &settings, &texts).await;
                tracing::info!(connection = name, "connected to the ledger's store");
                if tell.send(Some(Arc::new(session))).is_err() {
                    return;
                }
            }
        });
        Self { current, keeper: keeper.abort_handle() }
    }

    /// The connection, if there is one.
    pub(super) fn session(&self) -> Result<Arc<Session>, StoreError> {
        let session = self.current.borrow().clone();
        session.filter(|session| !session.is_closed()).ok_or(StoreError::Unreachable)
    }

    pub(super) fn is_up(&self) -> bool {
        self.session().is_ok()
    }

    /// Waits until there is one.
    pub(super) async fn up(&self) -> Arc<Session> {
        let mut current = self.current.clone();
        loop {
            if let Ok(session) = self.session() {
                return session;
            }
            if current.changed().await.is_err() {
                // The end: nobody makes another one.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn again(name: &'static str, settings: &Settings, texts: &Arc<Vec<String>>) -> Session {
    let mut longest = FIRST_WAIT;
    let most = LONGEST_WAIT.min(settings.ttl / 4);
    loop {
        match Session::open(settings, Arc::clone(texts)).await {
            Ok(session) => return session,
            Err(error) => tracing::warn!(connection = name, %error, "no connection to the ledger's store"),
        }
        sleep(longest.mul_f64(fastrand::f64())).await;
        longest = (longest * 2).min(most);
    }
}
