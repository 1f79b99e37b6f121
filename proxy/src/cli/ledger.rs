//! `mainstay ledger check`, `stats` and `export`: what lies on the disk, also beside a running proxy. Nothing is written. And
//! `schema`: what a database's owner is to run for a ledger in PostgreSQL. Who shares one is in `replicas.rs`.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    output::{FAILED, fail, print},
    replicas::{Fence, Shared, fence, replicas},
};
use crate::{
    api::document,
    config::{self, model::Store},
    ledger::{
        disk::{Inspection, OpenError, Stats},
        postgres::{SCHEMA_VERSION, schema_sql},
    },
};

/// Faults that are said; a ledger with more is beyond reading line by line.
const FAULTS_SHOWN: usize = 100;
const STATES: [&str; 5] = ["pending", "succeeded", "failed", "not_executed", "unknown"];

/// Look into a ledger: one on disk without disturbing a running proxy, and who shares one in PostgreSQL
#[derive(Subcommand)]
pub enum LedgerCommand {
    /// Check the file and everything that must hold in it; 0 if nothing is wrong, else 1
    Check(Place),
    /// Show counts and sizes
    Stats {
        /// Which ledger
        #[command(flatten)]
        place: Place,
        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database
    Schema(SchemaCommand),
    /// List the replicas that share a ledger in PostgreSQL, and those that ended within the last day
    Replicas(Shared),
    /// Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more
    Fence(Fence),
    /// Print the document of every operation, a line of JSON each: no bodies, no keys
    Export(Place),
}

/// Which ledger.
#[derive(Args)]
pub struct Place {
    /// A ledger's directory, or the configuration that names it
    #[arg(value_name = "PATH_OR_CONFIG")]
    path: PathBuf,
    /// The key file, if the ledger is sealed and no configuration says so
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

/// What is wanted of a schema.
#[derive(Args)]
pub struct SchemaCommand {
    /// The schema's name
    #[arg(default_value = "mainstay")]
    name: String,
    /// Print the SQL that makes it, in one transaction
    #[arg(long)]
    sql: bool,
    /// The version that is there already; 0 is none
    #[arg(long, value_name = "VERSION", default_value_t = 0, requires = "sql")]
    from: i32,
    /// Also give this role what the proxy needs, which is no right to change the schema
    #[arg(long, value_name = "ROLE", requires = "sql")]
    grant: Option<String>,
}

fn schema(command: &SchemaCommand) -> ExitCode {
    let SchemaCommand { name, sql, from, grant } = command;
    if *sql {
        return print(schema_sql(name, *from, grant.as_deref()));
    }
    print(format_args!(
        "this program makes version {SCHEMA_VERSION} of the schema `{name}`, and runs on it and on the one after it; --sql prints how"
    ))
}

/// Runs a subcommand of `ledger`.
pub fn ledger(command: LedgerCommand) -> ExitCode {
    match command {
        LedgerCommand::Check(place) => with(&place, check),
        LedgerCommand::Stats { place, json } => with(&place, |ledger| {
            let stats = ledger.stats()?;
            Ok(if json { print(format_args!("{:#}", as_json(&stats))) } else { print(as_table(&stats)) })
        }),
        LedgerCommand::Export(place) => with(&place, export),
        LedgerCommand::Schema(command) => schema(&command),
        LedgerCommand::Replicas(ledger) => replicas(ledger),
        LedgerCommand::Fence(order) => fence(order),
    }
}

fn with(place: &Place, work: impl FnOnce(&Inspection) -> Result<ExitCode, OpenError>) -> ExitCode {
    let (directory, configured) = match find(&place.path) {
        Ok(found) => found,
        Err(why) => return fail(why),
    };
    let key_file = place.key_file.clone().or(configured);
    let done = Inspection::open(&directory, key_file.as_deref()).and_then(|ledger| work(&ledger));
    done.unwrap_or_else(fail)
}

/// Where the ledger is, and where its key, if a configuration says so.
fn find(path: &Path) -> Result<(PathBuf, Option<PathBuf>), String> {
    let is_configuration = if path.is_dir() {
        let files = path.read_dir().map_err(|error| format!("{}: {error}", path.display()))?;
        files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "yaml"))
    } else {
        path.extension().is_none_or(|extension| extension != "db")
    };
    if !is_configuration || !path.exists() {
        return Ok((path.to_owned(), None));
    }
    let loaded = config::load(path).map_err(|errors| errors.to_string())?;
    match &loaded.config.ledger.store {
        Store::Disk { path, key_file, .. } => Ok((path.clone(), key_file.clone())),
        Store::Postgres(_) => Err(format!(
            "{} keeps operations in PostgreSQL: look at them through a running proxy (`mainstay ops`), or with psql",
            path.display()
        )),
        Store::Memory => Err(format!("{} keeps operations in memory: there is no ledger to look into", path.display())),
    }
}

