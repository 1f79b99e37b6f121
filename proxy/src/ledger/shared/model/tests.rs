//! Orders of things: random ones, and those that each protection is there for.

use proptest::prelude::*;

use super::{
    ALL,
    Act::{self, *},
    Protections, REPLICAS, played, rates, requests,
    store::Hearing,
    what_happened,
};

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = || 0..REPLICAS;
    let hearing = || prop_oneof![4 => Just(Hearing::Good), 1 => Just(Hearing::Again), 1 => Just(Hearing::Never)];
    let single = prop_oneof![
        4 => (0_u64..350).prop_map(Pass),
        2 => one().prop_map(Turn),
        2 => one().prop_map(Beat),
        2 => one().prop_map(Hear),
        1 => one().prop_map(Lose),
        4 => one().prop_map(Stall),
        4 => one().prop_map(Wake),
        3 => one().prop_map(Die),
        3 => (one(), hearing()).prop_map(|(at, hearing)| Begin(at, hearing)),
        3 => one().prop_map(Allow),
        3 => (one(), 0_u64..1_200).prop_map(|(at, latency)| Send(at, latency)),
        3 => (one(), hearing()).prop_map(|(at, hearing)| Report(at, hearing)),
        6 => one().prop_map(Ask),
        1 => one().prop_map(Tidy),
        1 => Just(Away),
        2 => Just(Back),
    ];
    // Most of the time things go on as they should.
    let some = prop_oneof![
        10 => single.prop_map(|act| vec![act]),
        3 => (1_u64..12).prop_map(|rounds| while_others_live(REPLICAS, rounds * 100)),
        1 => (one(), 0_u64..1_200).prop_map(|(at, latency)| {
            vec![Begin(at, Hearing::Good), Allow(at), Send(at, latency)]
        }),
    ];
    prop::collection::vec(some, 0..80).prop_map(|some| some.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_to_its_replicas_a_write_is_sent_once_and_its_key_not_freed_too_early(acts in acts()) {
        prop_assert_eq!(played(ALL, false, &acts), None);
    }

    #[test]
    fn nor_is_it_where_the_service_honours_keys_and_the_write_is_sent_again(acts in acts()) {
        prop_assert_eq!(played(ALL, true, &acts), None);
    }
}

/// Else they would prove nothing, either.
#[test]
fn random_orders_of_things_take_over_send_free_and_send_again() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut met = [0; 4];
    for _ in 0..200 {
        let acts = acts().new_tree(&mut runner).expect("a tree").current();
        let seen = what_happened(&acts);
        met.iter_mut().zip(seen).for_each(|(met, seen)| *met += u32::from(seen));
    }
    let [taken, succeeded, freed, sent_again] = met;
    assert!(taken >= 10 && succeeded >= 10 && freed >= 5 && sent_again >= 1, "{met:?}");
}

/// Time passes, and all but `stalled` say that they live.
fn while_others_live(stalled: usize, ms: u64) -> Vec<Act> {
    let step = |_| [(0..REPLICAS).filter(|at| *at != stalled).map(Turn).collect(), vec![Pass(100)]].concat();
    (0..ms / 100).flat_map(step).collect()
}

/// A write is begun and its attempt made ready; then its process stands still, and the others have its operation.
fn taken_from_a_stalled_owner() -> Vec<Act> {
    [vec![Turn(1), Turn(2), Turn(0), Begin(0, Hearing::Good), Allow(0), Stall(0)], while_others_live(0, 1_200)].concat()
}

/// The same, until the service has said that it does not know the write, when it could not arrive any more.
fn freed_and_begun_again() -> Vec<Act> {
    let others = [while_others_live(0, 2_600), vec![Ask(1), Begin(1, Hearing::Good), Allow(1), Send(1, 0)]].concat();
    [taken_from_a_stalled_owner(), others].concat()
}

