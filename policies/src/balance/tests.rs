use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn endpoint(number: usize) -> Candidate {
    Candidate::new(number, Affinity::of(format!("10.0.0.{number}:8080").as_bytes()))
}

fn key(number: usize) -> Affinity {
    Affinity::of(format!("k{number}").as_bytes())
}

/// Numbers in [0, 1), the same for the same seed.
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    move || random.f64()
}

#[test]
fn every_process_of_every_version_decides_alike() {
    // Computed by another implementation of the formula.
    let all: Vec<_> = (1..=5).map(endpoint).collect();
    for (octets, hash, chosen) in [
        (&b""[..], 0xc381_7c01_6ba4_ff30, 2),
        (b"alice", 0x1a04_6f57_3e1e_5475, 3),
        (b"bob", 0x1f89_8338_a049_b50c, 1),
        (b"tenant-7", 0x1807_66aa_5a8e_1a0f, 1),
        (b"\xff\x00", 0xbb3e_17d5_1de2_a64b, 4),
    ] {
        assert_eq!(Affinity::of(octets), Affinity(hash), "{octets:?}");
        assert_eq!(by_hash(&all, Affinity(hash)), Some(chosen), "{octets:?}");
    }
}

#[test]
fn keys_are_spread_by_share() {
    let mut all: Vec<_> = (1..=5).map(endpoint).collect();
    all[0].share = 0.5;
    let mut had = BTreeMap::<_, usize>::new();
    (0..9000).for_each(|number| *had.entry(by_hash(&all, key(number)).unwrap()).or_default() += 1);
    for (number, had) in had {
        let fair = if number == 1 { 1000 } else { 2000 };
        assert!((fair * 9 / 10..fair * 11 / 10).contains(&had), "{number} had {had}");
    }
}

#[test]
fn nobody_is_chosen_from_nobody() {
    assert_eq!(by_hash(&[], key(1)), None);
    assert_eq!(less_loaded(&[], random(1)), None);
    assert_eq!(in_turn(&[], || 0, random(1)), None);
}

#[test]
fn of_two_the_less_loaded_is_taken_and_an_idle_service_is_shared_by_share() {
    let (busy, free) = (Candidate { load: 3, ..endpoint(1) }, endpoint(2));
    let mut draw = random(2);
    let to_busy = (0..4000).filter(|_| less_loaded(&[busy, free], &mut draw) == Some(1)).count();
    assert!((800..1200).contains(&to_busy), "only where both draws are it: {to_busy}");
    let tenth = Candidate { share: 0.1, ..endpoint(3) };
    let to_tenth = (0..11_000).filter(|_| less_loaded(&[free, tenth], &mut draw) == Some(3)).count();
    assert!((850..1150).contains(&to_tenth), "{to_tenth}");
}

#[test]
fn each_has_its_turn_and_less_than_a_share_less_often() {
    let mut next = 0;
    let mut turn = || {
        next += 1;
        next
    };
    let all: Vec<_> = (1..=3).map(endpoint).collect();
    let order: Vec<_> = (0..6).filter_map(|_| in_turn(&all, &mut turn, random(3))).collect();
    assert_eq!(order, [2, 3, 1, 2, 3, 1]);
    let with_less = [all[0], all[1], Candidate { share: 0.25, ..all[2] }];
    let mut draw = random(4);
    let to_less = (0..9000).filter(|_| in_turn(&with_less, &mut turn, &mut draw) == Some(3)).count();
    assert!((900..1100).contains(&to_less), "{to_less}");
}

proptest! {
    #[test]
    fn only_what_belonged_to_the_one_that_leaves_moves(
        count in 2..20_usize,
        gone in any::<prop::sample::Index>(),
        shares in prop::collection::vec(0.05..1.0, 20),
    ) {
        let all: Vec<_> = (0..count).map(|number| Candidate { share: shares[number], ..endpoint(number) }).collect();
        let gone = gone.index(count);
        let left: Vec<_> = all.iter().copied().filter(|candidate| candidate.number != gone).collect();
        for key in (0..200).map(key) {
            let (before, after) = (by_hash(&all, key).unwrap(), by_hash(&left, key).unwrap());
            prop_assert!(before == after || before == gone);
        }
        // Where they stand in a list says nothing.
        let reversed: Vec<_> = all.iter().rev().copied().collect();
        prop_assert!((0..200).map(key).all(|key| by_hash(&all, key) == by_hash(&reversed, key)));
    }

    #[test]
    fn no_endpoint_has_more_in_flight_than_its_bound(
        count in 1..12_usize,
        keys in 1..4_usize,
        shares in prop::collection::vec(0.1..1.0, 12),
        seed in any::<u64>(),
    ) {
        let mut all: Vec<_> = (0..count).map(|number| Candidate { share: shares[number], ..endpoint(number) }).collect();
        let whole: f64 = all.iter().map(|candidate| candidate.share).sum();
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            // Few keys, so that nearly all would go to one.
            let chosen = by_hash(&all, key(random.usize(..keys))).expect("somebody may always have more");
            all[chosen].load += 1;
            let in_flight = all.iter().map(|candidate| candidate.load).sum::<usize>() as f64;
            let most = BOUND * in_flight * all[chosen].share / whole + 2.0;
            prop_assert!((all[chosen].load as f64) < most, "{} of {in_flight}", all[chosen].load);
            if random.bool() {
                let at = random.usize(..count);
                all[at].load = all[at].load.saturating_sub(1);
            }
        }
    }
}

#[test]
fn a_share_grows_linearly_from_little_to_the_whole() {
    let over = Duration::from_secs(20);
    for (ago_ms, share) in [(0, 0.01), (100, 0.01), (5000, 0.25), (19_000, 0.95), (20_000, 1.0), (90_000, 1.0)] {
        let grown = grown(Duration::from_millis(ago_ms), over);
        assert!((grown - share).abs() < 1e-9, "{ago_ms}: {grown}");
    }
    assert!((grown(Duration::ZERO, Duration::ZERO) - 1.0).abs() < 1e-9, "it is off");
}
