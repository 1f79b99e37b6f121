//! How old connections grow.

use std::time::Duration;

/// A tenth more or less, so that connections that were opened together do not end together.
pub(crate) fn spread(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_and_no_more() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..1000).map(|_| spread(age)).collect();
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(90) && *most <= Duration::from_secs(110), "{least:?} {most:?}");
        assert!(*most > *least + Duration::from_secs(10), "{least:?} {most:?}");
    }
}
