//! One connection: how it is made, what is said over it, and when it is given up.
//!
//! A connection whose answer did not come in time is closed and never used again: what it may still bring is about something
//! that has been decided otherwise.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::{join, join_all};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::AbortHandle,
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Row,
    config::{SslMode, TargetSessionAttrs},
    types::ToSql,
};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::{
    error::{OpenError, StoreError, chain},
    options::Settings,
    sql::Statement,
};
use crate::{config::model::StoreTls, wire::tls::settled};

/// What every connection is to have set, and each transaction where a pooler lies in between. Plans: a batch that was planned
/// on an empty table would hash the whole table from then on; with that out of the way one plan serves all batches, where the
/// server would plan small ones anew each time, which costs more than what they do. Locks are waited for shorter than answers,
/// so that one unfinished transaction of somebody's is told apart from a store that does not answer.
const SETTINGS: [(&str, &str); 10] = [
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "on"),
    ("statement_timeout", "5000"),
    ("lock_timeout", "300"),
    ("idle_in_transaction_session_timeout", "5000"),
];

/// What a server of version 17 wants to be asked for.
const ALPN: &[u8] = b"postgresql";

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// That it is on record, however the store is set to keep it.
    Durable,
    /// Nothing: a crash of the store may lose it.
    Unawaited,
}

pub(super) type Params<'a> = Vec<&'a (dyn ToSql + Sync)>;

/// A connection, as long as it is of use.
pub(super) struct Session {
    client: Client,
    texts: Arc<Vec<String>>,
    /// Statements that are prepared; not through a pooler, which gives each transaction another connection.
    prepared: Mutex<Vec<Option<tokio_postgres::Statement>>>,
    is_pooled: bool,
    answer: Duration,
    /// Warnings that came: a commit with one may not be what it says.
    warnings: Arc<AtomicU64>,
    is_closed: AtomicBool,
    closed: Arc<Notify>,
    driver: AbortHandle,
    /// Tells it from every other one of this process.
    serial: u64,
}

