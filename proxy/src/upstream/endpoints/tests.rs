use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::*;

fn named(endpoints: &str) -> Arc<Endpoints> {
    let yaml = format!(
        "listeners: {{ in: {{ address: 127.0.0.1:1 }} }}\nledger: {{ store: memory }}\npolicies: {{ p: {{ timeout: 1s }} }}\n\
         upstreams: {{ app: {{ endpoints: [{endpoints}], resolve: {{ max_addresses: 4 }} }} }}\n\
         routes: [{{ match: {{ path: /** }}, upstream: app, policy: p }}]\n"
    );
    let config = crate::config::parse("mainstay.yaml", &yaml).expect("a configuration").config;
    let (params, head_limits) = (config.upstreams[0].clone(), config.limits.response_head());
    Endpoints::new(Mould { params, tls: None, head_limits, workers: 1 }, None)
}

fn resettle(all: &Endpoints, name: usize, addresses: &[SocketAddr]) {
    let addresses: Vec<_> = addresses.iter().map(|at| Address { at: *at, share: 1.0 }).collect();
    all.resettle(name, &addresses);
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

#[test]
fn what_the_configuration_names_comes_first_and_a_name_is_one_until_it_is_known() {
    let all = named("'http://10.0.0.1:80', 'http://a.test:80', 'http://localhost:80'");
    assert_eq!(all.live(), [0, 1, 2]);
    resettle(&all, 1, &[address(7), address(8)]);
    assert_eq!(all.live(), [0, 3, 4, 2]);
    let shown: Vec<_> = all.live().into_iter().map(|number| all.address(number).into_owned()).collect();
    assert_eq!(shown, ["10.0.0.1:80", "10.0.0.7:80", "10.0.0.8:80", "localhost:80"]);
    assert_eq!(all.authority(4), "a.test:80", "an address is who its name is");
    assert_eq!(all.pick_beside(&[0, 3, 2], None, None), Some(4));
    assert_eq!(all.pick_beside(&[0, 3, 4, 2], None, None), None);
    assert_eq!(named("'http://localhost:80'").numbers(), 1, "nobody is asked for it");
}

#[test]
fn a_number_is_the_same_address_while_a_request_is_in_flight_to_it() {
    let all = named("'http://a.test:80'");
    let mut random = fastrand::Rng::with_seed(7);
    // Numbers of requests in flight, with the address that each was begun to.
    let mut in_flight: Vec<(usize, SocketAddr)> = Vec::new();
    let mut known: BTreeMap<usize, (SocketAddr, u32)> = BTreeMap::new();
    for _ in 0..2000 {
        let said: BTreeSet<u8> = (0..=random.u8(..4)).map(|_| random.u8(..)).collect();
        let said: Vec<_> = said.into_iter().map(address).collect();
        resettle(&all, 0, &said);
        let live = all.live();
        let there: BTreeSet<_> = live.iter().map(|number| all.at(*number).target.address().unwrap()).collect();
        assert_eq!(there.into_iter().collect::<Vec<_>>(), said);
        for number in &live {
            let now = (all.at(*number).target.address().unwrap(), all.occupant(*number));
            let before = known.insert(*number, now).unwrap_or(now);
            assert_eq!(before.0 == now.0, before.1 == now.1, "{before:?} {now:?}");
        }
        for (number, began) in &in_flight {
            assert_eq!(all.at(*number).target.address(), Some(*began));
        }
        // A request picks what is in use, and at most half of the seats are taken by what goes on for long.
        let number = all.pick(None, None);
        assert!(live.contains(&number));
        all.outstanding(number).fetch_add(1, Relaxed);
        in_flight.push((number, all.at(number).target.address().unwrap()));
        if in_flight.len() > 30 {
            let (number, _) = in_flight.swap_remove(random.usize(..in_flight.len()));
            all.outstanding(number).fetch_sub(1, Relaxed);
        }
    }
}

#[test]
fn a_lost_address_gets_a_request_only_when_it_is_due_and_a_retry_goes_elsewhere() {
    let all = named("'http://a.test:80'");
    resettle(&all, 0, &[address(1), address(2), address(3)]);
    let lost = all.live()[0];
    let failed = AttemptError::new(Cause::Connect, Sent::No);
    all.at(lost).reach.fail(&failed);
    assert!((0..200).all(|_| all.pick(None, None) != lost));
    all.at(lost).reach.try_again();
    assert_eq!((0..200).filter(|_| all.pick(None, None) == lost).count(), 1);
    for avoid in all.live() {
        assert!((0..200).all(|_| all.pick(Some(avoid), None) != avoid));
    }
    // The others come first, when one of them stands in.
    assert_eq!(all.beside(all.live()[1])[2], lost);
    // All are lost: there is no better one.
    all.live().into_iter().for_each(|number| all.at(number).reach.fail(&failed));
    assert!(all.live().contains(&all.pick(None, None)));
}
