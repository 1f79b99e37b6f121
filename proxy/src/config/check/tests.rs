//! What `check` warns about, and what it leaves in peace.

use std::time::Duration;

use super::bounds;
use crate::config::{Loaded, finding::Severity, parse};

fn report(routes: &str, policies: &str) -> Loaded {
    report_on(&format!("routes: [{routes}]\npolicies: {{ {policies} }}\n"))
}

fn report_on(text: &str) -> Loaded {
    let mut document = text.to_owned();
    for (key, section) in [
        ("listeners:", "listeners: { inbound: { address: 0.0.0.0:8080 } }"),
        ("upstreams:", "upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }"),
    ] {
        if !text.contains(key) {
            document.push_str(section);
            document.push('\n');
        }
    }
    match parse("mainstay.yaml", &document) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors}\n\n{document}"),
    }
}

/// One route that uses the policy; safe methods only, so that nothing is said about writes.
fn warnings(policy: &str) -> Vec<String> {
    texts(&report("{ match: { path: /a, methods: [GET] }, upstream: app, policy: it }", &format!("it: {policy}")))
}

/// Said of nearly every document that is as short as those here; each has a test of its own.
const USUAL: [&str; 4] = ["unprotected-write", "doubt-without-status", "ledger-in-memory", "anonymous-keys"];

/// What else is said.
fn texts(loaded: &Loaded) -> Vec<String> {
    let others = loaded.findings.iter().filter(|finding| !USUAL.contains(&finding.code));
    others.map(|finding| finding.message.clone()).collect()
}

/// What is said under this code, each with its cure.
fn of(loaded: &Loaded, code: &str) -> Vec<String> {
    loaded.findings.iter().filter(|finding| finding.code == code).map(super::super::finding::Finding::text).collect()
}

#[track_caller]
fn warns(policy: &str, expected: &[&str]) {
    assert_eq!(warnings(policy), expected, "{policy}");
}

#[test]
fn a_policy_that_works_is_left_in_peace() {
    warns(
        "{ timeout: { total: 5s, attempt: 1s }, retry: 2, circuit_breaker: { error_ratio: 0.5 }, rate_limit: 5/s }",
        &[],
    );
    warns("{ timeout: 1s }", &[]);
}

#[test]
fn timeouts_that_never_act_are_named() {
    warns(
        "{ timeout: { total: 1s, attempt: 2s } }",
        &["policy `it`: `timeout.attempt` (2s) is not shorter than `timeout.total` (1s), so it never ends an attempt"],
    );
    warns(
        "{ timeout: { total: 1s, attempt: 400ms }, retry: 5 }",
        &["policy `it`: when attempts time out (400ms each), only 3 of 6 fit into `timeout.total` (1s)"],
    );
    warns(
        "{ timeout: 1s, circuit_breaker: { error_ratio: 0.5 } }",
        &[
            "policy `it`: without `timeout.attempt` an attempt that hangs lasts until `timeout.total`: the circuit breaker \
           sees it only then",
        ],
    );
}

#[test]
fn waits_that_cannot_fit_are_named() {
    warns(
        "{ timeout: { total: 3s, attempt: 100ms }, retry: { max_retries: 3, schedule: [1s, 5s, 30s] } }",
        &["policy `it`: the waits of 2 of 3 retries do not fit into `timeout.total` (3s), so they are never made"],
    );
    warns(
        "{ timeout: { total: 1s, attempt: 100ms },
           retry: { max_retries: 4, backoff: { base: 200ms, multiplier: 2, max: 10s, jitter: none } } }",
        &["policy `it`: the waits of 2 of 4 retries do not fit into `timeout.total` (1s), so they are never made"],
    );
}

#[test]
fn limits_and_retries_without_effect_are_named() {
    warns("{ retry: { on: [503] } }", &["policy `it`: `retry` without `max_retries` retries nothing"]);
    warns(
        "{ concurrency_limit: { max_concurrent: 5, max_queue: 5 } }",
        &["policy `it`: `concurrency_limit.max_queue` has no effect without `max_wait`: no request waits"],
    );
    warns("{ concurrency_limit: { max_concurrent: 3, adaptive: bbr, cpu: 99% } }", &[]);
    warns(
        "{ concurrency_limit: { max_concurrent: 2, adaptive: bbr, cpu: 100% } }",
        &[
            "policy `it`: `concurrency_limit.adaptive: bbr` has no effect with a `max_concurrent` below 3: it always leaves \
             two requests in flight",
            "policy `it`: `concurrency_limit.cpu` is 100%, which a smoothed load hardly ever reaches: almost nothing is shed",
        ],
    );
}