/// Connections that were made so far.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Session {
    /// Connects, and sees whether what was set is in force.
    pub(super) async fn open(settings: &Settings, texts: Arc<Vec<String>>) -> Result<Self, OpenError> {
        let config = config(settings)?;
        let tls = tls(&settings.tls).await?;
        let connect = async |config: &Config| Self::connect(config, tls.clone(), settings, &texts).await;
        let unreachable = |error: StoreError| OpenError::Unreachable(error.to_string());
        let mut with_options = config.clone();
        let set: Vec<_> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        with_options.options(set.join(" "));
        let (session, is_set) = match connect(&with_options).await {
            Ok(session) => {
                let is_set = session.has_settings().await.map_err(unreachable)?;
                (session, is_set)
            }
            // A pooler may not know startup options.
            Err(StoreError::Refused { message, .. }) if message.contains("startup parameter") => {
                (connect(&config).await.map_err(unreachable)?, false)
            }
            Err(error) => return Err(unreachable(error)),
        };
        Ok(Self::with_mode(session, !is_set))
    }

    fn with_mode(mut session: Self, is_pooled: bool) -> Self {
        session.is_pooled = is_pooled;
        session
    }

    async fn connect(
        config: &Config,
        tls: Option<MakeRustlsConnect>,
        settings: &Settings,
        texts: &Arc<Vec<String>>,
    ) -> Result<Self, StoreError> {
        // Each host has its own time; together no more than a few.
        let within = settings.timeouts.connect * 4;
        let connecting = async {
            Ok(match tls {
                Some(tls) => driven(config.connect(tls).await?),
                None => driven(config.connect(NoTls).await?),
            })
        };
        let connected = timeout(within, connecting).await.map_err(|_| StoreError::NoAnswer(within))?;
        let Driven { client, warnings, closed, driver } =
            connected.map_err(|error: tokio_postgres::Error| StoreError::of(&error))?;
        Ok(Self {
            client,
            texts: Arc::clone(texts),
            prepared: Mutex::new(vec![None; Statement::COUNT]),
            is_pooled: true,
            answer: settings.timeouts.answer,
            warnings,
            is_closed: AtomicBool::new(false),
            closed,
            driver,
            serial: SERIAL.fetch_add(1, Relaxed) + 1,
        })
    }

    /// Whether what was set at the start is in force: a pooler may have dropped it in silence.
    async fn has_settings(&self) -> Result<bool, StoreError> {
        let shown: Vec<_> = SETTINGS.iter().map(|(name, _)| format!("current_setting('{name}')")).collect();
        let rows = self.ask(&format!("SELECT {}", shown.join(", "))).await?;
        let row = rows.first().ok_or_else(|| StoreError::Lost("an answer without a row".into()))?;
        Ok(SETTINGS.iter().enumerate().all(|(at, (_, wanted))| {
            let found: String = row.get(at);
            // Times are shown with their unit.
            let millis = found.strip_suffix("ms").map(str::to_owned);
            let whole = found.strip_suffix('s').map(|seconds| format!("{seconds}000"));
            found == *wanted || millis.as_deref() == Some(wanted) || whole.as_deref() == Some(wanted)
        }))
    }

    /// A question without parameters, in text of its own.
    pub(super) async fn ask(&self, text: &str) -> Result<Vec<Row>, StoreError> {
        self.bounded(self.client.query_typed(text, &[])).await
    }

    /// A question in text of its own.
    pub(super) async fn ask_with(
        &self,
        text: &str,
        params: &[(&(dyn ToSql + Sync), tokio_postgres::types::Type)],
    ) -> Result<Vec<Row>, StoreError> {
        if !self.is_pooled {
            return self.bounded(self.client.query_typed(text, params)).await;
        }
        let opening = self.begin(Commit::Durable);
        let all = async {
            let asked = join(self.client.query_typed(text, params), self.client.batch_execute("COMMIT"));
            let (begun, (answer, committed)) = join(self.client.batch_execute(&opening), asked).await;
            begun?;
            let answer = answer?;
            committed?;
            Ok(answer)
        };
        self.bounded(all).await
    }

    /// Several statements without parameters, in one go.
    pub(super) async fn run_script(&self, text: &str, within: Duration) -> Result<(), StoreError> {
        match timeout(within, self.client.batch_execute(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StoreError::of(&error)),
            Err(_) => Err(StoreError::NoAnswer(within)),
        }
    }

    async fn bounded<T>(&self, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
        let answer = match timeout(self.answer, asked).await {
            Ok(answer) => answer.map_err(|error| StoreError::of(&error)),
            Err(_) => Err(StoreError::NoAnswer(self.answer)),
        };
        self.note(answer)
    }

    fn note<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.as_ref().is_err_and(StoreError::ends_connection) {
            self.close();
        }
        answer
    }

    /// One statement, in a transaction of its own.
    pub(super) async fn query(&self, statement: Statement, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        if self.is_pooled {
            let mut answers = self.transaction(vec![(statement, params)], Commit::Durable).await?;
            return Ok(answers.pop().unwrap_or_default());
        }
        self.prepare(statement).await?;
        let warnings = self.warnings.load(Relaxed);
        let rows = self.bounded(self.send(statement, &params)).await?;
        self.confirmed(warnings)?;
        Ok(rows)
    }

    /// Nothing was warned of since: else a commit may not be what it says.
    fn confirmed(&self, warnings_before: u64) -> Result<(), StoreError> {
        let is_confirmed = self.warnings.load(Relaxed) == warnings_before;
        if is_confirmed { Ok(()) } else { self.note(Err(StoreError::Unconfirmed)) }
    }

    /// Several statements in one transaction and one round trip. It succeeded only if each of them did: the commit's own word
    /// says nothing after an error.
    pub(super) async fn transaction(
        &self,
        parts: Vec<(Statement, Params<'_>)>,
        commit: Commit,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        for (statement, _) in &parts {
            self.prepare(*statement).await?;
        }
        let warnings = self.warnings.load(Relaxed);
        let opening = self.begin(commit);
        let all = async {
            // Each is sent when it is polled first, and they are polled in this order.
            let sent = join_all(parts.iter().map(|(statement, params)| self.send(*statement, params)));
            let (begun, (answers, committed)) =
                join(self.client.batch_execute(&opening), join(sent, self.client.batch_execute("COMMIT"))).await;
            begun?;
            let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
            committed?;
            Ok(answers)
        };
        let answers = self.bounded(all).await?;
        self.confirmed(warnings)?;
        Ok(answers)
    }

    fn begin(&self, commit: Commit) -> String {
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        if self.is_pooled {
            for (name, value) in SETTINGS {
                begin.extend(["; SET LOCAL ", name, " = '", value, "'"]);
            }
        }
        if commit == Commit::Unawaited {
            begin.push_str("; SET LOCAL synchronous_commit = 'off'");
        }
        begin
    }

    async fn prepare(&self, statement: Statement) -> Result<(), StoreError> {
        if self.is_pooled || self.prepared.lock()[statement as usize].is_some() {
            return Ok(());
        }
        let (text, types) = (&self.texts[statement as usize], statement.of().1);
        let prepared = self.bounded(self.client.prepare_typed(text, types)).await?;
        self.prepared.lock()[statement as usize] = Some(prepared);
        Ok(())
    }

    async fn send(&self, statement: Statement, params: &Params<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let prepared = self.prepared.lock()[statement as usize].clone();
        if let Some(prepared) = prepared {
            return self.client.query(&prepared, params).await;
        }
        let typed: Vec<_> = params.iter().copied().zip(statement.of().1.iter().cloned()).collect();
        self.client.query_typed(&self.texts[statement as usize], &typed).await
    }

    /// It is used no more.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Relaxed);
        self.driver.abort();
        self.closed.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed) || self.client.is_closed()
    }

    /// Resolves when it is of no use any more.
    pub(super) async fn ended(&self) {
        let closed = self.closed.notified();
        if !self.is_closed() {
            closed.await;
        }
    }

    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) const fn is_pooled(&self) -> bool {
        self.is_pooled
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection with the task that reads and writes it.
struct Driven {
    client: Client,
    warnings: Arc<AtomicU64>,
    closed: Arc<Notify>,
    driver: AbortHandle,
}

fn driven<S, T>((client, mut connection): (Client, Connection<S, T>)) -> Driven
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (warnings, closed) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (seen, ended) = (Arc::clone(&warnings), Arc::clone(&closed));
    let driver = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notice(notice)) if notice.code().code().starts_with("01") => {
                    tracing::warn!(code = notice.code().code(), "the ledger's store warns: {}", notice.message());
                    seen.fetch_add(1, Relaxed);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        ended.notify_waiters();
    });
    Driven { client, warnings, closed, driver: driver.abort_handle() }
}

