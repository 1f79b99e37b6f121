//! A page of another origin in a real browser, which reads only what it is allowed to read.

use std::process::Stdio;

use mainstay_tests::{prelude::*, proxy::TempDir};
use serde_json::Value;
use tokio::process::{Child, Command};

/// A browser that is started on a machine which does other things, too.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// What a page does: writes, repeats, mistakes, a lost answer and a look at its outcome, then reports to its own origin. Each
/// request needs a preflight, for its key and its content type.
const PAGE: &str = r#"<!doctype html><title>a shop</title><script>
const api = "API";
async function ask(path, init) {
  try {
    const reply = await fetch(api + path, init);
    const read = name => reply.headers.get(name);
    return {
      status: reply.status, slug: read("mainstay-error"), outcome: read("mainstay-outcome"),
      operation: read("operation-location"), replayed: read("idempotent-replayed"), retry: read("retry-after"),
      receipt: read("x-receipt"), secret: read("x-secret"), text: await reply.text(),
    };
  } catch (error) {
    return { failed: String(error) };
  }
}
const write = (path, key, body) => ask(path, {
  method: "POST", body, headers: { "content-type": "application/json", ...(key && { "idempotency-key": key }) },
});
(async () => {
  const seen = {};
  seen.first = await write("/payments", "k1", '{"amount": 1}');
  seen.replay = await write("/payments", "k1", '{"amount": 1}');
  seen.reused = await write("/payments", "k1", '{"amount": 2}');
  seen.missing = await write("/payments", null, '{"amount": 1}');
  seen.lost = await write("/payments?lost", "k2", '{"amount": 3}');
  seen.poll = await ask(seen.lost.operation ?? "/_mainstay/operations/0");
  seen.batch = await write("/_mainstay/operations:batchGet", null, '{"keys": ["k1"]}');
  seen.nowhere = await ask("/nowhere");
  await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
})();
</script>"#;

/// Serves the page, and takes its report.
async fn page(api: std::net::SocketAddr) -> Upstream {
    let html = PAGE.replace("API", &format!("http://{api}"));
    Upstream::start(move |seen| match seen.target.as_str() {
        "/" => Answer::ok(html.clone()).header("Content-Type", "text/html").steps(),
        "/seen" => Answer::status(204).steps(),
        _ => Answer::status(404).steps(),
    })
    .await
}

/// Opens the page; the browser ends when this is dropped.
fn open(page: &Upstream, home: &TempDir) -> Child {
    Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", home.join("profile").display()))
        .arg(format!("http://{}/", page.addr))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("Chromium is there: ./tests/run installs it")
}

/// What the page has reported.
async fn report(page: &Upstream) -> Value {
    let arrived = async {
        loop {
            let log = page.log();
            if let Some(seen) = log.requests.iter().find(|seen| seen.target == "/seen" && seen.body.complete) {
                return serde_json::from_slice(&seen.body.data).expect("the page reports JSON");
            }
            // As `eventually` does, but with the patience that a browser takes.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.expect("the page reports")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_reads_every_answer_and_a_strangers_none() {
    let service = Upstream::start(|seen| {
        if seen.target.contains("lost") {
            return vec![Step::Body, Step::Stall];
        }
        let answer =
            Answer::json(201, r#"{"state": "SUCCESS"}"#).header("Access-Control-Allow-Origin", "https://other.example");
        answer.header("X-Receipt", "7").header("X-Secret", "8").steps()
    })
    .await;
    let mut config = Config::new()
        .upstream("app", service.addr, "")
        .policy("write", "timeout: 700ms, idempotency: { required: true, replay: { headers: [X-Receipt] } }")
        .route("path: /payments, methods: [POST]", "app", "write");
    let (shop, stranger) = (page(config.data).await, page(config.data).await);
    config = config.listener(&format!("cors: {{ origins: [\"http://{}\"], expose: [X-Receipt] }}", shop.addr));
    let proxy = Proxy::start(config).await;
    let home = TempDir::new();

    let browser = open(&shop, &home);
    let seen = report(&shop).await;
    drop(browser);
    assert_eq!((&seen["first"]["status"], &seen["first"]["receipt"]), (&201.into(), &"7".into()), "{seen:#}");
    assert_eq!((&seen["first"]["outcome"], &seen["first"]["secret"]), (&"succeeded".into(), &Value::Null), "{seen:#}");
    assert_eq!((&seen["replay"]["status"], &seen["replay"]["replayed"]), (&201.into(), &"true".into()), "{seen:#}");
    assert_eq!(seen["replay"]["receipt"], "7", "{seen:#}");
    for (what, status, slug) in [
        ("reused", 422, "key-reused"),
        ("missing", 400, "key-missing"),
        ("lost", 504, "outcome-unknown"),
        ("nowhere", 404, "no-route"),
    ] {
        assert_eq!((&seen[what]["status"], &seen[what]["slug"]), (&status.into(), &slug.into()), "{what}: {seen:#}");
    }
    assert!(seen["lost"]["retry"].is_string() && seen["lost"]["outcome"] == "unknown", "{seen:#}");
    assert_eq!(seen["poll"]["status"], 200, "{seen:#}");
    assert!(seen["poll"]["text"].as_str().is_some_and(|text| text.contains("\"unknown\"")), "{seen:#}");
    assert_eq!(seen["batch"]["status"], 200, "{seen:#}");
    assert!(service.requests().iter().all(|seen| seen.method == "POST"), "no preflight reaches the service");
    assert_eq!((service.effects("k1"), service.effects("k2")), (1, 1));

    let elsewhere = TempDir::new();
    let browser = open(&stranger, &elsewhere);
    let seen = report(&stranger).await;
    drop(browser);
    for (what, answer) in seen.as_object().expect("the page reports an object") {
        assert!(answer["failed"].is_string(), "{what}: {seen:#}");
    }
    drop(proxy);
}