#[test]
fn settling_that_cannot_work_is_named() {
    let status = |request: &str, more: &str| {
        format!(
            "{{ idempotency: {{ {more} status: {{ request: '{request}', settle_after: 45s,
               rules: [{{ status: 404, then: not_found }}] }} }} }}"
        )
    };
    warns(&status("GET /a/{key}", ""), &[]);
    warns(
        &status("GET /a", "retention: 1h,"),
        &[
            "policy `it`: `idempotency.retention` (1h) is shorter than `status.schedule.give_up` (1d): responses expire while \
             writes are still being settled",
            "policy `it`: `status.request` holds neither {key} nor {operation} nor {path.NAME}, so every write gets one answer",
        ],
    );
}

#[test]
fn principals_that_no_listener_knows_are_named() {
    warns(
        "{ idempotency: { principal: required }, rate_limit: { requests: 5, key: principal } }",
        &[
            "policy `it`: `principal: required`, but listener `inbound` is anonymous: there a keyed write always gets 401",
            "policy `it`: `rate_limit.key: principal`, but listener `inbound` is anonymous: there all callers share one limit",
        ],
    );
}

#[test]
fn content_of_whoever_sends_it_is_told_where_nobody_is_named() {
    let route = "routes: [{ match: { path: /a, methods: [POST] }, upstream: app, policy: it }]\n";
    let told = |idempotency: &str, principal: &str| {
        let listener = format!("listeners: {{ inbound: {{ address: 127.0.0.1:8080, principal: {principal} }} }}\n");
        let text = format!("{route}policies: {{ it: {{ idempotency: {idempotency} }} }}\n{listener}");
        of(&report_on(&text), "no-principal").iter().filter(|text| text.contains("409 caller-differs")).count()
    };
    let key = "key: { from: fingerprint, window: 10s }";
    assert_eq!(told(&format!("{{ {key} }}"), "anonymous"), 1);
    assert_eq!(told(&format!("{{ {key}, credentials: ignore }}"), "anonymous"), 0);
    assert_eq!(told(&format!("{{ {key} }}"), "{ header: X-Tenant }"), 0);
    assert_eq!(told("true", "anonymous"), 0);
}

#[test]
fn a_front_whose_word_would_not_count_is_noted_where_there_may_be_one() {
    let noted = |listener: &str, policy: &str| {
        let text = format!(
            "routes: [{{ match: {{ path: /a, methods: [GET] }}, upstream: app, policy: it }}]\npolicies: {{ it: {policy} \
             }}\nlisteners: {{ inbound: {{ {listener} }} }}\n"
        );
        report_on(&text).findings.iter().map(|finding| (finding.severity, finding.code)).collect::<Vec<_>>()
    };
    let from = [(Severity::Note, "principal-from")];
    let client = [(Severity::Note, "client-is-the-peer")];
    for (listener, policy, expected) in [
        ("address: 0.0.0.0:8080, principal: { header: X-Tenant }", "{ timeout: 1s }", &from[..]),
        ("address: 0.0.0.0:8080, principal: { header: X-Tenant, from: [local] }", "{ timeout: 1s }", &[]),
        ("address: 127.0.0.1:8080, principal: { header: X-Tenant }", "{ timeout: 1s }", &[]),
        ("address: 0.0.0.0:8080", "{ rate_limit: { requests: 5, key: client_ip } }", &client[..]),
        ("address: 0.0.0.0:8080", "{ access: [10.0.0.0/8] }", &client[..]),
        ("address: 0.0.0.0:8080, access: [10.0.0.0/8]", "{ timeout: 1s }", &client[..]),
        ("address: 0.0.0.0:8080", "{ rate_limit: 5/s }", &[]),
        ("address: 127.0.0.1:8080", "{ rate_limit: { requests: 5, key: client_ip } }", &[]),
        (
            "address: 0.0.0.0:8080, client: { trusted: [10.0.0.0/8] }",
            "{ rate_limit: { requests: 5, key: client_ip } }",
            &[],
        ),
    ] {
        assert_eq!(noted(listener, policy), expected, "{listener} {policy}");
    }
}