/// What the next connection is protected by. The files are read anew each time, so that they can be rotated.
async fn tls(tls: &StoreTls) -> Result<Option<MakeRustlsConnect>, OpenError> {
    let StoreTls::VerifyFull(tls) = tls else { return Ok(None) };
    let config = settled(|| tls.config(&[ALPN])).await?;
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// How to connect. The password is read anew each time, so that it can be rotated.
fn config(settings: &Settings) -> Result<Config, OpenError> {
    let mut config: Config = settings.url.parse().map_err(|error| OpenError::Url(chain(&error)))?;
    if let Some(path) = &settings.password_file {
        let read = std::fs::read_to_string(path);
        let password = read.map_err(|source| OpenError::Password { path: path.clone(), source })?;
        config.password(password.trim_end_matches(['\r', '\n']));
    } else if let Some(password) = &settings.password {
        config.password(&password.0);
    }
    config
        .application_name("mainstay")
        .ssl_mode(if matches!(settings.tls, StoreTls::VerifyFull(_)) { SslMode::Require } else { SslMode::Disable })
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(settings.timeouts.connect)
        .tcp_user_timeout(Duration::from_secs(3))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(5))
        .keepalives_interval(Duration::from_secs(1))
        .keepalives_retries(3);
    Ok(config)
}
