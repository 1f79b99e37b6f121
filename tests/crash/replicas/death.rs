//! `kill -9` of one, two or all replicas, at the named points and at any moment.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::timeout;

use super::fleet::{Fleet, Replica};

/// The places in the proxy at which it can be told to die.
const POINTS: [&str; 8] = [
    "before-begin",
    "before-batch",
    "in-batch",
    "after-begin",
    "after-check",
    "after-send",
    "before-settle",
    "after-settle",
];

/// How long a named point is waited for.
const POINT_PATIENCE: Duration = Duration::from_millis(900);

/// Load, deaths in it, load on those who live; the dead are started again when the round is checked.
pub(super) async fn round(fleet: &mut Fleet<'_>, round: usize, nth: usize, rng: &mut Rng) {
    let doomed = doomed(rng);
    let point = nth.is_multiple_of(2).then(|| POINTS[(nth / 2) % POINTS.len()]);
    if let Some(point) = point {
        for &at in &doomed {
            let started = fleet.restart(at, &format!("kill@{point}:{}", rng.u32(1..40))).await;
            started.unwrap_or_else(|log| panic!("a replica does not start: {log}"));
        }
    }
    fleet.campaign.count(point.unwrap_or("died at any moment"), doomed.len() as u64);
    fleet.campaign.count(&format!("of three died: {}", doomed.len()), 1);
    let after: Vec<_> = doomed.iter().map(|_| Duration::from_millis(rng.u64(20..350))).collect();
    let more = Duration::from_millis(rng.u64(50..400));
    let mut replicas = std::mem::take(&mut fleet.replicas);
    let addrs: Vec<_> = replicas.iter().map(|replica| replica.proxy.addr).collect();
    let load = fleet.load(round, &addrs, rng);
    let dying = async {
        let deaths = replicas.iter_mut().enumerate().filter_map(|(at, replica)| {
            let nth = doomed.iter().position(|doomed| *doomed == at)?;
            Some(die(replica, point.is_some(), after[nth]))
        });
        futures_util::future::join_all(deaths).await;
        // Callers go on where somebody is left.
        tokio::time::sleep(more).await;
        load.stop();
    };
    futures_util::future::join(load.run(), dying).await;
    drop(load);
    fleet.replicas = replicas;
}

async fn die(replica: &mut Replica, at_its_point: bool, after: Duration) {
    if at_its_point {
        replica.arm();
        let _ = timeout(POINT_PATIENCE, replica.proxy.ended()).await;
    } else {
        tokio::time::sleep(after).await;
    }
    if replica.proxy.runs() {
        replica.proxy.signal("KILL");
        replica.proxy.ended().await;
    }
    replica.is_dead = true;
}

/// Mostly one, now and then two or all of them.
fn doomed(rng: &mut Rng) -> Vec<usize> {
    let mut all = vec![0, 1, 2];
    rng.shuffle(&mut all);
    all.truncate(match rng.u32(0..10) {
        0..7 => 1,
        7..9 => 2,
        _ => 3,
    });
    all
}
