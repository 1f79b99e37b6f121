use mainstay_policies::{clock::WallClock, operation::memory::MemoryLedger};

use super::*;
use crate::config;

fn ledger() -> Arc<dyn Ledger> {
    Arc::new(MemoryLedger::new(WallClock::manual(1_700_000_000_000), 100, 1 << 20))
}

fn with_listeners(listeners: &str) -> Arc<Config> {
    let yaml = format!(
        "listeners: {{ {listeners} }}\nupstreams: {{ app: {{ endpoints: [http://127.0.0.1:9000] }} }}\nroutes: [{{ match: {{ path: \
         /** }}, upstream: app, policy: p }}]\npolicies: {{ p: {{ idempotency: {{ status: none }} }} }}\nledger: {{ store: memory \
         }}\n"
    );
    match config::parse("mainstay.yaml", &yaml) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn a_way_is_written_as_in_a_configuration() {
    assert_eq!(choice("header x-a", &["anonymous"]), "{ header: x-a, was: anonymous }");
    assert_eq!(choice("anonymous", &["header x-a"]), "{ was: { header: x-a } }");
    assert_eq!(choice("tls san", &["header a", "anonymous"]), "{ tls: san, was: [{ header: a }, anonymous] }");
}

#[test]
fn numbers_are_in_groups_of_three() {
    for (number, expected) in [(1, "1"), (999, "999"), (1000, "1 000"), (12_310, "12 310"), (1_000_000, "1 000 000")] {
        assert_eq!(grouped(number), expected);
    }
}

#[tokio::test]
async fn what_is_not_served_after_all_is_not_remembered() {
    let ledger = ledger();
    take(&ledger, &with_listeners("in: { address: 127.0.0.1:8080 }")).await.expect("nothing is known yet");
    let before = ledger.note(NOTE).await.unwrap();
    let next = with_listeners("in: { address: 127.0.0.1:8080, principal: { header: X-A } }");
    let taken = take(&ledger, &next).await.expect("no key lives");
    assert_ne!(ledger.note(NOTE).await.unwrap(), before);
    taken.undo(&ledger).await;
    assert_eq!(ledger.note(NOTE).await.unwrap(), before);
}

#[tokio::test]
async fn processes_that_would_miss_each_others_keys_do_not_work_side_by_side() {
    let other = |makes: &str, also: &[&str]| Practice {
        makes: makes.to_owned(),
        also: also.iter().map(|also| (*also).to_owned()).collect(),
    };
    let listener = |principal: &str| {
        with_listeners(&format!("in: {{ address: 127.0.0.1:8080, principal: {principal} }}")).listeners[0].clone()
    };
    for (theirs, ours, fine) in [
        (other("anonymous", &[]), "anonymous", true),
        (other("anonymous", &[]), "{ header: X-A }", false),
        // Each looks where the other begins.
        (other("anonymous", &["header x-a"]), "{ header: X-A, was: anonymous }", true),
        // The old one would not find what the new one begins.
        (other("anonymous", &[]), "{ header: X-A, was: anonymous }", false),
        (other("anonymous", &["header x-a"]), "{ header: X-A }", false),
        (other("header x-a", &[]), "{ header: X-A, was: anonymous }", true),
    ] {
        let mut known = Remembered::default();
        known.processes.insert("2".into(), BTreeMap::from([("in".to_owned(), theirs.clone())]));
        assert_eq!(agrees(&known, &listener(ours)).is_ok(), fine, "{theirs:?} {ours}");
    }
}
