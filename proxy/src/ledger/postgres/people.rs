//! What people may want to know of the replicas that share a ledger, and may have done about one.

use std::sync::Arc;

use mainstay_policies::operation::audit::AuditEntry;

use super::{
    connect::Session,
    error::{OpenError, StoreError},
    options::Settings,
    sql::{self, Statement},
    trail::Entry,
};

/// One run of one process, as the store knows it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its number: the owner of operations.
    pub no: i64,
    /// What people call it.
    pub name: String,
    /// Which node of numbers it holds.
    pub node: Option<i16>,
    /// Signs of life that it has given.
    pub beats: i64,
    /// How long ago the last one was, in ms.
    pub silent_ms: i64,
    /// Operations that it has open.
    pub open: i64,
    /// How it stands: `lives`, `has left` or `was fenced`.
    pub standing: &'static str,
}

async fn connect(settings: &Settings) -> Result<Session, OpenError> {
    Session::open(settings, Arc::new(sql::texts(&settings.schema))).await
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
fn refused(error: StoreError) -> OpenError {
    OpenError::Unreachable(error.to_string())
}

/// Those that share the ledger, also the ones that ended within the last day.
///
/// # Errors
/// The store cannot be reached, or has no such schema.
pub async fn replicas(settings: &Settings) -> Result<Vec<Replica>, OpenError> {
    let session = connect(settings).await?;
    let rows = session.query(Statement::Replicas, vec![]).await.map_err(refused)?;
    let of = |row: &tokio_postgres::Row| Replica {
        no: row.get(0),
        name: row.get(1),
        node: row.get(2),
        beats: row.get(3),
        silent_ms: row.get(5),
        open: row.get(6),
        standing: match row.get::<_, i16>(4) {
            0 => "lives",
            1 => "has left",
            _ => "was fenced",
        },
    };
    Ok(rows.iter().map(of).collect())
}

/// Fences the replicas of that name, or the one of that number: the others take over what they own, and they send nothing more.
/// Returns their numbers.
///
/// # Errors
/// The store cannot be reached, or has no such schema.
pub async fn fence(settings: &Settings, name: &str, entry: AuditEntry) -> Result<Vec<i64>, OpenError> {
    let session = connect(settings).await?;
    let no: i64 = name.parse().unwrap_or(-1);
    let rows = session.query(Statement::FenceByHand, vec![&name, &no]).await.map_err(refused)?;
    let fenced: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    if !fenced.is_empty() {
        session.query(Statement::Append, Entry::of(entry).params()).await.map_err(refused)?;
    }
    Ok(fenced)
}
