//! `mainstay ledger replicas` and `mainstay ledger fence`: who shares a ledger in PostgreSQL, and one of them taken out by hand.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use mainstay_policies::{clock::WallClock, operation::audit::AuditEntry};
use serde_json::{Value, json};

use super::{
    ledger::{Form, Output},
    named::{NO_CONFIGURATION, configuration},
    output::{fail, print},
};
use crate::{
    config::{self, model::Store},
    ledger::postgres::{self, Replica, Settings},
};

/// Which shared ledger.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay ledger replicas\n  mainstay ledger replicas -c mainstay.yaml -o json")]
pub struct Shared {
    /// The configuration that names it. Default: mainstay.yaml, if it is there
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

/// Who is fenced, and why.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay ledger fence payments-7c9f --reason 'its node is gone'\n  mainstay ledger fence 3 --reason 'it hangs' --actor ana"
)]
pub struct Fence {
    /// Its name or its number, as `mainstay ledger replicas` shows them
    name: String,
    /// Why; it is kept in the audit trail
    #[arg(long)]
    reason: String,
    /// Who you are, for the audit trail. Default: the user's name and the machine's
    #[arg(long)]
    actor: Option<String>,
    /// Which ledger
    #[command(flatten)]
    ledger: Shared,
}

impl Shared {
    fn settings(self) -> Result<Settings, String> {
        let path = configuration(self.config).ok_or(NO_CONFIGURATION)?;
        let loaded = config::load(&path).map_err(|errors| errors.to_string())?;
        match &loaded.config.ledger.store {
            Store::Postgres(settings) => Ok(Settings::clone(settings)),
            Store::Disk { .. } | Store::Memory => {
                Err(format!("{}: its ledger is one process's own, so there are no replicas to look at", path.display()))
            }
        }
    }
}

/// Lists those who share a ledger.
pub(super) fn replicas(ledger: Shared) -> ExitCode {
    let form = ledger.form.output;
    let listed = ledger.settings().and_then(|settings| on_runtime(postgres::replicas(&settings)));
    match listed {
        Ok(all) if form == Output::Json => {
            print(format_args!("{:#}", json!({ "replicas": all.iter().map(as_json).collect::<Vec<_>>() })))
        }
        Ok(all) => print(as_table(&all)),
        Err(why) => fail(why),
    }
}

/// Takes one out by hand.
pub(super) fn fence(order: Fence) -> ExitCode {
    let Fence { name, reason, actor, ledger } = order;
    let entry = AuditEntry {
        at: WallClock::system().now(),
        actor: actor.or_else(super::operate::this_user).unwrap_or_else(|| "unknown".into()),
        action: "fence".into(),
        target: name.clone(),
        operation: None,
        reason,
        before: Some("lives".into()),
        after: Some("was fenced".into()),
        result: "done".into(),
    };
    let form = ledger.form.output;
    let fenced = ledger.settings().and_then(|settings| on_runtime(postgres::fence(&settings, &name, entry)));
    match fenced {
        Ok(fenced) if fenced.is_empty() => fail(format!(
            "no replica that lives is called `{name}`: `mainstay ledger replicas` shows who does; nothing was done"
        )),
        Ok(fenced) if form == Output::Json => print(format_args!("{:#}", json!({ "fenced": fenced }))),
        Ok(fenced) => {
            let numbers: Vec<_> = fenced.iter().map(ToString::to_string).collect();
            print(format_args!("fenced: {}; the others take over what it owned", numbers.join(", ")))
        }
        Err(why) => fail(why),
    }
}

fn on_runtime<T>(work: impl Future<Output = Result<T, postgres::OpenError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(work).map_err(|error| error.to_string())
}

fn as_json(replica: &Replica) -> Value {
    json!({
        "no": replica.no, "name": replica.name, "node": replica.node, "beats": replica.beats,
        "silent_ms": replica.silent_ms, "open": replica.open, "standing": replica.standing,
    })
}

fn as_table(replicas: &[Replica]) -> String {
    let heads = ["no", "name", "node", "beats", "last", "open", "standing"].map(str::to_owned);
    let row = |replica: &Replica| {
        let node = replica.node.map_or_else(|| "-".to_owned(), |node| node.to_string());
        let last = format!("{:.1}s", replica.silent_ms as f64 / 1_000.0);
        let [no, beats, open] = [replica.no, replica.beats, replica.open].map(|number| number.to_string());
        [no, replica.name.clone(), node, beats, last, open, replica.standing.to_owned()]
    };
    let rows: Vec<_> = std::iter::once(heads).chain(replicas.iter().map(row)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