/// By whether a client's own key may be what the service is asked by and has never seen.
#[test]
fn a_service_that_is_asked_by_a_key_it_may_not_know_is_named() {
    const NOT_FOUND: &str = "{ status: 404, then: not_found }";
    let told = |key: &str, request: &str, rule: &str, upstream: &str| {
        let text = format!(
            "routes: [{{ match: {{ path: /a, methods: [POST] }}, upstream: app, policy: it }}]
upstreams: {{ app: {{ endpoints: [http://127.0.0.1:9000]{upstream} }} }}
policies: {{ it: {{ idempotency: {{ key: {{ {key} }}, status: {{ request: '{request}', rules: [{rule}] }} }} }} }}
"
        );
        of(&report_on(&text), "status-key-mismatch")
    };
    let (made, asked) = ("from: '{json:/ref}'", "GET /a?ref={key}");
    let said = told(made, asked, NOT_FOUND, "");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("`key: { header: X-Write-Ref, from: \"{json:/ref}\" }`"), "{said:?}");
    assert_eq!(told("from: 'a:{header.X-Ref}'", asked, "{ status: 404, then: not_executed }", "").len(), 1);
    for (key, request, rule, upstream, why) in [
        ("header: X-Ref, from: '{json:/ref}'", asked, NOT_FOUND, "", "clients send no such header"),
        ("header: Idempotency-Key, from: '{json:/ref}'", asked, NOT_FOUND, "", "it is said that the service stores it"),
        (made, asked, NOT_FOUND, ", honours_key: true", "a service that executes a key once has stored it"),
        (made, "GET /a/{operation}", NOT_FOUND, "", "nobody is asked by a key"),
        (made, asked, "{ status: 200, then: succeeded }", "", "no answer frees a key"),
        ("from: fingerprint", asked, NOT_FOUND, "", "it is known from the header only"),
        ("mint: uuidv7", asked, NOT_FOUND, "", "it is known from the header only"),
    ] {
        assert_eq!(told(key, request, rule, upstream), [""; 0], "{why}");
    }
}

#[test]
fn a_listener_that_knows_nobody_counts_for_the_policies_of_its_own_routes() {
    let said = |routes: &str| {
        let text = format!(
            "listeners:
  inbound: {{ address: 127.0.0.1:8080 }}
  known: {{ address: 127.0.0.1:8081, principal: {{ header: X-Tenant }} }}
  outbound: {{ address: 127.0.0.1:8082, direction: outbound }}
upstreams: {{ app: {{ endpoints: [http://127.0.0.1:9000] }} }}
routes: [{{ match: {{ path: /out, listener: outbound }}, upstream: app }}, {routes}]
policies: {{ it: {{ idempotency: true, rate_limit: {{ requests: 5, key: principal }} }} }}
"
        );
        let loaded = report_on(&text);
        [of(&loaded, "anonymous-keys").len(), of(&loaded, "no-principal").len()]
    };
    let route = |path: &str, listeners: &str| {
        format!("{{ match: {{ path: {path}, methods: [POST]{listeners} }}, upstream: app, policy: it }}")
    };
    assert_eq!(said(&route("/a", "")), [1, 1]);
    assert_eq!(said(&route("/a", ", listener: [inbound]")), [1, 1]);
    assert_eq!(said(&route("/a", ", listener: [outbound]")), [0, 0], "every caller there is known");
    assert_eq!(said(&route("/a", ", listener: [known]")), [0, 0]);
    let both = format!("{}, {}", route("/a", ", listener: [outbound]"), route("/b", ", listener: [inbound]"));
    assert_eq!(said(&both), [1, 1]);
}

#[test]
fn whose_keys_are_where_nobody_is_named_is_noted() {
    let route = "routes: [{ match: { path: /a, methods: [POST] }, upstream: app, policy: it }]\n";
    let noted = |idempotency: &str, principal: &str| {
        let listener = format!("listeners: {{ inbound: {{ address: 0.0.0.0:8080, principal: {principal} }} }}\n");
        let text = format!("{route}policies: {{ it: {{ idempotency: {idempotency} }} }}\n{listener}");
        let loaded = report_on(&text);
        let noted = loaded.findings.iter().filter(|finding| finding.code == "anonymous-keys");
        noted.map(|finding| (finding.severity, finding.message.clone())).collect::<Vec<_>>()
    };
    let bound = "policy `it`: listener `inbound` is anonymous: there a key belongs to the credentials that it was first used \
                 with, and a renewed token is refused";
    assert_eq!(noted("true", "anonymous"), [(Severity::Note, bound.to_owned())]);
    let open = "policy `it`: listener `inbound` is anonymous: there whoever knows a key may repeat its write and is given the \
                answer";
    assert_eq!(noted("{ credentials: ignore }", "anonymous"), [(Severity::Note, open.to_owned())]);
    assert_eq!(noted("true", "{ header: X-Tenant }"), []);
}

#[test]
fn writes_without_a_key_are_named_unless_that_is_said() {
    let route = |methods: &str| format!("{{ match: {{ path: /a{methods} }}, upstream: app, policy: it }}");
    let said =
        |methods: &str, policy: &str| of(&report(&route(methods), &format!("it: {policy}")), "unprotected-write");
    let lost = "nobody can tell what became of one whose answer is lost";
    let add = "add `idempotency` to the policy, or say `idempotency: off`";
    assert_eq!(said(", methods: [GET, PUT]", "{ timeout: 1s }"), [""; 0]);
    assert_eq!(said("", "{ idempotency: off }"), [""; 0]);
    assert_eq!(said("", "{ idempotency: true }"), [""; 0]);
    assert_eq!(
        said(", methods: [POST]", "{ timeout: 1s }"),
        [format!("route `/a`: POST requests carry no key here: {lost}; {add}")]
    );
    assert_eq!(
        said("", "{ idempotency: { methods: [POST] }, retry: 2 }"),
        [format!(
            "route `/a`: PATCH requests carry no key here: {lost}, and they are retried only when nothing was sent; name the \
             `methods` of this route, or {add}"
        )]
    );
    let without_policy = report("{ match: /a, upstream: app }", "");
    assert_eq!(of(&without_policy, "unprotected-write").len(), 1);
}

#[test]
fn retries_of_writes_that_are_not_made_are_named() {
    let route = "{ match: { path: /a, methods: [POST] }, upstream: app, policy: it }";
    let policy = |more: &str| format!("it: {{ timeout: {{ total: 5s, attempt: 1s }}, retry: 2, {more} }}");
    let said = texts(&report(route, &policy("idempotency: off")));
    assert_eq!(said, ["route `/a`: POST requests carry no key here, so they are retried only when nothing was sent"]);
    let keyed = policy("idempotency: true");
    assert_eq!(
        texts(&report(route, &keyed)),
        [
            "route `/a`: upstream `app` does not declare `honours_key: true`, so keyed POST requests are retried only when nothing was \
             sent"
        ]
    );
    let honours = format!(
        "upstreams: {{ app: {{ endpoints: [http://127.0.0.1:9000], honours_key: true }} }}
routes: [{route}]
policies: {{ {keyed} }}
"
    );
    assert_eq!(texts(&report_on(&honours)), [""; 0]);
}

/// Each kind that a reader must be warned of, with a policy or a route that shows it and the next one that does not.
#[test]
fn each_doubt_has_its_code_and_goes_with_its_cure() {
    let status = |request: &str, more: &str| {
        format!(
            "it: {{ idempotency: {{ status: {{ request: '{request}', rules: [{{ status: 404, then: not_found }}]{more} }} }} }}"
        )
    };
    let get = |path: &str| format!("{{ match: {{ path: '{path}', methods: [GET] }}, upstream: app, policy: it }}");
    let writes = "{ match: { path: /a, methods: [POST] }, upstream: app, policy: it }".to_owned();
    let plain = "it: { timeout: 1s }".to_owned();
    let on_get = |policy: &str| (get("/a"), policy.to_owned());
    let cases = [
        ("doubt-without-status", on_get("it: { idempotency: true }"), on_get("it: { idempotency: { status: none } }")),
        ("doubt-without-status", on_get("it: { idempotency: {} }"), (get("/a"), status("GET /a/{key}", ""))),
        ("unprotected-write", (writes.clone(), plain.clone()), (writes, "it: { idempotency: off }".into())),
        ("looks-like-regex", (get("/a/[0-9]+"), plain.clone()), (get("/a/{id}"), plain.clone())),
        ("looks-like-regex", (get("/a/(b|c)$"), plain.clone()), (get("/a/b"), plain.clone())),
        ("trailing-slash", (get("/a/"), plain.clone()), (get("/a"), plain.clone())),
        ("trailing-slash", (get("/a/b/"), plain.clone()), (get("/"), plain.clone())),
        ("unsafe-status-request", (get("/a"), status("POST /a/{key}", "")), (get("/a"), status("GET /a/{key}", ""))),
        (
            "replays-without-cors",
            (
                "{ match: { path: /a, methods: [OPTIONS] }, upstream: app, policy: it }".into(),
                "it: { idempotency: true }".into(),
            ),
            (
                "{ match: { path: /a, methods: [GET] }, upstream: app, policy: it }".into(),
                "it: { idempotency: true }".into(),
            ),
        ),
        (
            "retry-without-budget",
            on_get("it: { retry: { max_retries: 2, budget: none } }"),
            on_get("it: { retry: { max_retries: 2 } }"),
        ),
    ];
    for (code, (bad_route, bad_policy), (good_route, good_policy)) in cases {
        let found = of(&report(&bad_route, &bad_policy), code);
        assert_eq!(found.len(), 1, "{code}: {bad_route} {bad_policy}");
        let found = of(&report(&good_route, &good_policy), code);
        assert!(found.is_empty(), "{code}: {good_route} {good_policy}: {found:?}");
    }
}

#[test]
fn every_finding_knows_its_place_its_setting_and_its_cure() {
    let loaded = report(
        "{ match: { path: /b/ }, upstream: app, policy: it }",
        "it: { retry: { max_retries: 2, budget: none } }, idle: { idempotency: true }",
    );
    assert!(loaded.findings.len() >= 5, "{:?}", loaded.findings);
    for finding in &loaded.findings {
        assert!(finding.line.is_some() && finding.column.is_some(), "{finding:?}");
        assert!(finding.subject.is_some() && !finding.cure.is_empty(), "{finding:?}");
        assert!(!finding.code.contains(' ') && finding.source.is_some(), "{finding:?}");
    }
    let budget = loaded.findings.iter().find(|finding| finding.code == "retry-without-budget");
    let budget = budget.expect("there is no budget");
    assert_eq!(budget.subject.as_deref(), Some("policies.it.retry.budget"));
    assert_eq!(budget.at(), "mainstay.yaml:2:52");
    assert!(budget.message.contains("up to 3 times its load"), "{budget}");
    let slash = loaded.findings.iter().find(|finding| finding.code == "trailing-slash").expect("it ends with a slash");
    assert_eq!(slash.subject.as_deref(), Some("routes[0].match.path"));
}

#[test]
fn what_a_reload_does_not_change_is_compared_with_what_runs() {
    let with = |probes: &str| report_on(&format!("routes: [{{ match: /a, upstream: app }}]\n{probes}\n"));
    let running = with("probes: { address: 127.0.0.1:1 }");
    let changed = with("probes: { address: 127.0.0.1:2 }");
    let said: Vec<String> = changed
        .restarts(&running.config)
        .iter()
        .map(|finding| format!("{} {}", finding.at(), finding.text()))
        .collect();
    assert_eq!(
        said,
        ["mainstay.yaml:2:1 a change of `probes` takes effect at the next start; restart the proxy, or take it back"]
    );
    assert!(running.restarts(&running.config).is_empty());
}

#[test]
fn routes_that_never_match_are_named() {
    let shadowed = |first: &str, second: &str| {
        let route = |text: &str| format!("{{ match: {text}, upstream: app }}");
        let found = texts(&report(&format!("{}, {}", route(first), route(second)), ""));
        assert!(found.iter().all(|text| text.contains("never matches")), "{found:?}");
        !found.is_empty()
    };
    assert!(shadowed("/**", "/a"));
    assert!(shadowed("/a/**", "'/a/{id}'"));
    assert!(shadowed("/a/**", "/a"), "a rest matches the bare prefix");
    assert!(shadowed("'/{x}/b'", "/a/b"));
    assert!(shadowed("{ path: /a }", "{ path: /a, methods: [GET], host: x, headers: { a: b } }"));
    assert!(shadowed("{ path: /a, methods: [GET, POST] }", "{ path: /a, methods: [GET] }"));
    assert!(!shadowed("/a", "/**"));
    assert!(!shadowed("/a/b", "'/a/{id}'"));
    assert!(!shadowed("'/a/{id}'", "/a/**"));
    assert!(!shadowed("/a/b/**", "/a"));
    assert!(!shadowed("{ path: /**, methods: [POST] }", "/**"));
    assert!(!shadowed("{ path: /**, headers: { a: b } }", "/**"));
    assert!(!shadowed("{ path: /**, host: x }", "{ path: /**, host: y }"));
    let control = texts(&report("{ match: /_mainstay/operations, upstream: app }", ""));
    assert_eq!(control, ["route `/_mainstay/operations` never matches: `/_mainstay` belongs to Mainstay"]);
    assert_eq!(texts(&report("{ match: /_mainstays, upstream: app }", "")), [""; 0]);
}

#[test]
fn what_no_route_uses_is_named() {
    let text = "upstreams: { app: { endpoints: [http://127.0.0.1:1] }, spare: { endpoints: [http://127.0.0.1:2] } }
routes: [{ match: /**, upstream: app }]
policies: { idle: { timeout: 1s } }
drain: { timeout: 5s }
";
    assert_eq!(
        texts(&report_on(text)),
        [
            "upstream `spare`: no route uses it",
            "policy `idle`: no route uses it",
            "`drain.timeout` (5s) is shorter than the longest `timeout.total` (15s): requests in flight may be cut off at exit",
        ]
    );
}

#[test]
fn the_worst_case_adds_every_wait() {
    let report = report(
        "{ match: { path: /a, methods: [POST] }, upstream: app, policy: it }",
        "it: { timeout: 2s, rate_limit: { requests: 5, behavior: queue }, idempotency: { on_concurrent: { wait: 3s } },
               concurrency_limit: { max_concurrent: 5, max_wait: 250ms } }",
    );
    let bounds = &bounds(&report.config)[0];
    assert_eq!(bounds.latency, Duration::from_millis(5750));
    assert_eq!(
        bounds.latency_because,
        "timeout.total 2s + rate_limit.queue.max_wait 500ms + concurrency_limit.max_wait 250ms + \
         idempotency.on_concurrent.wait 3s"
    );
    assert_eq!((bounds.attempts, bounds.attempts_because.as_str()), (1, "nothing is retried"));
}

#[test]
fn attempts_are_bounded_by_retries_and_by_time() {
    let attempts = |policy: &str| {
        let report = report("{ match: /a, upstream: app, policy: it }", &format!("it: {policy}"));
        (bounds(&report.config)[0].attempts, bounds(&report.config)[0].attempts_because.clone())
    };
    assert_eq!(attempts("{ retry: 3 }"), (4, "1 + max_retries 3".into()));
    assert_eq!(
        attempts("{ timeout: 10s, retry: { max_retries: 9, schedule: [1s, 5s] } }"),
        (3, "the waits of only 2 of 9 retries fit into 10s".into())
    );
}

#[test]
fn keys_that_are_never_made_or_are_made_twice_are_named() {
    let report = report(
        "{ match: { path: '/likes/{id}', methods: [POST] }, upstream: app, policy: it },
         { match: { path: '/follows/{id}', methods: [POST] }, upstream: app, policy: it }",
        "it: { idempotency: { key: { from: '{principal}:{path.id}' } } }",
    );
    let texts = texts(&report);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[1].contains("no key is ever made"), "{texts:?}");
    assert!(texts[0].contains("route `/follows/{id}`: its keys are those of route `/likes/{id}`"), "{texts:?}");
}

#[test]
fn snowflakes_of_instances_without_a_number_are_named() {
    let texts = |ledger: &str| {
        texts(&report_on(&format!(
            "routes: [{{ match: {{ path: /a, methods: [POST] }}, upstream: app, policy: it }}]
policies: {{ it: {{ idempotency: {{ key: {{ mint: snowflake }} }} }} }}
ledger: {{ store: memory{ledger} }}
"
        )))
    };
    assert!(texts("").iter().any(|text| text.contains("mints snowflakes without `ledger.node`")), "{:?}", texts(""));
    assert!(texts(", node: 3").is_empty());
}

#[test]
fn a_file_that_a_credential_comes_from_is_looked_into() {
    let directory = std::env::temp_dir().join(format!("mainstay-check-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&directory).expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (good, empty) = (file("good", "token\n"), file("empty", "\n"));
    let absent = directory.join("absent").display().to_string();
    let loaded = report_on(&format!(
        "listeners: {{ out: {{ address: '127.0.0.1:8081', direction: outbound }} }}\n\
         routes: [{{ match: {{ listener: out, methods: [GET] }}, upstream: app }}]\n\
         upstreams:\n  app:\n    endpoints: [http://127.0.0.1:9000]\n    headers:\n      set:\n        \
         X-Good: {{ file: {good} }}\n        X-Empty: {{ file: {empty} }}\n        X-Absent: {{ file: {absent} }}\n"
    ));
    let unusable = of(&loaded, "secret-file-unusable");
    assert!(unusable.len() == 1 && unusable[0].contains("x-empty") && unusable[0].contains(&empty), "{unusable:?}");
    let missing = of(&loaded, "secret-file-missing");
    assert!(missing.len() == 1 && missing[0].contains(&absent), "{missing:?}");
    std::fs::remove_dir_all(&directory).expect("it is there");
}
