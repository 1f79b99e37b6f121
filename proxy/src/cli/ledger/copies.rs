//! `mainstay ledger backup`, `restore`, `lift`, `salvage` and `rekey`: what keeps a ledger on disk, and what is left of one.

use std::{
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use mainstay_policies::clock::WallClock;
use serde_json::{Value, json};

use super::{
    super::output::{FAILED, fail, print},
    place::{Found, Output, Place},
};
use crate::{
    api::document,
    ledger::disk::{self, Copied, Inspection},
};

/// What does the same for a ledger that replicas share.
const INSTEAD: &str = "its database is copied and restored with PostgreSQL's own tools (pg_dump --schema, pg_basebackup with an \
                       archive of its log); docs/operating.md says what a database that forgets does to writes";
const KEYS_INSTEAD: &str =
    "put the new key first in the key file; what is sealed with the old one goes with its retention";

/// What is copied, to where.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay ledger backup /var/lib/mainstay copy.db\n  mainstay ledger backup mainstay.yaml /backup/today.db -o json"
)]
pub struct BackupCommand {
    #[command(flatten)]
    place: Place,
    /// The copy: a file that is not there yet
    target: PathBuf,
}

/// What is put where.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay ledger restore /var/lib/mainstay --from copy.db\n  mainstay ledger restore mainstay.yaml --from /backup/today.db --quarantine"
)]
pub struct RestoreCommand {
    #[command(flatten)]
    place: Place,
    /// The copy, as `mainstay ledger backup` made it
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Refuse keys without a record until they cannot be of lost writes any more (the longest `tombstone`), or until `lift`
    #[arg(long)]
    quarantine: bool,
}

fn refused(why: impl std::fmt::Display) -> ExitCode {
    fail(format_args!("mainstay: {why}"))
}

/// Copies a ledger, also beside the proxy that writes it.
pub(super) fn backup(command: &BackupCommand) -> ExitCode {
    let Found { directory, key_file, .. } = match command.place.find(INSTEAD) {
        Ok(found) => found,
        Err(why) => return refused(why),
    };
    let now = WallClock::system().now();
    match disk::backup(&directory, key_file.as_deref(), &command.target, now) {
        Ok(copied) => said(&command.place, &copied, "copied", &[]),
        Err(error) => refused(error),
    }
}

