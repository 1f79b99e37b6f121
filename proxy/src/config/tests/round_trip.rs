//! `config show` is complete: reading it back gives the same configuration.

use proptest::prelude::*;

use super::{good::EXAMPLE, parse, try_parse};
use crate::config::show;

/// Every key, none at its default.
pub(super) const EVERYTHING: &str = r#"
listeners:
  inbound: { address: 127.0.0.1:8081, principal: { header: X-Tenant, from: [local, 10.0.0.0/8], was: [anonymous, { header: X-Org, from: [192.0.2.0/24] }] }, client: { header: Forwarded, trusted: [local, "2001:db8::/32"], prefix6: 56 }, trust_deadline: true, access: { deny: [192.0.2.0/24, { principal: [ann, "spiffe://prod/ns/shop/**"] }] },
             cors: { origins: ["https://shop.example", "http://localhost:5173"], credentials: true, max_age: 5m, headers: [X-Tenant], expose: [X-Receipt] } }
  out: { address: "127.0.0.1:8083", direction: outbound, principal: { was: anonymous }, connect: { allow: [api.example.com:443, "*.example.com:8443", "[::1]:443"] } }
  net: { address: 0.0.0.0:8084, direction: outbound, trust_network: true }
  secure:
    address: 127.0.0.1:8443
    principal: { tls: uri, was: [{ tls: dns }, anonymous] }
    tls:
      bundle_file: /own$$.pem
      client: { ca_file: /ca.pem, required: false, crl_file: /crl.pem }
      min_version: "1.3"
      names: { pay.example.com: { cert_file: /pay.pem, key_file: /pay.key }, any.example.com: { bundle_file: /any.pem } }
  second: { address: "[::1]:8082", principal: { header: X-B, format: xfcc, was: { header: X-A, format: xfcc } }, cors: { origins: ["*"] } }