fn check(ledger: &Inspection) -> Result<ExitCode, OpenError> {
    let mut faults = 0;
    let checked = ledger.check(|fault| {
        faults += 1;
        if faults <= FAULTS_SHOWN {
            print(fault);
        }
    })?;
    let operations = checked.operations;
    let unread =
        if checked.has_read_records { "" } else { "; their records were not read: give --key-file if they are sealed" };
    if faults == 0 {
        return Ok(print(format_args!("ok: {operations} operations{unread}")));
    }
    print(format_args!("{faults} faults in {operations} operations{unread}"));
    Ok(ExitCode::from(FAILED))
}

fn export(ledger: &Inspection) -> Result<ExitCode, OpenError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    ledger.each(|operation| {
        written = writeln!(out, "{}", document::of_operation(operation));
        written.is_ok()
    })?;
    Ok(match written.and_then(|()| out.flush()) {
        // A reader that went away (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    })
}

fn as_json(stats: &Stats) -> Value {
    let operations: serde_json::Map<_, _> =
        STATES.iter().zip(stats.counts).map(|(state, count)| ((*state).to_owned(), count.into())).collect();
    json!({
        "path": stats.path.to_string_lossy(),
        "format": stats.format,
        "sealed": stats.is_sealed,
        "operations": operations,
        "oldest_open": stats.oldest_open.as_ref().map(|(id, operation)| json!({
            "id": id.to_string(),
            "state": operation.as_ref().map(|operation| operation.state.label()),
            "created_at": operation.as_ref().map(|operation| document::time(operation.created_at)),
        })),
        "audit_entries": stats.audit_entries,
        "file_bytes": stats.file_bytes,
        "wal_bytes": stats.wal_bytes,
        "page_bytes": stats.page_bytes,
        "pages": stats.pages,
        "free_pages": stats.free_pages,
    })
}

fn as_table(stats: &Stats) -> String {
    let oldest = match &stats.oldest_open {
        None => "-".to_owned(),
        Some((id, None)) => format!("{id} (sealed)"),
        Some((id, Some(operation))) => {
            format!("{id}, {} since {}", operation.state.label(), document::time(operation.created_at))
        }
    };
    let counts = STATES.iter().zip(stats.counts).map(|(state, count)| (*state, count.to_string()));
    let rows = [("ledger", stats.path.display().to_string()), ("sealed", stats.is_sealed.to_string())]
        .into_iter()
        .chain(counts)
        .chain([
            ("oldest open", oldest),
            ("audit entries", stats.audit_entries.to_string()),
            ("file bytes", stats.file_bytes.to_string()),
            ("log bytes", stats.wal_bytes.to_string()),
            ("pages", format!("{} of {} bytes, {} free", stats.pages, stats.page_bytes, stats.free_pages)),
        ]);
    rows.map(|(name, value)| format!("{name:<14}{value}")).collect::<Vec<_>>().join("\n")
}