/// Puts a copy in place, and says what it does not know.
pub(super) fn restore(command: &RestoreCommand) -> ExitCode {
    let Found { directory, key_file, tombstone } = match command.place.find(INSTEAD) {
        Ok(found) => found,
        Err(why) => return refused(why),
    };
    let now = WallClock::system().now();
    let refuse_for = command.quarantine.then_some(tombstone);
    let restored = disk::restore(&command.from, key_file.as_deref(), &directory, refuse_for, now);
    let copied = match restored {
        Ok(copied) => copied,
        Err(error) => return refused(error),
    };
    let since = document::time(copied.knows_until);
    let forgotten = match refuse_for {
        None => format!(
            "writes after {since} are unknown to this copy; a repeat of them executes again. To have keys without a record \
             refused, restore it with --quarantine."
        ),
        Some(time) => {
            let until = document::time(now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
            format!(
                "writes after {since} are unknown to this copy: keys without a record are refused until {until}, new writes \
                 among them. When what happened since is sorted out: mainstay ledger lift {}",
                command.place.path.display()
            )
        }
    };
    said(&command.place, &copied, "restored", &[("forgotten", forgotten)])
}

/// Ends a quarantine.
pub(super) fn lift(place: &Place) -> ExitCode {
    let Found { directory, key_file, .. } = match place.find(INSTEAD) {
        Ok(found) => found,
        Err(why) => return refused(why),
    };
    match disk::lift(&directory, key_file.as_deref(), WallClock::system().now()) {
        Ok(found) if place.form.output == Output::Json => {
            let lifted =
                found.map(|it| json!({ "since": document::time(it.since), "until": document::time(it.until) }));
            print(format_args!("{:#}", json!({ "lifted": lifted })))
        }
        Ok(Some(found)) => print(format_args!(
            "lifted: keys without a record are new again; what was written after {} stays unknown to this ledger",
            document::time(found.since)
        )),
        Ok(None) => print("there was no quarantine: nothing was changed"),
        Err(error) => refused(error),
    }
}

/// Prints what can be read of a damaged ledger, as `export` prints a sound one.
pub(super) fn salvage(place: &Place) -> ExitCode {
    let Found { directory, key_file, .. } = match place.find(INSTEAD) {
        Ok(found) => found,
        Err(why) => return refused(why),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let salvaged = Inspection::open_damaged(&directory, key_file.as_deref()).and_then(|ledger| {
        ledger.salvage(|operation| {
            written = writeln!(out, "{}", document::of_operation(operation));
            written.is_ok()
        })
    });
    match written.and_then(|()| out.flush()) {
        // A reader that went away (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return refused(error),
        _ => {}
    }
    match salvaged {
        Ok(found) if found.lost == 0 => ExitCode::SUCCESS,
        Ok(found) => refused(format_args!("{} operations were read; {} numbers could not be", found.read, found.lost)),
        Err(error) => refused(error),
    }
}

/// Seals everything with the newest key.
pub(super) fn rekey(place: &Place) -> ExitCode {
    let Found { directory, key_file, .. } = match place.find(KEYS_INSTEAD) {
        Ok(found) => found,
        Err(why) => return refused(why),
    };
    let Some(key_file) = key_file else {
        return refused("nothing says with which key: name it in ledger.encrypt.key_file, or with --key-file");
    };
    match disk::rekey(&directory, &key_file, WallClock::system().now()) {
        Ok(rows) if place.form.output == Output::Json => print(format_args!("{:#}", json!({ "sealed": rows }))),
        Ok(rows) => print(format_args!(
            "{rows} rows were sealed anew: nothing needs any key but the first of {}",
            key_file.display()
        )),
        Err(error) => refused(error),
    }
}

fn said(place: &Place, copied: &Copied, done: &str, more: &[(&str, String)]) -> ExitCode {
    let operations = copied.checked.operations;
    if place.form.output == Output::Json {
        let mut document = json!({
            "path": copied.path.to_string_lossy(), "bytes": copied.bytes, "operations": operations,
            "records_read": copied.checked.has_read_records, "knows_until": document::time(copied.knows_until),
        });
        for (name, value) in more {
            document[*name] = Value::from(value.as_str());
        }
        return print(format_args!("{document:#}"));
    }
    let unread = if copied.checked.has_read_records { "" } else { " (sealed: their records were not read)" };
    let mut text = format!(
        "{done} to {}: {operations} operations{unread}, {} bytes, checked; it knows of everything until {}",
        copied.path.display(),
        copied.bytes,
        document::time(copied.knows_until)
    );
    for (_, line) in more {
        text.push('\n');
        text.push_str(line);
    }
    print(text)
}

/// What a check found, and how it ends.
pub(super) fn checked(
    form: Output,
    operations: u64,
    has_read_records: bool,
    faults: &[String],
    all: usize,
) -> ExitCode {
    let well = all == 0;
    let printed = match form {
        Output::Json => print(format_args!(
            "{:#}",
            json!({ "ok": well, "operations": operations, "records_read": has_read_records, "faults": faults })
        )),
        Output::Table => {
            let unread =
                if has_read_records { "" } else { "; their records were not read: give --key-file if they are sealed" };
            if well {
                print(format_args!("ok: {operations} operations{unread}"))
            } else {
                print(format_args!("{}\n{all} faults in {operations} operations{unread}", faults.join("\n")))
            }
        }
    };
    if well { printed } else { ExitCode::from(FAILED) }
}
