//! SIGSTOP of one replica for longer than its lease, or for longer than that and the time after which what the service does not
//! know of counts as not done: at named points and at any moment. Meanwhile the others have its writes, ask about them, free
//! their keys, and execute their repeats; then it goes on where it stood.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::fleet::{Fleet, SETTLE_AFTER, TTL};

/// Where it stands still: before it sends, after it has sent, inside a batch, at a sign of life.
const POINTS: [&str; 7] =
    ["before-begin", "before-batch", "in-batch", "after-begin", "after-send", "before-settle", "after-beat"];

/// How long a named point is waited for.
const POINT_PATIENCE: Duration = Duration::from_millis(900);

pub(super) async fn round(fleet: &mut Fleet<'_>, round: usize, nth: usize, rng: &mut Rng) {
    let at = rng.usize(..fleet.replicas.len());
    let point = (!nth.is_multiple_of(3)).then(|| POINTS[nth % POINTS.len()]);
    if let Some(point) = point {
        let started = fleet.restart(at, &format!("stop@{point}:{}", rng.u32(1..30))).await;
        started.unwrap_or_else(|log| panic!("a replica does not start: {log}"));
    }
    let beyond = if nth.is_multiple_of(2) { TTL + SETTLE_AFTER } else { TTL };
    let length = beyond + Duration::from_millis(rng.u64(700..1700));
    let before = Duration::from_millis(rng.u64(30..300));
    fleet.campaign.count(point.unwrap_or("stopped at any moment"), 1);
    fleet.campaign.count(
        if beyond == TTL { "stopped for longer than ttl" } else { "stopped for longer than ttl and settle_after" },
        1,
    );
    let addrs = fleet.addrs();
    let others: Vec<_> = addrs.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, addr)| *addr).collect();
    let load = fleet.load(round, &addrs, rng);
    let victim = &fleet.replicas[at];
    let standing = async {
        if point.is_some() {
            victim.arm();
            let until = Instant::now() + POINT_PATIENCE;
            while !stands(victim.proxy.pid()) && Instant::now() < until {
                sleep(Duration::from_millis(2)).await;
            }
        } else {
            sleep(before).await;
        }
        victim.proxy.signal("STOP");
        let until = Instant::now() + length;
        sleep(Duration::from_millis(300)).await;
        load.stop();
        // Before it goes on, what it has left is asked for elsewhere.
        sleep(until.saturating_duration_since(Instant::now() + Duration::from_millis(400))).await;
        fleet.repeat_open(round, &others).await;
        sleep(until.saturating_duration_since(Instant::now())).await;
        // A point that it has not come to yet must not stop it later, when nobody wakes it.
        victim.disarm();
        victim.proxy.signal("CONT");
        sleep(Duration::from_millis(100)).await;
        victim.proxy.signal("CONT");
    };
    futures_util::future::join(load.run(), standing).await;
}

/// Whether the process stands still.
pub(super) fn stands(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
