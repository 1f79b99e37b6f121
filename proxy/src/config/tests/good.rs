//! Every short and long form, and what it means.

use std::time::Duration;

use super::parse;

/// The example of the design and of the README.
pub(super) const EXAMPLE: &str = "
listeners:
  inbound:
    address: 0.0.0.0:8080
upstreams:
  app:
    endpoints: [http://127.0.0.1:9000]
routes:
  - match: { path: /payments/**, methods: [POST] }
    upstream: app
    policy: write
  - match: { path: /** }
    upstream: app
    policy: read
policies:
  read:  { timeout: 1s, retry: 3, rate_limit: 500/s, circuit_breaker: { error_ratio: 0.5 } }
  write: { timeout: { total: 2s, attempt: 600ms }, idempotency: { required: true } }
";

#[test]
fn the_designs_example_means_what_it_says() {
    let config = parse(EXAMPLE);
    let [write, read] = config.routes.as_slice() else { panic!("two routes") };
    assert_eq!((&*write.name, &*write.policy.name), ("/payments/**", "write"));
    assert_eq!(write.policy.timeout.total, Duration::from_secs(2));
    assert_eq!(write.policy.timeout.attempt, Some(Duration::from_millis(600)));
    assert!(write.policy.idempotency.as_ref().is_some_and(|idempotency| idempotency.required));
    assert_eq!(read.policy.retry.as_ref().map(|retry| retry.max_retries), Some(3));
    assert_eq!(read.policy.circuit_breaker.as_ref().and_then(|breaker| breaker.error_ratio), Some(0.5));
    assert_eq!(read.upstream.endpoints[0].authority, "127.0.0.1:9000");
}
