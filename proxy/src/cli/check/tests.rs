//! What `mainstay check` prints.

use std::path::Path;

use super::describe;
use crate::config::parse;

const EXPECTED: &str = "\
mainstay.yaml is valid: 1 listener, 1 upstream, 2 routes, 2 policies

POST /payments/** -> app, policy write
  worst-case latency   2s  (timeout.total 2s)
  worst-case attempts  1  (nothing is retried)

* /** (rest) -> app, policy read
  worst-case latency   1s  (timeout.total 1s)
  worst-case attempts  4  (1 + max_retries 3)

warning: ledger: operations are kept in memory and are lost on exit; after a restart a repeated write executes again
warning: policy `read`: without `timeout.attempt` an attempt that hangs lasts until `timeout.total`: it is not retried, \
    and the circuit breaker sees it only then
warning: route `rest`: POST and PATCH requests carry no key here, so they are retried only when nothing was sent; name the \
    `methods` of this route, or add `idempotency`
";

#[test]
fn the_designs_example_is_explained() {
    let text = "
listeners: { inbound: { address: 0.0.0.0:8080 } }
upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }
routes:
  - { match: { path: /payments/**, methods: [POST] }, upstream: app, policy: write }
  - { name: rest, match: { path: /** }, upstream: app, policy: read }
policies:
  read:  { timeout: 1s, retry: 3, rate_limit: 500/s, circuit_breaker: { error_ratio: 0.5 } }
  write: { timeout: { total: 2s, attempt: 600ms }, idempotency: { required: true } }
ledger: { store: memory }
";
    let loaded = parse("mainstay.yaml", text).expect("the example is valid");
    assert_eq!(describe(Path::new("mainstay.yaml"), &loaded), EXPECTED);
}

#[test]
fn an_invalid_or_absent_file_fails() {
    assert_eq!(super::check(Path::new("no-such-file.yaml")), std::process::ExitCode::from(1));
}
