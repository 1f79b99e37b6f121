//! The schema's versions: steps forward, each in a transaction of its own, one replica at a time.
//!
//! A step only adds; what nobody needs any more goes one version later. So version `v` of the program runs on schema `v` and on
//! `v + 1`, and the old half of a rolling upgrade goes on while the new half has migrated.

use std::{fmt::Write as _, time::Duration};

use super::{
    connect::Session,
    error::{OpenError, unreachable},
    options::Settings,
};

/// What makes each version of the one before; the first, of nothing. `{s}` stands for the schema.
const STEPS: [&str; 1] = [include_str!("schema.sql")];
/// The schema's version that this program makes.
#[expect(clippy::cast_possible_wrap, reason = "there are a few steps")]
pub const VERSION: i32 = STEPS.len() as i32;
/// Several replicas that start at once migrate one after the other: `mainstay`, as a number.
const LOCK: i64 = 0x6d61_696e_7374_6179;
/// How long one step may take, the wait for whoever comes before included: the first makes some 70 tables.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// What a start does about the schema that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// It can be used.
    Use,
    /// These versions are made first.
    Migrate,
    /// It is older, and is left so.
    Older,
    /// It is of a version that this program does not know.
    Newer(i32),
}

fn plan(found: Option<i32>, own: i32, migrates: bool) -> Plan {
    match found {
        Some(found) if found > own + 1 => Plan::Newer(found),
        Some(found) if found >= own => Plan::Use,
        _ if migrates => Plan::Migrate,
        _ => Plan::Older,
    }
}

/// Sees that the schema is of a version that can be used, and makes it so where that is allowed.
pub(super) async fn migrate(session: &Session, settings: &Settings) -> Result<(), OpenError> {
    let schema = &settings.schema;
    let found = version(session, schema).await?;
    match plan(found, VERSION, settings.migrates) {
        Plan::Use => Ok(()),
        Plan::Newer(found) => Err(OpenError::Newer { schema: schema.clone(), found, reads: VERSION }),
        Plan::Older => Err(OpenError::Older { schema: schema.clone(), found: found.unwrap_or(0), wants: VERSION }),
        Plan::Migrate => {
            for to in found.unwrap_or(0) + 1..=VERSION {
                step(session, settings, to).await?;
            }
            tracing::info!(schema, from = found.unwrap_or(0), to = VERSION, "the ledger's schema was migrated");
            Ok(())
        }
    }
}

/// Makes version `to`, unless somebody else has done so while this one waited for its turn.
async fn step(session: &Session, settings: &Settings, to: i32) -> Result<(), OpenError> {
    let schema = &settings.schema;
    let failed = |why: String| OpenError::Schema { schema: schema.clone(), version: to, why };
    let begin = format!("{} {}", begin(), ground(schema));
    session.run_script(&begin, STEP_WITHIN).await.map_err(|error| failed(error.to_string()))?;
    let made = match version(session, schema).await? {
        Some(found) if found >= to => session.run_script("COMMIT", STEP_WITHIN).await,
        _ => session.run_script(&format!("{} COMMIT", numbered(schema, to)), STEP_WITHIN).await,
    };
    if let Err(error) = made {
        let _ = session.run_script("ROLLBACK", settings.timeouts.connect).await;
        return Err(failed(error.to_string()));
    }
    Ok(())
}

/// Which version the schema is of; `None` where there is none.
async fn version(session: &Session, schema: &str) -> Result<Option<i32>, OpenError> {
    let there =
        session.ask(&format!("SELECT to_regclass('{schema}.migration') IS NOT NULL")).await.map_err(unreachable)?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let found = session.ask(&format!("SELECT max(version) FROM {schema}.migration")).await.map_err(unreachable)?;
    Ok(found.first().and_then(|row| row.get(0)))
}

fn begin() -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '20s'; SELECT pg_advisory_xact_lock({LOCK});"
    )
}

/// What there has to be before any version.
fn ground(schema: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};\nCREATE TABLE IF NOT EXISTS {schema}.migration \
         (version int4 PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
    )
}

fn numbered(schema: &str, to: i32) -> String {
    let step = usize::try_from(to - 1).ok().and_then(|at| STEPS.get(at)).expect("only known versions are made");
    format!("{}\nINSERT INTO {schema}.migration (version) VALUES ({to});", step.replace("{s}", schema))
}

/// What a database's owner runs who lets nobody else change its schema: from version `from` (0: there is nothing yet) to this
/// program's, all or nothing; and what `role` needs to use it.
pub fn schema_sql(schema: &str, from: i32, role: Option<&str>) -> String {
    let mut sql = format!("{}\n{}\n", begin(), ground(schema));
    for to in from.clamp(0, VERSION) + 1..=VERSION {
        let _ = writeln!(sql, "-- version {to}\n{}", numbered(schema, to));
    }
    if let Some(role) = role {
        let role = role.replace('"', "\"\"");
        let _ = writeln!(
            sql,
            "GRANT USAGE ON SCHEMA {schema} TO \"{role}\";\n\
             GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA {schema} TO \"{role}\";\n\
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO \"{role}\";"
        );
    }
    sql.push_str("COMMIT;\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_on_its_own_version_and_the_next_and_makes_older_ones_its_own_if_it_may() {
        for (found, own, migrates, expected) in [
            (None, 3, true, Plan::Migrate),
            (None, 3, false, Plan::Older),
            (Some(2), 3, true, Plan::Migrate),
            (Some(2), 3, false, Plan::Older),
            (Some(3), 3, true, Plan::Use),
            (Some(3), 3, false, Plan::Use),
            (Some(4), 3, true, Plan::Use),
            (Some(4), 3, false, Plan::Use),
            (Some(5), 3, true, Plan::Newer(5)),
        ] {
            assert_eq!(plan(found, own, migrates), expected, "{found:?} {own} {migrates}");
        }
    }

    #[test]
    fn what_an_owner_runs_is_one_transaction_with_each_missing_version() {
        let all = schema_sql("pay", 0, Some("mainstay_app"));
        assert!(all.starts_with("BEGIN;") && all.ends_with("COMMIT;\n"), "{all}");
        assert!(all.contains("CREATE TABLE pay.op") && !all.contains("{s}"), "{all}");
        assert!(all.contains("TRUNCATE ON ALL TABLES IN SCHEMA pay TO \"mainstay_app\""), "{all}");
        assert!(!schema_sql("pay", VERSION, None).contains("CREATE TABLE pay.op"));
    }
}