/// Each goes well with all protections, and does not without one: a model that nothing can break proves nothing.
#[test]
fn each_protection_is_what_stands_between_an_order_of_things_and_a_second_effect() {
    let check = |without: Protections, honours_key: bool, acts: Vec<Act>, expected: &str| {
        assert_eq!(played(ALL, honours_key, &acts), None, "with all protections\n{without:?}");
        let found = played(without, honours_key, &acts).map(|(_, fault)| fault);
        assert_eq!(found, Some(expected), "{without:?}");
    };
    let freed = "its key is free, and it was done or is on its way";

    let late = [freed_and_begun_again(), vec![Wake(0), Send(0, 0)]].concat();
    check(Protections { last_check: false, ..ALL }, false, late, "it was sent twice");

    // Its lease would last from when it read the answer to a beat that it had sent long before.
    let mut slow = vec![Begin(0, Hearing::Good), Beat(0)];
    slow.extend([while_others_live(0, 1_600), vec![Hear(0)], while_others_live(0, 700)].concat());
    slow.extend(
        [vec![Pass(50), Allow(0), Send(0, 1_199)], while_others_live(0, 1_100), vec![Pass(60), Ask(1)]].concat(),
    );
    check(Protections { from_sending: false, ..ALL }, false, slow, freed);

    // Others would have its operation while it still holds its lease.
    let mut long = vec![Turn(0), Begin(0, Hearing::Good), Allow(0), Stall(0)];
    long.extend([while_others_live(0, 3_600), vec![Ask(1)]].concat());
    check(Protections { ends_in_time: false, ..ALL }, false, long, "its key is free, and it may still be sent");

    // It was begun long ago, and sent just before its owner died: only the owner knew.
    let live = |ms: u64| while_others_live(REPLICAS, ms);
    let mut old = [vec![Begin(0, Hearing::Good)], live(3_000), vec![Allow(0), Send(0, 1_199), Die(0)]].concat();
    old.extend([while_others_live(0, 1_100), vec![Ask(1)]].concat());
    check(Protections { sent_at_takeover: false, ..ALL }, false, old, freed);

    // Whoever has it sends it again; that its former owner has sent nothing says nothing of that.
    let again = vec![Pass(600), Ask(1), Send(1, 1_199), Wake(0), Turn(0), Report(0, Hearing::Good)];
    let again = [taken_from_a_stalled_owner(), again].concat();
    check(Protections { fenced_word: false, ..ALL }, true, again.clone(), freed);
    let unasked: Vec<Act> = again.into_iter().filter(|act| !matches!(act, Wake(_))).collect();
    let overwritten = [unasked, vec![Wake(0), Report(0, Hearing::Good)]].concat();
    check(Protections { compare_and_swap: false, ..ALL }, true, overwritten, freed);
}

/// What is asked twice is done once, and what nobody asks again is given up: so its key is free, and the repeat is sent.
#[test]
fn a_begin_whose_answer_is_lost_is_known_as_itself_and_one_that_was_refused_frees_its_key() {
    let sent = |before: Vec<Act>| requests(&[before, vec![Allow(0), Send(0, 0), Allow(1), Send(1, 0)]].concat());
    assert_eq!(sent(vec![Begin(0, Hearing::Again)]), 1, "it is no repeat of itself");
    assert_eq!(sent(vec![Begin(0, Hearing::Never), Begin(1, Hearing::Good)]), 0, "its key is held");
    assert_eq!(sent(vec![Begin(0, Hearing::Never), Tidy(0), Begin(1, Hearing::Good)]), 1);
}

#[test]
fn the_rate_at_which_the_service_is_asked_is_shared_by_those_who_live() {
    assert_eq!(rates(&[]), vec![Some(20.0 / 3.0); 3]);
    let dead = [vec![Turn(1), Turn(2), Stall(0)], while_others_live(0, 1_200)].concat();
    assert_eq!(rates(&dead)[1], Some(10.0));
}
