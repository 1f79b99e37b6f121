//! What callers find under `/_mainstay` beside operations: an index, the document for programs, and pages for people.

use mainstay_tests::prelude::*;
use serde_json::Value;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn as_browser(proxy: &Proxy, target: &str) -> Reply {
    let page = proxy.send(Request::get(target).header("Accept", BROWSER)).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!page.text().contains("<script"), "{}", page.text());
    page
}

#[tokio::test]
async fn there_is_an_index_and_the_document_that_it_names() {
    let upstream = Upstream::answering(Answer::ok("ok")).await;
    let proxy = Proxy::start(Config::single(upstream.addr, "timeout: 5s, idempotency: true")).await;
    for target in ["/_mainstay", "/_mainstay/"] {
        let index: Value = serde_json::from_str(&proxy.get(target).await.text()).unwrap();
        assert_eq!(index["problems"], "/_mainstay/problems");
        assert!(as_browser(&proxy, target).await.text().contains("href=\"/_mainstay/problems\""));
        let document: Value =
            serde_json::from_str(&proxy.get(index["openapi"].as_str().unwrap()).await.text()).unwrap();
        assert_eq!(document["servers"][0]["url"], "/_mainstay");
        assert!(document["paths"]["/operations/{id}"]["get"].is_object());
    }
    assert_eq!(upstream.count(), 0, "the service is not asked");
}

#[tokio::test]
async fn to_a_browser_a_write_in_doubt_is_a_page_that_looks_again_until_it_is_settled() {
    let gate = Gate::new();
    let open = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, "{}").behind(&open),
    })
    .await;
    let status = "status: { request: \"GET /by-ref/{key}\", rules: [{ status: 200, then: succeeded }] }";
    let policy = format!("timeout: 5s, idempotency: {{ required: true, {status} }}");
    let proxy = Proxy::start(Config::single(upstream.addr, &policy)).await;
    let lost = proxy.send(Request::keyed("/pay", "lost", "x")).await;
    let address = lost.header("operation-location").unwrap().to_owned();
    let page = as_browser(&proxy, &address).await;
    assert!(
        page.text().contains("http-equiv=\"refresh\"") && page.text().contains("Do not send it again"),
        "{}",
        page.text()
    );
    assert_eq!(page.header("vary"), Some("accept"));
    gate.open();
    let page = eventually("the page says that it is done", || async {
        Some(as_browser(&proxy, &address).await).filter(|page| page.text().contains("It is done"))
    })
    .await;
    assert!(!page.text().contains("http-equiv=\"refresh\""), "{}", page.text());
    let document = proxy.get(&address).await;
    assert_eq!(document.header("content-type"), Some("application/json"), "programs are told as before");
    let foreign = proxy
        .send(Request::get("/_mainstay/operations/00000000000000010000000000000001").header("Accept", BROWSER))
        .await;
    foreign.expect_problem(404, "operation-not-found");
}

#[tokio::test]
async fn with_a_public_address_links_are_whole() {
    let upstream = Upstream::start(|_| vec![Step::Body, Step::Reset]).await;
    let config = Config::single(upstream.addr, "timeout: 5s, idempotency: true")
        .top("control: { public_url: \"https://api.example.com/\" }");
    let proxy = Proxy::start(config).await;
    let lost = proxy.send(Request::keyed("/pay", "lost", "x")).await;
    let document = lost.expect_problem(502, "outcome-unknown");
    let address = lost.header("operation-location").unwrap();
    assert!(address.starts_with("https://api.example.com/_mainstay/operations/"), "{address}");
    assert_eq!(document["operation"], address);
    assert_eq!(document["type"], "https://api.example.com/_mainstay/problems/outcome-unknown");
    let index: Value = serde_json::from_str(&proxy.get("/_mainstay/").await.text()).unwrap();
    assert_eq!(index["ids"], "https://api.example.com/_mainstay/ids");
    let path = address.strip_prefix("https://api.example.com").unwrap();
    assert_eq!(proxy.get(path).await.status, 200, "and it is there");
}
