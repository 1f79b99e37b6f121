//! Trouble of the store that all replicas share.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::fleet::{Fleet, TTL};

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// `kill -9` of all its processes, and a start soon after.
    Killed,
    /// The administrator's fast shutdown, and a start.
    Stopped,
    /// Its processes stand still for longer than a lease.
    Frozen,
    /// Nothing can be written for a while.
    ReadOnly,
    /// Everybody is cut off, and others take the connections there are.
    NoConnections,
    /// Commits wait for a standby that is not there.
    WithoutStandby,
    /// It comes back as it was before the load.
    OlderCopy,
}

const ALL: [Trouble; 7] = [
    Trouble::Killed,
    Trouble::Stopped,
    Trouble::Frozen,
    Trouble::ReadOnly,
    Trouble::NoConnections,
    Trouble::WithoutStandby,
    Trouble::OlderCopy,
];

pub(super) async fn round(fleet: &mut Fleet<'_>, round: usize, nth: usize, rng: &mut Rng) {
    let trouble = ALL[nth % ALL.len()];
    fleet.campaign.count(&format!("the store: {trouble:?}"), 1);
    if trouble == Trouble::OlderCopy {
        let mut server = fleet.take_server();
        server.stop();
        server.backup();
        server.restart();
        fleet.give_server(server);
        // Found again when it is checked, if not here.
        let _ = fleet.serve_again().await;
    }
    let (before, after) = (rng.u64(80..350), rng.u64(100..400));
    // Half of the time shorter than a lease.
    let length = if rng.bool() { TTL / 3 } else { TTL + Duration::from_millis(700) };
    let addrs = fleet.addrs();
    let mut server = fleet.take_server();
    let load = fleet.load(round, &addrs, rng);
    let happening = async {
        sleep(Duration::from_millis(before)).await;
        befall(&mut server, trouble, length).await;
        sleep(Duration::from_millis(after)).await;
        load.stop();
    };
    futures_util::future::join(load.run(), happening).await;
    drop(load);
    fleet.give_server(server);
}

async fn befall(server: &mut mainstay_tests::postgres::Postgres, trouble: Trouble, length: Duration) {
    match trouble {
        Trouble::Killed => {
            server.kill();
            sleep(length).await;
            server.restart();
        }
        Trouble::Stopped => {
            server.stop();
            sleep(length).await;
            server.restart();
        }
        Trouble::Frozen => {
            server.signal("STOP");
            sleep(length).await;
            server.signal("CONT");
        }
        Trouble::ReadOnly => {
            server.set("default_transaction_read_only", Some("on"));
            sleep(length).await;
            server.set("default_transaction_read_only", None);
        }
        Trouble::NoConnections => {
            // A server process outlives its client until it has something to say to it: each ends by itself.
            let cut_off = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mainstay'; \
                 SELECT pg_sleep({})",
                length.as_secs_f64()
            );
            let guests: Vec<_> = (0..60).map(|_| server.client(&cut_off)).collect();
            sleep(length).await;
            drop(guests);
        }
        Trouble::WithoutStandby => {
            server.set("synchronous_standby_names", Some("nobody"));
            sleep(length).await;
            server.set("synchronous_standby_names", None);
        }
        Trouble::OlderCopy => {
            server.kill();
            server.restore();
            sleep(length).await;
            server.restart();
        }
    }
}
