//! A connection that is made again whenever it ends.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{connect::Session, error::StoreError, options::Settings};

/// Waits between two tries: from the first, doubled up to the longest, and each drawn between nothing and that. Never so long that
/// others could call a replica dead which only waits.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long there has been no connection, and when the next try is made.
#[derive(Clone, Copy, Default)]
struct Absence {
    since: Option<Instant>,
    next_try: Option<Instant>,
}

/// A connection that is made again whenever it ends.
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Session>>>,
    absence: Arc<Mutex<Absence>>,
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
        let absence = Arc::new(Mutex::new(Absence::default()));
        let told = Arc::clone(&absence);
        let keeper = tokio::spawn(async move {
            loop {
                let session = tell.borrow().clone();
                if let Some(session) = session {
                    session.ended().await;
                    tell.send_replace(None);
                    tracing::warn!(connection = name, "the connection to the ledger's store has ended");
                }
                told.lock().since.get_or_insert_with(Instant::now);
                let session = again(name, &settings, &texts, &told).await;
                *told.lock() = Absence::default();
                tracing::info!(connection = name, "connected to the ledger's store");
                if tell.send(Some(Arc::new(session))).is_err() {
                    return;
                }
            }
        });
        Self { current, absence, keeper: keeper.abort_handle() }
    }

    /// The connection, if there is one.
    pub(super) fn session(&self) -> Result<Arc<Session>, StoreError> {
        let session = self.current.borrow().clone();
        session.filter(|session| !session.is_closed()).ok_or(StoreError::Unreachable)
    }

    /// Since when there is none.
    pub(super) fn down_since(&self) -> Option<Instant> {
        // One that has just ended may not have been noticed.
        (!self.is_up()).then(|| self.absence.lock().since.unwrap_or_else(Instant::now))
    }

    /// When it is tried next to make one, if there is none.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.absence.lock().next_try
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

async fn again(name: &'static str, settings: &Settings, texts: &Arc<Vec<String>>, absence: &Mutex<Absence>) -> Session {
    let mut longest = FIRST_WAIT;
    let most = LONGEST_WAIT.min(settings.ttl / 4);
    loop {
        match Session::open(settings, Arc::clone(texts)).await {
            Ok(session) => return session,
            Err(error) => tracing::warn!(connection = name, %error, "no connection to the ledger's store"),
        }
        let wait = longest.mul_f64(fastrand::f64());
        absence.lock().next_try = Some(Instant::now() + wait);
        sleep(wait).await;
        longest = (longest * 2).min(most);
    }
}
