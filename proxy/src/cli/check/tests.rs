//! What `mainstay check` prints.

use super::describe_within;
use crate::config::{check::MemoryBound, parse};

const EXPECTED: &str = "\
mainstay.yaml is valid: 1 listener, 1 upstream, 2 routes, 2 policies
memory: at most about 143MiB (ledger 64, buffers 64, connections 15) of 256MiB

POST /payments/** -> app, policy write
  worst-case latency   2s  (timeout.total 2s)
  worst-case attempts  1  (nothing is retried)

* /** (rest) -> app, policy read
  worst-case latency   1s  (timeout.total 1s)
  worst-case attempts  4  (1 + max_retries 3)

mainstay.yaml:5:5: warning: route `rest`: POST and PATCH requests carry no key here: nobody can tell what became of one whose \
answer is lost, and they are retried only when nothing was sent [unprotected-write]
   |
 5 |   - { name: rest, match: { path: /** }, upstream: app, policy: read }
   |     ^ name the `methods` of this route, or add `idempotency` to the policy, or say `idempotency: off`

mainstay.yaml:8:25: warning: policy `write`: a lost answer waits for a person: nothing says how to ask the service what became \
of the write [doubt-without-status]
   |
 8 |   write: { timeout: 2s, idempotency: { required: true } }
   |                         ^^^^^^^^^^^ add `status`, or say `status: none`

mainstay.yaml:8:25: note: policy `write`: listener `inbound` is anonymous: there a key belongs to the credentials that it was \
first used with, and a renewed token is refused [anonymous-keys]
   |
 8 |   write: { timeout: 2s, idempotency: { required: true } }
   |                         ^^^^^^^^^^^ say how `inbound` knows its callers: `principal: { header: X-Tenant }`
";

#[test]
fn what_is_allowed_and_doubtful_is_shown_as_errors_are() {
    let text = "listeners: { inbound: { address: 0.0.0.0:8080 } }
upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }
routes:
  - { match: { path: /payments/**, methods: [POST] }, upstream: app, policy: write }
  - { name: rest, match: { path: /** }, upstream: app, policy: read }
policies:
  read:  { timeout: { total: 1s, attempt: 300ms }, retry: 3, rate_limit: 500/s }
  write: { timeout: 2s, idempotency: { required: true } }
";
    let loaded = parse("mainstay.yaml", text).expect("the example is valid");
    let mib = |number: u64| number * 1024 * 1024;
    let memory = MemoryBound { ledger: mib(64), buffers: mib(64), connections: mib(15), limit: Some(mib(256)) };
    assert_eq!(describe_within("mainstay.yaml", &loaded, &memory), EXPECTED);
}
