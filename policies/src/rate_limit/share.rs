//! What each replica may admit of a limit that all of them share.
//!
//! A tenth of the limit in equal parts for everybody, so that nobody starts from nothing; the rest max-min fair by 1.25 times what
//! each was asked for, so that a load that grows is not held back before the next word; what nobody wants in equal parts.

/// The part of the limit that is everybody's, whatever they were asked for.
const EVERYBODYS: f64 = 0.1;
/// How much more than it was asked for a replica may want.
const ROOM: f64 = 1.25;

/// The fractions of `limit` that are admitted where these `demands` were asked for, in the same unit; together 1.
pub(super) fn shares(limit: f64, demands: &[f64]) -> Vec<f64> {
    let replicas = demands.len() as f64;
    if demands.is_empty() || limit.is_nan() || limit <= 0.0 {
        return vec![1.0 / replicas.max(1.0); demands.len()];
    }
    let floor = EVERYBODYS / replicas;
    let wants: Vec<f64> = demands.iter().map(|demand| (ROOM * demand.max(0.0) / limit - floor).max(0.0)).collect();
    let (level, left) = level(&wants, 1.0 - EVERYBODYS);
    wants.iter().map(|want| floor + want.min(level) + left / replicas).collect()
}

/// Up to where each want is met if `all` is filled in evenly, and what is left once every want is met.
fn level(wants: &[f64], all: f64) -> (f64, f64) {
    let mut ascending = wants.to_vec();
    ascending.sort_by(f64::total_cmp);
    let mut left = all;
    for (at, want) in ascending.iter().enumerate() {
        let hungry = (ascending.len() - at) as f64;
        if want * hungry > left {
            return (left / hungry, 0.0);
        }
        left -= want;
    }
    (f64::INFINITY, left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(limit: f64, demands: &[f64], expected: &[f64]) {
        let found = shares(limit, demands);
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
        assert!(close && found.len() == expected.len(), "{demands:?}: {found:?}, not {expected:?}");
    }

    #[test]
    fn an_even_load_has_equal_parts_and_a_lone_one_nearly_all() {
        check(100.0, &[200.0, 200.0], &[0.5, 0.5]);
        check(100.0, &[0.0, 0.0, 0.0, 0.0], &[0.25; 4]);
        check(100.0, &[1000.0, 0.0], &[0.95, 0.05]);
        check(100.0, &[60.0, 20.0], &[0.75, 0.25]);
        check(100.0, &[], &[]);
    }

    #[test]
    fn who_wants_less_than_an_equal_part_has_it_and_the_others_share_the_rest() {
        // A tenth in equal parts; the first wants 12.5 - 2.5 more, the others what is left of 90.
        check(100.0, &[10.0, 500.0, 500.0, 500.0], &[0.125, 0.875 / 3.0, 0.875 / 3.0, 0.875 / 3.0]);
    }

    proptest! {
        #[test]
        fn together_they_are_the_limit_and_nobody_has_less_than_its_floor(
            limit in 0.001f64..1e9,
            demands in prop::collection::vec(0.0f64..1e9, 1..40),
        ) {
            let found = shares(limit, &demands);
            prop_assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{found:?}");
            let floor = EVERYBODYS / demands.len() as f64;
            prop_assert!(found.iter().all(|share| *share >= floor - 1e-12));
        }

        #[test]
        fn nobody_goes_short_while_another_has_more(
            limit in 1.0f64..1e6,
            demands in prop::collection::vec(0.0f64..1e6, 1..20),
        ) {
            let found = shares(limit, &demands);
            let most = found.iter().copied().fold(0.0, f64::max);
            for (share, demand) in found.iter().zip(&demands) {
                let is_met = *share >= ROOM * demand / limit - 1e-9;
                prop_assert!(is_met || *share >= most - 1e-9, "{found:?} of {demands:?} at {limit}");
            }
        }

        #[test]
        fn who_is_asked_for_more_never_has_less(
            limit in 1.0f64..1e6,
            demands in prop::collection::vec(0.0f64..1e6, 1..20),
            more in 0.0f64..1e6,
        ) {
            let before = shares(limit, &demands)[0];
            let mut asked = demands;
            asked[0] += more;
            prop_assert!(shares(limit, &asked)[0] >= before - 1e-9);
        }
    }
}
