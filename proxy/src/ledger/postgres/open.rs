//! What a start does: the schema, the service, the secret, and a number of its own.

use std::sync::atomic::Ordering::Relaxed;

use mainstay_policies::operation::UnixMillis;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    connect::Session,
    error::{OpenError, StoreError, unreachable},
    inner::Inner,
    migrate::migrate,
    options::{Options, Settings},
    row::{Rows, width_ms},
};
use crate::ledger::{
    record,
    vault::{Kind, Vault, key_id},
};

/// What a start found or made.
pub(super) struct Opened {
    pub(super) secret: [u8; 32],
    pub(super) rows: Rows,
}

/// This replica in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    /// Its number.
    pub(super) no: i64,
    /// Which node of numbers it holds.
    pub(super) node: i16,
    /// The newest version of records that all live replicas read.
    pub(super) speaks: i16,
    /// What the store's clock says.
    pub(super) now: UnixMillis,
}

/// What outlives what the store acknowledges: `replicated`, `local`, or `declared` where nobody can see and somebody vouches.
pub(super) async fn durability(session: &Session, settings: &Settings) -> Result<&'static str, OpenError> {
    const DECLARED: &str = "declared";
    let asked = "SELECT current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(), \
                 current_setting('synchronous_standby_names')";
    let rows = match session.ask(asked).await {
        Ok(rows) => rows,
        Err(StoreError::Refused { .. }) if settings.durability_is_declared => return Ok(DECLARED),
        Err(error @ StoreError::Refused { .. }) => {
            return Err(OpenError::NotDurable(format!(
                "its settings cannot be read ({error}); if somebody vouches for them, say `ledger.durability: declared`"
            )));
        }
        Err(error) => return Err(unreachable(error)),
    };
    let Some(row) = rows.first() else { return Ok(DECLARED) };
    let (fsync, pages, standby): (String, String, String) = (row.get(0), row.get(1), row.get(3));
    for (name, value) in [("fsync", &fsync), ("full_page_writes", &pages)] {
        if value != "on" && !settings.durability_is_declared {
            return Err(OpenError::NotDurable(format!(
                "`{name}` is off: switch it on, or say `ledger.durability: declared`"
            )));
        }
    }
    if row.get::<_, bool>(2) {
        return Err(OpenError::NotDurable("it is a standby: name the primary in `ledger.url`".into()));
    }
    commits_synchronously(session, settings).await?;
    Ok(if settings.durability_is_declared {
        DECLARED
    } else if standby.is_empty() {
        "local"
    } else {
        "replicated"
    })
}

/// A role or a pooler may have its own mind about `synchronous_commit`: what counts is what is in force where something is
/// written.
async fn commits_synchronously(session: &Session, settings: &Settings) -> Result<(), OpenError> {
    let set = if session.is_pooled() {
        "SELECT set_config('synchronous_commit', 'on', true)"
    } else {
        "SHOW synchronous_commit"
    };
    let rows = session.ask(set).await.map_err(unreachable)?;
    let found: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
    if found == "off" && !settings.durability_is_declared {
        return Err(OpenError::NotDurable(
            "`synchronous_commit` is off although it was set: let the role set it, or say `ledger.durability: declared`".into(),
        ));
    }
    Ok(())
}

/// Which server it is, since when it runs, and which of its histories: another one after a failover or a restored copy, which may
/// have been told from a mere restart by nobody but those who have lost something. `None`: it does not say.
pub(super) async fn identity(session: &Session) -> Option<String> {
    let asked = "SELECT (SELECT system_identifier FROM pg_control_system())::text || ' ' || \
                 substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' || pg_postmaster_start_time()::text";
    session.ask(asked).await.ok()?.first().map(|row| row.get(0))
}

/// Makes or checks everything that all replicas share.
pub(super) async fn prepare(session: &Session, options: &Options) -> Result<Opened, OpenError> {
    let settings = &options.settings;
    let level = durability(session, settings).await?;
    if level == "local" {
        tracing::warn!(
            "the ledger's store commits on one machine only: what it acknowledged is lost with that machine's disk, or with \
             a failover to an asynchronous standby"
        );
    }
    migrate(session, settings).await?;
    let schema = &settings.schema;
    let service = meta(session, schema, "service", settings.service.as_bytes()).await?;
    if service != settings.service.as_bytes() {
        return Err(OpenError::Service {
            schema: schema.clone(),
            found: String::from_utf8_lossy(&service).into_owned(),
            wanted: settings.service.clone(),
        });
    }
    let vault = settings.key_file.as_deref().map(Vault::from_file).transpose()?.unwrap_or_default();
    let secret = secret(session, schema, &vault).await?;
    let width = meta(session, schema, "width", &width_ms(options.retention).to_be_bytes()).await?;
    let width = width.try_into().map_or_else(|_| width_ms(options.retention), u64::from_be_bytes).max(1);
    // In the oldest version, until it is known which all replicas read.
    Ok(Opened { secret, rows: Rows::new(vault, width, 0) })
}

/// The secret of fingerprints, one for all replicas: whoever comes first draws it. It is sealed, so that it also tells whether
/// this replica has the key that the others seal with.
async fn secret(session: &Session, schema: &str, vault: &Vault) -> Result<[u8; 32], OpenError> {
    let fresh: Vec<u8> =
        std::iter::once(1).chain(Uuid::new_v4().into_bytes()).chain(Uuid::new_v4().into_bytes()).collect();
    let kept = meta(session, schema, "secret", &vault.seal(Kind::Secret, 0, fresh)).await?;
    let stranger = || OpenError::Sealed("with another key");
    let plain = match vault.open(Kind::Secret, 0, &kept).map_err(|_| stranger())? {
        Some(plain) => {
            if key_id(Kind::Secret, &kept).ok().flatten() != vault.newest() {
                seal_anew(session, schema, &kept, &vault.seal(Kind::Secret, 0, plain.clone())).await?;
            }
            plain
        }
        None if vault.newest().is_some() => return Err(OpenError::Sealed("not at all")),
        None => kept,
    };
    plain.get(1..).and_then(|secret| secret.try_into().ok()).ok_or_else(stranger)
}

