//! Keys and the ledger that they belong to: a wrong or missing key is an error at start, not a surprise in a replay.
//!
//! The ledger names every key with which it may have sealed something (`key:…` in `secret`), and keeps the secret of its
//! fingerprints sealed with the newest. A key that is no longer in the key file is forgotten if nothing sealed with it is left,
//! which costs one look through the file, once; else the ledger is not opened.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    error::OpenError,
    sql::{self, SqlError},
};
use crate::ledger::{
    record::Unreadable,
    vault::{KeyId, Kind, Vault, key_id, key_id_at, shown},
};

/// The secret, as it is. Only in a ledger that is not sealed.
const PLAIN: &str = "fingerprint";
/// The secret, sealed.
const SEALED: &str = "fingerprint-sealed";
/// Begins the sealed secret, as every sealed thing begins with its version.
const VERSION: u8 = 1;

/// Where something that is sealed may stand, beside the secret.
pub(super) const SEALED_COLUMNS: [(&str, &str, Kind); 3] = [
    ("operation", "record", Kind::Record),
    ("response", "response", Kind::Response),
    ("request", "request", Kind::Request),
];

/// Puts the secret of a new ledger where [`secret`] finds it.
pub(super) fn keep_secret(connection: &Connection, vault: &Vault, secret: [u8; 32]) -> rusqlite::Result<()> {
    if let Some(newest) = vault.newest() {
        return seal_secret(connection, vault, newest, &secret);
    }
    connection.execute("INSERT INTO secret VALUES (?1, ?2)", params![PLAIN, secret]).map(|_| ())
}

/// The secret of the fingerprints of the ledger at `path`; nothing is written.
pub(super) fn secret(connection: &Connection, vault: &Vault, path: &Path) -> Result<[u8; 32], OpenError> {
    let damaged = |error: SqlError| OpenError::of(path, &error);
    if let Some(sealed) = sql::secret(connection, SEALED).map_err(damaged)? {
        let id = key_id(Kind::Secret, &sealed).ok().flatten();
        let id = id.ok_or_else(|| damaged(Unreadable.into()))?;
        if !vault.has(id) {
            return Err(OpenError::Sealed { path: path.to_owned(), key: shown(id) });
        }
        let opened = vault.open(Kind::Secret, 0, &sealed).map_err(|error| damaged(error.into()))?;
        let secret = opened.and_then(|opened| opened.get(1..)?.try_into().ok());
        return secret.ok_or_else(|| damaged(Unreadable.into()));
    }
    let plain = sql::secret(connection, PLAIN).map_err(damaged)?;
    plain.and_then(|plain| plain.try_into().ok()).ok_or_else(|| OpenError::Damaged {
        path: path.to_owned(),
        reason: "the secret of its fingerprints is missing".into(),
    })
}

/// Checks that everything in the ledger can be opened, and has the newest key seal from now on. Returns the secret of the
/// fingerprints.
pub(super) fn unlock(connection: &Connection, vault: &Vault, path: &Path) -> Result<[u8; 32], OpenError> {
    let secret = secret(connection, vault, path)?;
    let damaged = |error: SqlError| OpenError::of(path, &error);
    for name in keys(connection).map_err(damaged)? {
        if vault.ids().any(|id| named(id) == name) {
            continue;
        }
        if seals_something(connection, &name).map_err(damaged)? {
            return Err(OpenError::Sealed { path: path.to_owned(), key: name.trim_start_matches("key:").to_owned() });
        }
        connection.execute("DELETE FROM secret WHERE name = ?1", [&name]).map_err(|error| damaged(error.into()))?;
    }
    if let Some(newest) = vault.newest() {
        seal_secret(connection, vault, newest, &secret).map_err(|error| damaged(error.into()))?;
    }
    Ok(secret)
}

/// Whether records are sealed from now on.
pub(super) fn is_sealed(connection: &Connection) -> Result<bool, SqlError> {
    Ok(sql::secret(connection, SEALED)?.is_some())
}

/// Every key with which something may be sealed, by the name of its row.
fn keys(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let mut statement = connection.prepare("SELECT name FROM secret WHERE name GLOB 'key:*'")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn named(id: KeyId) -> String {
    format!("key:{}", shown(id))
}

/// Forgets every key but the newest: nothing is sealed with another one any more.
pub(super) fn forget_all_but(connection: &Connection, newest: KeyId) -> Result<(), SqlError> {
    connection.execute("DELETE FROM secret WHERE name GLOB 'key:*' AND name <> ?1", [named(newest)])?;
    Ok(())
}

fn seals_something(connection: &Connection, name: &str) -> Result<bool, SqlError> {
    for (table, column, kind) in SEALED_COLUMNS {
        let sql = format!(
            "SELECT 1 FROM {table} WHERE hex(substr({column}, 1, 1)) = 'E1'
             AND 'key:' || lower(hex(substr({column}, {}, 8))) = ?1 LIMIT 1",
            key_id_at(kind)
        );
        if connection.query_row(&sql, [name], |_| Ok(())).optional()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Names the newest key before anything is sealed with it, and seals the secret anew.
fn seal_secret(connection: &Connection, vault: &Vault, newest: KeyId, secret: &[u8; 32]) -> rusqlite::Result<()> {
    let sealed = vault.seal(Kind::Secret, 0, [&[VERSION][..], secret].concat());
    // What the plain one leaves behind is overwritten.
    connection.pragma_update(None, "secure_delete", true)?;
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("INSERT OR IGNORE INTO secret VALUES (?1, x'')", [named(newest)])?;
    transaction.execute("INSERT OR REPLACE INTO secret VALUES (?1, ?2)", params![SEALED, sealed])?;
    transaction.execute("DELETE FROM secret WHERE name = ?1", [PLAIN])?;
    transaction.commit()?;
    connection.pragma_update(None, "secure_delete", false)
}
