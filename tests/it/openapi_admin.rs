//! What the operators' interface says of itself is what it serves.

use mainstay_tests::{prelude::*, proxy::run};
use serde_json::{Value, json};

use super::admin::{act, losing, proxy_before, seen};

#[tokio::test]
async fn each_address_of_the_document_answers_to_its_methods_and_to_no_other() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let document = seen(&proxy, "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 20, "{document}");
    for (path, methods) in paths {
        let target = path.replace("{id}", &"0".repeat(32)).replace("{name}", "p@app").replace("{page}", "runbook.md");
        // A stream would not end: what it is not asked for it refuses.
        let target = if path == "/events" { "/events?kind=nothing".to_owned() } else { target };
        let methods = methods.as_object().expect("methods");
        let of = |method: &str| match method {
            "get" => Request::get(&target),
            other => {
                let request = Request::new(&other.to_uppercase(), &target).body("{}");
                request.header("Content-Type", "application/json")
            }
        };
        for method in methods.keys().filter(|_| path != "/drain") {
            let reply = proxy.operate(of(method)).await;
            // There is no breaker of that name.
            let is_there = reply.header("mainstay-error") != Some("no-route") || path.starts_with("/breakers/");
            assert!(is_there && reply.status != 405 && reply.status < 500, "{method} {path}: {}", reply.text());
        }
        for method in ["get", "post", "put", "delete"].into_iter().filter(|method| !methods.contains_key(*method)) {
            let reply = proxy.operate(of(method)).await;
            assert_eq!(reply.status, 405, "{method} {path}: {}", reply.text());
        }
    }
    assert_eq!(act(&proxy, "/drain", None, json!({})).await.status, 200);
}

#[tokio::test]
async fn both_documents_are_printed_without_a_proxy_as_they_are_served() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let printed = async |whose: &str| {
        let output = run(&["openapi", whose]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(printed("admin").await, seen(&proxy, "/openapi.json").await.json());
    let mut served = proxy.get("/_mainstay/openapi.json").await.json();
    let mut client = printed("client").await;
    // Where it is served is known to the one that serves it.
    served["servers"].take();
    client["servers"].take();
    assert_eq!(client, served);
    assert_eq!(run(&["openapi", "both"]).await.status.code(), Some(2));
}
