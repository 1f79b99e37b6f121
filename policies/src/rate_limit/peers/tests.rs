use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::rate_limit::{Admission, Limiter};

const ID: LimitId = *b"payments";
const BEAT: Duration = Duration::from_secs(2);

fn params(requests: u32) -> RateLimit {
    RateLimit::per(NonZeroU32::new(requests).unwrap(), Duration::from_secs(1))
}

/// Replicas that hear of each other every two seconds, and what they admit.
struct Fleet {
    replicas: Vec<(Peers, Limiter)>,
    now: Instant,
}

impl Fleet {
    fn new(count: usize, requests: u32) -> Self {
        let replica = |_| {
            let peers = Peers::default();
            let limit = peers.limit(ID, &params(requests));
            (peers, Limiter::new(params(requests)).shared(limit))
        };
        Self { replicas: (0..count).map(replica).collect(), now: Instant::now() }
    }

    fn hears(&self) {
        let told: Vec<_> = self.replicas.iter().map(|(peers, _)| peers.publish(self.now)).collect();
        let told: Vec<_> = told.iter().map(Option::as_deref).collect();
        self.replicas.iter().enumerate().for_each(|(own, (peers, _))| peers.heard(&told, own));
    }

    /// Each is asked for so many a second, evenly, for some heartbeats; what all of them admitted in each second.
    fn asked(&mut self, loads: &[u32], beats: u32) -> Vec<u32> {
        let mut seconds = Vec::new();
        for second in 0..beats * 2 {
            let start = self.now;
            let mut admitted = 0;
            for ((_, limiter), load) in self.replicas.iter().zip(loads) {
                for number in 0..*load {
                    let at = start + Duration::from_secs(1) * number / *load;
                    admitted += u32::from(matches!(limiter.admit(b"", at), Admission::Admitted(_)));
                }
            }
            seconds.push(admitted);
            self.now = start + Duration::from_secs(1);
            if second % 2 == 1 {
                self.hears();
            }
        }
        seconds
    }
}

fn mean(seconds: &[u32]) -> f64 {
    f64::from(seconds.iter().sum::<u32>()) / seconds.len() as f64
}

#[test]
fn an_even_load_is_admitted_up_to_the_limit_and_no_further() {
    let mut fleet = Fleet::new(10, 1000);
    fleet.hears();
    fleet.asked(&[200; 10], 2);
    let seconds = fleet.asked(&[200; 10], 10);
    assert!(seconds.iter().all(|second| (990..=1010).contains(second)), "{seconds:?}");
}

#[test]
fn an_uneven_load_is_admitted_to_more_than_nine_tenths_of_the_limit() {
    let zipf: Vec<u32> = (1..=10).map(|rank| 2000 * 341 / 1000 / rank).collect();
    let mut all_at_one = vec![0; 10];
    all_at_one[3] = 2000;
    for loads in [zipf, all_at_one] {
        let mut fleet = Fleet::new(10, 1000);
        fleet.hears();
        fleet.asked(&loads, 3);
        let seconds = fleet.asked(&loads, 10);
        assert!((905.0..=1005.0).contains(&mean(&seconds)), "{loads:?}: {seconds:?}");
    }
}

#[test]
fn a_load_that_moves_is_admitted_again_after_two_heartbeats_and_never_over_the_limit() {
    let mut fleet = Fleet::new(3, 900);
    fleet.hears();
    fleet.asked(&[2000, 0, 0], 5);
    let moved = fleet.asked(&[0, 2000, 0], 5);
    assert!(moved.iter().all(|second| *second <= 900 + 30), "{moved:?}");
    assert!(moved[..2].iter().all(|second| *second < 100), "the floor of a replica that nobody asked: {moved:?}");
    assert!(moved[4..].iter().all(|second| *second > 810), "{moved:?}");
}

#[test]
fn without_the_store_each_has_an_equal_part_by_how_many_there_were() {
    let mut fleet = Fleet::new(3, 900);
    fleet.hears();
    fleet.asked(&[2000, 0, 0], 3);
    fleet.replicas.iter().for_each(|(peers, _)| peers.alone());
    let fractions: Vec<_> = fleet.replicas.iter().map(|(peers, _)| peers.limit(ID, &params(900)).fraction()).collect();
    assert_eq!(fractions, [1.0 / 3.0; 3]);
}

#[test]
fn a_limit_is_the_same_one_while_anybody_has_it_and_is_forgotten_with_the_last() {
    let peers = Peers::default();
    let first = peers.limit(ID, &params(10));
    let kept = peers.limit(ID, &params(20));
    assert!(Arc::ptr_eq(&first, &kept) && (kept.rate() - 20.0).abs() < 1e-9);
    drop((first, kept));
    assert_eq!(peers.publish(Instant::now() + BEAT), None);
}

#[test]
fn no_more_is_told_than_fits() {
    let peers = Peers::default();
    let kept: Vec<_> = (0..300_u64).map(|number| peers.limit(number.to_be_bytes(), &params(10))).collect();
    let told = peers.publish(Instant::now() + BEAT).expect("there are limits");
    assert!(told.len() <= 4096 && kept.len() == 300, "{}", told.len());
    assert_eq!(read(&told).len(), LIMITS_TOLD);
}

proptest! {
    #[test]
    fn anything_that_is_told_can_be_heard(told in prop::collection::vec(any::<u8>(), 0..200)) {
        let peers = Peers::default();
        let limit = peers.limit(ID, &params(10));
        peers.heard(&[Some(&told), None], 0);
        prop_assert!((0.0..=1.0).contains(&limit.fraction()));
    }
}
