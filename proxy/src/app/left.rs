//! What a process leaves behind when it ends: the log says it, and `kubectl describe pod`.

use std::{env, fs::OpenOptions, io::Write as _};

use mainstay_policies::operation::{
    State,
    ledger::{Filter, Health, LedgerError},
};

use crate::{config::model::Store, runtime::Runtime};

/// Operations that are named.
const NAMED: usize = 10;
/// Where the kubelet reads why a container ended, unless a variable names another file.
const TERMINATION_LOG: (&str, &str) = ("MAINSTAY_TERMINATION_LOG", "/dev/termination-log");
/// Bytes that the kubelet reads of it.
const MAX_MESSAGE: usize = 4096;

/// Says what stays in doubt, and that the process ends. Whatever is to be written is written by then.
pub(super) async fn tell(runtime: &Runtime) {
    let ledger = &runtime.resources.ledger;
    let [pending, unknown] = ledger.owned();
    // The next process that opens the ledger takes what is pending for unknown.
    let in_doubt = pending + unknown;
    let attention = ledger.flagged().await.unwrap_or_default().iter().sum::<u64>();
    let (kept, is_kept) = match (&runtime.snapshot.load().config.ledger.store, ledger.health()) {
        (Store::Memory, _) => ("memory", false),
        (Store::Postgres(_), Health::Writable) => ("shared", true),
        (Store::Disk { .. }, Health::Failed) => ("failed", true),
        (Store::Disk { .. }, Health::Full) => ("full", true),
        (Store::Postgres(_), _) | (Store::Disk { .. }, Health::Unreachable { .. } | Health::Lossy) => {
            ("unreachable", true)
        }
        (Store::Disk { .. }, Health::Writable) => ("written", true),
    };
    if in_doubt > 0 {
        let ids = named(runtime).await.unwrap_or_default();
        let text = in_words(in_doubt, is_kept, &ids);
        tracing::warn!(in_doubt, attention, "{text}");
        leave_message(&text);
    }
    tracing::info!(in_doubt, attention, ledger = kept, "ended");
}

/// The first of them.
async fn named(runtime: &Runtime) -> Result<Vec<String>, LedgerError> {
    let mut ids = Vec::new();
    for state in [State::Unknown, State::Pending] {
        let filter = Filter { state: Some(state), ..Filter::default() };
        let found = runtime.resources.ledger.list(filter, None, NAMED - ids.len()).await?;
        ids.extend(found.iter().map(|operation| operation.id.to_string()));
    }
    Ok(ids)
}

fn in_words(in_doubt: u64, is_kept: bool, ids: &[String]) -> String {
    let writes = if in_doubt == 1 { "1 write stays".to_owned() } else { format!("{in_doubt} writes stay") };
    let them = if in_doubt == 1 { ("it is", "it") } else { ("they are", "them") };
    let fate = if is_kept {
        format!("in this ledger; {} settled when a process opens it again, and lost with it", them.0)
    } else {
        format!("and the ledger was kept in memory: nobody settles {} any more", them.1)
    };
    let more = if in_doubt > ids.len() as u64 { ", …" } else { "" };
    format!("{writes} in doubt {fate}: {}{more}", ids.join(", "))
}

/// Only where somebody has put that file.
fn leave_message(text: &str) {
    let path = env::var(TERMINATION_LOG.0).unwrap_or_else(|_| TERMINATION_LOG.1.to_owned());
    let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(&path) else { return };
    let text = &text[..text.floor_char_boundary(MAX_MESSAGE)];
    if let Err(error) = file.write_all(text.as_bytes()) {
        tracing::warn!(%error, path, "what stays in doubt could not be left for the kubelet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_in_doubt_is_counted_and_the_first_are_named() {
        let ids: Vec<String> = ["a", "b"].map(str::to_owned).into();
        for (in_doubt, is_kept, ids, expected) in [
            (
                1,
                true,
                &ids[..1],
                "1 write stays in doubt in this ledger; it is settled when a process opens it again, and lost with it: a",
            ),
            (
                3,
                true,
                &ids[..],
                "3 writes stay in doubt in this ledger; they are settled when a process opens it again, and lost with it: \
                 a, b, …",
            ),
            (
                2,
                false,
                &ids[..],
                "2 writes stay in doubt and the ledger was kept in memory: nobody settles them any more: a, b",
            ),
        ] {
            assert_eq!(in_words(in_doubt, is_kept, ids), expected);
        }
    }
}
