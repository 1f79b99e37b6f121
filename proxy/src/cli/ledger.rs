//! `mainstay ledger check`, `stats` and `export`: what lies on the disk, also beside a running proxy. Nothing is written. And
//! `schema`: what a database's owner is to run for a ledger in PostgreSQL. Who shares one is in `replicas.rs`; what copies,
//! restores and rekeys one on disk is in `copies`.

mod copies;
mod place;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::copies::{BackupCommand, RestoreCommand};
use self::place::Place;
pub(super) use self::place::{Form, Output};
use super::{
    output::{fail, print},
    replicas::{Fence, Shared, fence, replicas},
};
use crate::{
    api::document,
    ledger::{
        disk::{Inspection, OpenError, Stats},
        postgres::{SCHEMA_VERSION, schema_sql},
    },
};

/// Faults that are said; a ledger with more is beyond reading line by line.
const FAULTS_SHOWN: usize = 100;
/// What shows the same of a ledger that replicas share.
const INSTEAD: &str = "look at them through a running proxy (`mainstay ops`), or with psql";
const STATES: [&str; 5] = ["pending", "succeeded", "failed", "not_executed", "unknown"];

/// Look into a ledger: one on disk without disturbing a running proxy, and who shares one in PostgreSQL
#[derive(Subcommand)]
#[command(
    after_help = "Examples:\n  mainstay ledger check /var/lib/mainstay\n  mainstay ledger backup /var/lib/mainstay copy.db"
)]
pub enum LedgerCommand {
    /// Check the file and everything that must hold in it; 0 if nothing is wrong, else 1
    #[command(
        after_help = "Examples:\n  mainstay ledger check /var/lib/mainstay\n  mainstay ledger check mainstay.yaml -o json"
    )]
    Check(Place),
    /// Show counts and sizes
    #[command(
        after_help = "Examples:\n  mainstay ledger stats /var/lib/mainstay\n  mainstay ledger stats mainstay.yaml -o json"
    )]
    Stats {
        /// Which ledger
        #[command(flatten)]
        place: Place,
        /// The same as -o json
        #[arg(long, hide = true)]
        json: bool,
    },
    /// Copy it to a file, also beside the proxy that writes it; the copy is checked
    Backup(BackupCommand),
    /// Put a copy where a ledger was lost, and say what it has forgotten; nothing is written over
    Restore(RestoreCommand),
    /// End the quarantine of a restored copy: keys without a record are new again. No proxy may run on it
    #[command(after_help = "Examples:\n  mainstay ledger lift /var/lib/mainstay\n  mainstay ledger lift mainstay.yaml")]
    Lift(Place),
    /// Print what can still be read of a damaged ledger, as `export` does; 1 if something could not be
    #[command(
        after_help = "Examples:\n  mainstay ledger salvage /var/lib/mainstay\n  mainstay ledger salvage damaged.db --key-file ledger.key > saved.jsonl"
    )]
    Salvage(Place),
    /// Seal everything with the first key of the key file, so that no other is needed. No proxy may run on it
    #[command(
        after_help = "Examples:\n  mainstay ledger rekey mainstay.yaml\n  mainstay ledger rekey /var/lib/mainstay --key-file ledger.key"
    )]
    Rekey(Place),
    /// The schema of a ledger in PostgreSQL: the SQL that makes or migrates it, for whoever owns the database
    Schema(SchemaCommand),
    /// List the replicas that share a ledger in PostgreSQL, and those that ended within the last day
    Replicas(Shared),
    /// Take a replica of a ledger in PostgreSQL out by hand: the others take over what it owns, and it sends nothing more
    Fence(Fence),
    /// Print the document of every operation, a line of JSON each: no bodies, no keys
    #[command(
        after_help = "Examples:\n  mainstay ledger export /var/lib/mainstay\n  mainstay ledger export mainstay.yaml > operations.jsonl"
    )]
    Export(Place),
}

/// What is wanted of a schema.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay ledger schema --sql | psql\n  mainstay ledger schema mainstay --sql --from 1 --grant proxy"
)]
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
    #[command(flatten)]
    form: Form,
}

fn schema(command: &SchemaCommand) -> ExitCode {
    let SchemaCommand { name, sql, from, grant, form } = command;
    let made = sql.then(|| schema_sql(name, *from, grant.as_deref()));
    if form.output == Output::Json {
        return print(format_args!("{:#}", json!({ "schema": name, "version": SCHEMA_VERSION, "sql": made })));
    }
    if let Some(made) = made {
        return print(made);
    }
    print(format_args!(
        "this program makes version {SCHEMA_VERSION} of the schema `{name}`, and runs on it and on the one after it; --sql prints how"
    ))
}

/// Runs a subcommand of `ledger`.
pub fn ledger(command: LedgerCommand) -> ExitCode {
    match command {
        LedgerCommand::Check(place) => with(&place, |ledger| check(ledger, place.form.output)),
        LedgerCommand::Stats { place, json } => with(&place, |ledger| {
            let stats = ledger.stats()?;
            Ok(if json || place.form.output == Output::Json {
                print(format_args!("{:#}", as_json(&stats)))
            } else {
                print(as_table(&stats))
            })
        }),
        LedgerCommand::Backup(command) => copies::backup(&command),
        LedgerCommand::Restore(command) => copies::restore(&command),
        LedgerCommand::Lift(place) => copies::lift(&place),
        LedgerCommand::Salvage(place) => copies::salvage(&place),
        LedgerCommand::Rekey(place) => copies::rekey(&place),
        LedgerCommand::Export(place) => with(&place, export),
        LedgerCommand::Schema(command) => schema(&command),
        LedgerCommand::Replicas(ledger) => replicas(ledger),
        LedgerCommand::Fence(order) => fence(order),
    }
}

fn with(place: &Place, work: impl FnOnce(&Inspection) -> Result<ExitCode, OpenError>) -> ExitCode {
    let found = match place.find(INSTEAD) {
        Ok(found) => found,
        Err(why) => return fail(why),
    };
    let done = Inspection::open(&found.directory, found.key_file.as_deref()).and_then(|ledger| work(&ledger));
    done.unwrap_or_else(fail)
}

fn check(ledger: &Inspection, form: Output) -> Result<ExitCode, OpenError> {
    let (mut all, mut faults) = (0, Vec::new());
    let checked = ledger.check(|fault| {
        all += 1;
        if faults.len() < FAULTS_SHOWN {
            faults.push(fault);
        }
    })?;
    Ok(copies::checked(form, checked.operations, checked.has_read_records, &faults, all))
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