upstreams:
  app:
    endpoints: [http://127.0.0.1:9000, http://app.example.com]
    protocol: http2
    connect_timeout: 300ms
    honours_key: true
    max_connections: 7
    idle_timeout: 90s
    max_age: 7m
    resolve: { min: 2s, max: 20s, family: ipv4, max_addresses: 9, servers: ["10.0.0.10:53", "[fd00::10]:5353"] }
    balance: { hash: { header: x-tenant } }
    slow_start: 20s
    health: { path: "/health?deep=$$1", interval: 7s, timeout: 2s, unhealthy: 4, healthy: 5 }
  far:
    endpoints: [https://far.example.com., "https://[::1]:8443", "https://near.example.com.:8443"]
    tls: { ca_file: /ca$$.pem, bundle_file: /own.pem, server_name: other.example.com, identity: ["spiffe://prod/a$$b"], min_version: "1.3" }
  public: { endpoints: [https://api.example.com], trace: w3c, host: keep, headers: { set: { Authorization: { file: "/to$$ken", prefix: "Bearer " } }, remove: [X-Debug, cookie] } }
  ours: { endpoints: [https://api.example.com], forward: internal, host: "other.example.com:8443" }
  theirs: { endpoints: [http://gateway], forward: external, host: endpoint, headers: { remove: [X-Debug] } }
  turns: { endpoints: [http://a, http://b], balance: round_robin }
  caller: { endpoints: [http://a, http://b], balance: { hash: principal } }
  keyed: { endpoints: [http://a, http://b], balance: { hash: key } }
  records: { endpoints: ["srv+http://_http._tcp.orders.example.com", "srv+http://_other._tcp.orders.example.com."] }
  proven: { endpoints: ["srv+https://_https._tcp.orders.example.com/"] }
  pair: { endpoints: [https://api.example.com], tls: { cert_file: /own.pem, key_file: /own.key } }
routes:
  - name: "tenant$one"
    match: { path: "/payments/{id}/**", methods: [POST, PUT, PURGE], host: api.example.com, headers: { x-kind: "a $b 'c'" } }
    upstream: app
    policy: all
  - { match: { listener: out, host: api.example.com, port: 8443 }, upstream: app }
  - { match: { listener: [inbound, net], path: /both }, upstream: app }
  - { match: "/price$$list", upstream: app, policy: paced }
  - { match: "/", upstream: app, policy: curved }
  - { match: { path: /stripe/** }, upstream: app, rewrite: { strip_prefix: /stripe, prefix: /v1/x } }
  - { match: { path: "/pay/{id}" }, upstream: app, rewrite: { prefix: "/$$p" } }
  - { match: { listener: out, host: pay.example.com }, upstream: public, rewrite: { prefix: /v2 } }
  - { match: /**, upstream: app }
policies:
  all:
    timeout: { total: 20s, attempt: 2s, idle: 90s }
    retry:
      max_retries: 4
      backoff: { base: 10ms, max: 3s, multiplier: 1.5, jitter: none }
      budget: { percent: 12.5, min_retries_per_sec: 0.5, ttl: 30s }
      on: [connect_error, refused, reset, timeout, 429, 502, "grpc:unavailable", "grpc:4"]
      max_body: 1MiB
      hedge: { after: p90, max: 2 }
    rate_limit:
      requests: 100
      unit: 1500ms
      burst: 5
      key: "{header.X-Tenant}"
      max_keys: 10
      behavior: warm_up_queue
      queue: { max_wait: 2s }
      warm_up: { period: 20s, cold_factor: 2.5 }
      headers: true
    access:
      allow: [{ client: [10.0.0.0/8, "2001:db8::/32"], methods: [GET, POST], path: "/a/{b}/**" }, 127.0.0.1]
      deny: [{ path: "/a/{b}/c" }]
    fallback: { on: [circuit-open, 5xx], status: 203, headers: { x-from: "a $b" }, body: { items: [] } }
    cache:
      max_bytes: 1MiB
      max_body: 10KiB
      stale_if_error: 1h
      stale_while_revalidate: 30s
      invalidate: ["/a/{b}", /c/**]
    concurrency_limit:
      { max_concurrent: 10, max_wait: 50ms, max_queue: 3, adaptive: aimd, min: 2, max: 40, threshold: 250ms }
    circuit_breaker:
      error_ratio: 0.25
      slow_call: { duration: 400ms, ratio: 0.75 }
      error_count: 30
      consecutive_errors: 6
      window: 20s
      min_requests: 9
      open_duration: 7s
      half_open: { probes: 3, timeout: 4s }
      scope: endpoint
      max_ejection_percent: 50
      errors: [500, 503]
    idempotency:
      required: true
      methods: [POST, PUT]
      principal: required
      credentials: ignore
      key: { header: X-Key, syntax: strict, mint: uuidv7 }
      fingerprint: { body: json, headers: [X-Currency] }
      outcome:
        not_executed: [429, "grpc:aborted", grpc:16]
        succeeded: [200, 201]
        failed: [422]
        ongoing: [202]
        rules:
          - { status: 200, json: { /state: REJECTED, /code: [1, "1", ~], /x: { exists: true } }, then: failed }
          - { status: grpc:data_loss, then: ambiguous }
          - { json: { /a$b: { equals: { c: "$d" } } }, then: ambiguous }
      on_concurrent: { wait: 2s }
      max_body: 2MiB
      max_response: 100KiB
      retention: 36h
      tombstone: 40d
      late_response: 45s
      replay: { headers: [X-Receipt] }
      status:
        request: GET /payments/by-ref/{key}?id={path.id}
        rules: [{ status: 200, then: succeeded }, { status: 404, then: not_found }]
        settle_after: 90s
        fenced: true
        shared: true
        schedule: { first: 100ms, factor: 1.5, max: 30s, give_up: 12h }
        rate: 90/m
      resolved_response:
        succeeded: { status: 200, body: { done: true, price: "5$" }, from: none }
        failed: { status: 402, body: { done: false } }
      redirect: true
  shed: { concurrency_limit: { max_concurrent: 500, adaptive: bbr, cpu: 75%, window: 20s, cool_off: 0s } }
  paced: { rate_limit: { requests: 3, behavior: queue }, retry: { max_retries: 2, schedule: [1s, 5s], budget: none, hedge: { after: 50ms } } }
  other: { fallback: { upstream: app } }
  stale: { cache: {}, fallback: { stale: 1h } }
  curved: { rate_limit: { requests: 3, key: principal, behavior: warm_up }, idempotency: true }
  liked: { idempotency: { key: { from: "{principal}:{header.X-Id}:{json:/a$b}:{query.q}", mint: snowflake } } }
  said: { idempotency: { key: { from: fingerprint, window: 15s } } }
ledger: { store: memory, max_open: 500, max_bytes: 8MiB, node: 7 }
telemetry:
  service_name: pay$$
  otlp: { endpoint: "https://jaeger:4318", timeout: 3s, queue: 99, compression: gzip, tls: { ca_file: /ca.pem, min_version: "1.3" }, headers: { authorization: { file: "/tok$$en", prefix: "Bearer " }, x-org: { file: /org } } }
  propagation: [b3multi, jaeger]
  sample_ratio: 0.01
  trace_url: "http://jaeger/trace/{trace_id}"
  logs: { format: text, level: "info,mainstay=debug", access: false }
probes: { address: 127.0.0.1:9999, ready: { ledger: never } }
admin: { address: "0.0.0.0:9998", token_file: /run/$$secret/token, reveal: true, bulk_not_executed: true,
  tokens: [{ name: ana, file: /run/ana }, { name: bo@desk, file: /run/$$bo, read_only: true }],
  tls: { bundle_file: /admin$$.pem, min_version: "1.3", client: { ca_file: /people.pem, required: false, crl_file: /crl.pem }, names: { ops.example.com: { cert_file: /a.pem, key_file: /a.key } } } }
control: { path: /_ops, public_url: "https://api.example.com", rate_limit: { requests: 5, unit: 1m, key: client_ip }, list: off }
limits:
  { header_bytes: 16KiB, header_count: 50, response_header_bytes: 32KiB, response_header_count: 70, header_timeout: 3s, handshake_timeout: 2s, keep_alive: 30s, max_connection_age: 10m,
    connections: 10, streams: 5, workers: 3, buffered_bytes: 32MiB }
drain: { delay: 0s, timeout: 1m }
"#;

#[track_caller]
fn survives(text: &str) {
    let config = parse(text);
    let shown = show(&config);
    let again = try_parse(&shown).unwrap_or_else(|errors| panic!("{errors}\n\n{shown}"));
    assert_eq!(again.config, config, "{shown}");
}

#[test]
fn what_is_shown_reads_back_equal() {
    survives(EXAMPLE);
    survives(EVERYTHING);
    survives(&format!(
        "{EXAMPLE}\nledger: {{ path: /data, settle: eventual, on_failure: stay, encrypt: {{ key_file: \"/etc/$$key\" }} }}\n"
    ));
    survives(&format!(
        "{EXAMPLE}\nledger: {{ store: postgres, url: \"postgres://m@localhost/d\", service: payments }}\n"
    ));
    survives(&format!(
        "{EXAMPLE}\nledger: {{ store: postgres, url: \"postgres://m@db-1:5432,db-2:5433/d\", tls: {{ mode: off }}, schema: pay, \
         service: payments, password_file: /p, timeouts: {{ connect: 2s, answer: 600ms, begin: 3s, settle: 4s, read: 5s }}, \
         lease: {{ heartbeat: 1s, ttl: 7s }}, wait_poll: 30ms, migrate: check, durability: declared, ready_without: false, \
         encrypt: {{ key_file: /k }}, max_open: 7 }}\n"
    ));
    survives(
        &format!("{EXAMPLE}\nledger: {{ store: postgres, url: \"postgres://m@localhost/d\", service: payments }}\n")
            .replace("rate_limit: 500/s,", "rate_limit: { requests: 500, scope: service },"),
    );
    for tls in [
        "",
        ", tls: { ca_file: /ca.pem }",
        ", tls: { mode: verify-full, ca_file: /ca, cert_file: /cert, key_file: /key, min_version: \"1.3\" }",
        ", tls: { bundle_file: /both }",
    ] {
        survives(&format!(
            "{EXAMPLE}\nledger: {{ store: postgres, url: \"postgres://m@db/d\", service: payments{tls} }}\n"
        ));
    }
}

#[test]
fn showing_fills_in_every_default() {
    let shown = show(&parse(EXAMPLE));
    for key in ["connect_timeout", "keep_alive", "tombstone", "open_duration", "min_retries_per_sec", "sample_ratio"] {
        assert!(shown.contains(&format!("{key}:")), "{key} is not shown:\n{shown}");
    }
}

proptest! {
    #[test]
    fn any_durations_and_numbers_read_back_equal(
        total in 1u64..10_000_000_000_000,
        requests in 1u32..1_000_000,
        unit in 1u64..100_000_000_000,
        percent in 0.0f64..1000.0,
        bytes in 0u64..1_000_000,
    ) {
        survives(&EXAMPLE.replace(
            "read:  { timeout: 1s, retry: 3, rate_limit: 500/s,",
            &format!(
                "read:  {{ timeout: {total}ns, retry: {{ max_retries: 1, max_body: {bytes}B, budget: {{ percent: {percent} }} }},
                   rate_limit: {requests}/{unit}ns,",
            ),
        ));
    }

    #[test]
    fn any_text_gives_an_answer(text in ".{0,400}") {
        let _ = try_parse(&text);
    }

    #[test]
    fn any_mangled_configuration_gives_an_answer(
        at in 0usize..EVERYTHING.len(),
        length in 0usize..40,
        insert in "[ -~\n\t]{0,12}",
    ) {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        let end = (at + length).min(text.len());
        text.splice(at.min(end)..end, insert.chars());
        let text: String = text.into_iter().collect();
        if let Ok(loaded) = try_parse(&text) {
            let again = try_parse(&show(&loaded.config));
            prop_assert_eq!(again.map(|again| again.config), Ok(loaded.config));
        }
    }
}
