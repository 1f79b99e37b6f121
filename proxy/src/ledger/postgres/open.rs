//! What a start does: the schema, the service, the secret, and a number of its own.

use mainstay_policies::operation::UnixMillis;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    connect::Session,
    error::{OpenError, unreachable},
    migrate::migrate,
    options::{Options, Settings},
    row::width_ms,
};
use crate::ledger::{
    record,
    vault::{Kind, Vault, key_id},
};

/// What a start found or made.
pub(super) struct Opened {
    pub(super) secret: [u8; 32],
    pub(super) vault: Vault,
    pub(super) width_ms: u64,
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

/// Whether the store keeps what it acknowledges.
async fn check_durability(session: &Session, settings: &Settings) -> Result<(), OpenError> {
    let asked = "SELECT current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(), \
                 current_setting('synchronous_standby_names')";
    let rows = match session.ask(asked).await {
        Ok(rows) => rows,
        Err(_) if settings.durability_is_declared => return Ok(()),
        Err(error) => {
            return Err(OpenError::NotDurable(format!(
                "its settings cannot be read ({error}); if somebody vouches for them, say `ledger.durability: declared`"
            )));
        }
    };
    let Some(row) = rows.first() else { return Ok(()) };
    let (fsync, pages, standby): (String, String, String) = (row.get(0), row.get(1), row.get(3));
    if fsync != "on" && !settings.durability_is_declared {
        return Err(OpenError::NotDurable("`fsync` is off: switch it on, or say `ledger.durability: declared`".into()));
    }
    if pages != "on" && !settings.durability_is_declared {
        return Err(OpenError::NotDurable(
            "`full_page_writes` is off: switch it on, or say `ledger.durability: declared`".into(),
        ));
    }
    if row.get::<_, bool>(2) {
        return Err(OpenError::NotDurable("it is a standby: name the primary in `ledger.url`".into()));
    }
    if standby.is_empty() {
        tracing::warn!(
            "the ledger's store commits on one machine only: what it acknowledged is lost with that machine's disk, or with \
             a failover to an asynchronous standby"
        );
    }
    Ok(())
}

/// Makes or checks everything that all replicas share.
pub(super) async fn prepare(session: &Session, options: &Options) -> Result<Opened, OpenError> {
    let settings = &options.settings;
    check_durability(session, settings).await?;
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
    Ok(Opened { secret, vault, width_ms: width })
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
