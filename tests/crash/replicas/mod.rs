//! Several replicas on one PostgreSQL, before one service that loses answers and counts what it did per key: they are killed,
//! they stand still, their store fails. Callers repeat what was not done, at any of them.
//!
//! One life is one store, one service and three replicas, over some rounds. After each round nothing may stay pending for
//! longer than a takeover takes, and every key of it is looked at by two of the three, so by one that has not answered it. At
//! the end of a life everything is settled, and all of it is looked at once more.

mod death;
mod fleet;
mod red;
mod standstill;
mod store;
mod upgrade;

use fastrand::Rng;
use mainstay_tests::postgres::Postgres;

use self::fleet::Fleet;
pub(crate) use self::upgrade::upgrade;
use crate::Campaign;

/// Rounds on one store, before it is looked at whole and thrown away.
const ROUNDS_PER_LIFE: usize = 8;

/// What befalls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `kill -9` of one, two or all.
    Kill,
    /// One stands still for longer than others wait before they take over what it had.
    Stop,
    /// Each protection is switched off in turn, and must be missed.
    Red,
    /// Their store dies, stops, stands still, is read-only, full of others' connections, without its standby, or an older copy.
    Store,
}

impl Kind {
    /// By its name on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "kill" => Self::Kill,
            "stop" => Self::Stop,
            "store" => Self::Store,
            "red" => Self::Red,
            _ => return None,
        })
    }
}

/// Runs rounds until the campaign has enough of them.
pub(crate) async fn rounds(campaign: &Campaign, kind: Kind, rounds: usize) -> Vec<String> {
    if kind == Kind::Red {
        return red::run(campaign).await;
    }
    let mut done = 0;
    for number in 0.. {
        if done >= rounds && !campaign.has_time() {
            break;
        }
        let Some(server) = Postgres::start() else {
            campaign.count("replicas: skipped, there is no PostgreSQL", 1);
            return Vec::new();
        };
        let seed = campaign.seed.wrapping_add(number as u64);
        let can_be_asked = number % 3 != 2;
        let count = if campaign.has_time() { ROUNDS_PER_LIFE } else { ROUNDS_PER_LIFE.min(rounds - done) };
        let mut fleet = match Fleet::start(campaign, server, seed, can_be_asked).await {
            Ok(fleet) => fleet,
            Err(wrong) => return vec![wrong],
        };
        let mut wrong = live(&mut fleet, kind, count, done).await;
        if wrong.is_empty() {
            wrong = fleet.ends().await;
        }
        done += count;
        if !wrong.is_empty() {
            let about = format!("{kind:?}, the service {} be asked", if can_be_asked { "can" } else { "cannot" });
            wrong.push(fleet.keep());
            return campaign.condemn("replicas", seed, &about, wrong);
        }
        campaign.progress(&format!("replicas, {kind:?}: {done} rounds"));
    }
    campaign.count(&format!("rounds of three replicas, {kind:?}"), done as u64);
    Vec::new()
}

async fn live(fleet: &mut Fleet<'_>, kind: Kind, rounds: usize, before: usize) -> Vec<String> {
    let mut rng = Rng::with_seed(fleet.seed);
    for round in 0..rounds {
        let nth = before + round;
        match kind {
            Kind::Kill => death::round(fleet, round, nth, &mut rng).await,
            Kind::Stop => standstill::round(fleet, round, nth, &mut rng).await,
            Kind::Store => store::round(fleet, round, nth, &mut rng).await,
            Kind::Red => {}
        }
        let wrong = fleet.check_round(round).await;
        if !wrong.is_empty() {
            return wrong;
        }
    }
    Vec::new()
}