/// The key was changed: all that start from now on need the new one, and the old one may go once nothing is sealed with it.
async fn seal_anew(session: &Session, schema: &str, kept: &[u8], sealed: &[u8]) -> Result<(), OpenError> {
    use tokio_postgres::types::Type;
    let replace = format!("UPDATE {schema}.meta SET value = $2 WHERE name = 'secret' AND value = $1");
    session.ask_with(&replace, &[(&kept, Type::BYTEA), (&sealed, Type::BYTEA)]).await.map_err(unreachable)?;
    tracing::info!("the ledger's secret is sealed with the newest key now");
    Ok(())
}

/// What `name` is in `meta`: `value`, if nobody has said otherwise before.
async fn meta(session: &Session, schema: &str, name: &str, value: &[u8]) -> Result<Vec<u8>, OpenError> {
    use tokio_postgres::types::Type;
    let insert = format!("INSERT INTO {schema}.meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    session.ask_with(&insert, &[(&name, Type::TEXT), (&value, Type::BYTEA)]).await.map_err(unreachable)?;
    let rows =
        session.ask_with(&format!("SELECT value FROM {schema}.meta WHERE name = $1"), &[(&name, Type::TEXT)]).await;
    let rows = rows.map_err(unreachable)?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| OpenError::Unreachable(format!("`{schema}.meta` lost `{name}`")))
}

/// Registers this run, and takes a node that no live replica holds: the one that was used longest ago.
pub(super) async fn register(session: &Session, options: &Options, run: Uuid) -> Result<Registered, OpenError> {
    use tokio_postgres::types::Type;
    let schema = &options.settings.schema;
    let insert = format!(
        "INSERT INTO {schema}.instance (run, name, speaks, low) VALUES ($1, $2, $3, \
         (((extract(epoch FROM clock_timestamp()) * 1000)::int8 - {}) << 22)) ON CONFLICT (run) DO NOTHING",
        crate::ledger::shared::numbers::EPOCH
    );
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&run, Type::UUID), (&options.name, Type::TEXT), (&i16::from(record::newest()), Type::INT2)];
    session.ask_with(&insert, &params).await.map_err(unreachable)?;
    let found = format!(
        "SELECT no, (extract(epoch FROM clock_timestamp()) * 1000)::int8, \
         (SELECT min(speaks) FROM {schema}.instance WHERE ended = 0) FROM {schema}.instance WHERE run = $1"
    );
    let rows = session.ask_with(&found, &[(&run, Type::UUID)]).await.map_err(unreachable)?;
    let row = rows.first().ok_or_else(|| OpenError::Unreachable("the registration was lost".into()))?;
    let (no, now) = (row.get::<_, i64>(0), row.get::<_, i64>(1).cast_unsigned());
    let speaks = row.get::<_, Option<i16>>(2).unwrap_or(0);
    // Compare-and-swap on the holder that was read: a lock that skips rows would look at an instance that is out of date.
    let free = format!(
        "SELECT node, holder FROM {schema}.node WHERE holder IS NULL OR holder = $1 OR NOT EXISTS \
         (SELECT FROM {schema}.instance WHERE no = holder AND ended = 0) ORDER BY numbered, reserved, node LIMIT 64"
    );
    let take = format!(
        "UPDATE {schema}.node SET holder = $1 WHERE node = $2 AND holder IS NOT DISTINCT FROM $3 RETURNING node"
    );
    loop {
        let candidates = session.ask_with(&free, &[(&no, Type::INT8)]).await.map_err(unreachable)?;
        if candidates.is_empty() {
            return Err(OpenError::NoNode);
        }
        let row = &candidates[fastrand::usize(..candidates.len())];
        let (node, holder): (i16, Option<i64>) = (row.get(0), row.get(1));
        let params: [(&(dyn ToSql + Sync), Type); 3] = [(&no, Type::INT8), (&node, Type::INT2), (&holder, Type::INT8)];
        if !session.ask_with(&take, &params).await.map_err(unreachable)?.is_empty() {
            let named = format!("UPDATE {schema}.instance SET node = $2 WHERE no = $1");
            session.ask_with(&named, &[(&no, Type::INT8), (&node, Type::INT2)]).await.map_err(unreachable)?;
            return Ok(Registered { no, node, speaks, now });
        }
    }
}

/// Opens what all replicas share, and registers this one; from then on it may be used.
pub(super) async fn enlist(inner: &Inner, session: &Session) -> Result<(), OpenError> {
    let options = &inner.options;
    let opened = prepare(session, options).await?;
    let (run, at) = (Uuid::new_v4(), Instant::now());
    let registered = register(session, options, run).await?;
    inner.clock.tell(registered.now, at + at.elapsed() / 2);
    inner.no.store(registered.no, Relaxed);
    inner.node.store(i64::from(registered.node), Relaxed);
    *inner.run.lock() = run;
    let settings = &options.settings;
    tracing::info!(
        schema = settings.schema,
        service = settings.service,
        replica = registered.no,
        node = registered.node,
        pooled = session.is_pooled(),
        "the ledger is open"
    );
    opened.rows.speak(registered.speaks);
    // Last: whoever sees it may use the rest.
    let _ = inner.opened.set(opened);
    Ok(())
}
