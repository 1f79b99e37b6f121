use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::operation::memory::MemoryLedger;

const NOW: UnixMillis = 1_780_000_000_000;

fn ledger(clock: &WallClock) -> Arc<dyn Ledger> {
    Arc::new(MemoryLedger::new(clock.clone(), 10, 1 << 20))
}

async fn snowflakes(mint: &IdMint, count: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(mint.mint(IdKind::Snowflake).await.unwrap().parse().unwrap());
    }
    ids
}

#[tokio::test]
async fn a_snowflake_says_when_where_and_which() {
    let clock = WallClock::manual(NOW);
    let mint = IdMint::new(ledger(&clock), clock).with_node(1023);
    for (sequence, id) in (0..).zip(snowflakes(&mint, 3).await) {
        assert_eq!((id >> 22) + SNOWFLAKE_EPOCH, NOW);
        assert_eq!((id >> 12) & 0x3ff, 1023);
        assert_eq!(id & 0xfff, sequence);
        assert_eq!(id >> 63, 0, "it fits a signed integer");
    }
}

/// More than fit into one millisecond of a clock that stands still, and into one block.
#[tokio::test]
async fn snowflakes_grow_even_if_the_clock_stands_still() {
    let clock = WallClock::manual(NOW);
    let mint = IdMint::new(ledger(&clock), clock);
    let ids = snowflakes(&mint, 3 * usize::from(SEQUENCES)).await;
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn ids_never_go_back_when_the_clock_does() {
    let before = WallClock::manual(NOW);
    let ledger = ledger(&before);
    let mint = IdMint::new(Arc::clone(&ledger), before);
    let (last, uuid) = (snowflakes(&mint, 10).await[9], mint.mint(IdKind::UuidV7).await.unwrap());
    // The process died, and the clock was set back by an hour meanwhile.
    let after = IdMint::new(ledger, WallClock::manual(NOW - 3_600_000));
    assert!(snowflakes(&after, 1).await[0] > last);
    assert!(after.mint(IdKind::UuidV7).await.unwrap() > uuid, "the text sorts as the time does");
}

#[tokio::test]
async fn what_was_reserved_is_left_for_the_clock_once_it_is_later() {
    let clock = WallClock::manual(NOW);
    let mint = IdMint::new(ledger(&clock), clock.clone());
    snowflakes(&mint, 1).await;
    clock.advance(Duration::from_hours(1));
    assert_eq!((snowflakes(&mint, 1).await[0] >> 22) + SNOWFLAKE_EPOCH, NOW + 3_600_000);
}

#[tokio::test]
async fn uuids_are_version_7_and_in_order() {
    let clock = WallClock::manual(NOW);
    let mint = IdMint::new(ledger(&clock), clock);
    let mut last = Uuid::nil();
    for _ in 0..10_000 {
        let uuid = Uuid::parse_str(&mint.mint(IdKind::UuidV7).await.unwrap()).unwrap();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        assert!(uuid > last);
        last = uuid;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_mints_on_one_ledger_never_give_out_the_same() {
    let clock = WallClock::manual(NOW);
    let ledger = ledger(&clock);
    let mints: Vec<_> = (0..2).map(|_| Arc::new(IdMint::new(Arc::clone(&ledger), clock.clone()))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let mint = Arc::clone(&mints[task % 2]);
        tasks.spawn(async move { snowflakes(&mint, 2_000).await });
    }
    let ids: Vec<u64> = tasks.join_all().await.concat();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}
