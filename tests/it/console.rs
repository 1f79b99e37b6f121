//! The console is three small files that hold no data, and that no page of another site can use. `tests/console` uses it in a
//! browser.

use std::process::Stdio;

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, binary},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::admin::{losing, proxy_before};

const FILES: [(&str, &str); 3] = [("/", "text/html"), ("/console.css", "text/css"), ("/console.js", "text/javascript")];
/// As a browser asks that is led to an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn opened(target: &str) -> Request {
    Request::get(target).header("Accept", if target == "/" { BROWSER } else { "*/*" })
}

#[tokio::test]
async fn the_console_is_three_small_files_that_run_nothing_from_elsewhere() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let mut bytes = 0;
    for (target, media_type) in FILES {
        let reply = proxy.operate(opened(target)).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        let is = |name: &str, expected: &str| assert_eq!(reply.header(name), Some(expected), "{target}: {name}");
        is("content-type", &format!("{media_type}; charset=utf-8"));
        is("cache-control", "no-store");
        is("referrer-policy", "no-referrer");
        is("x-content-type-options", "nosniff");
        is(
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        );
        assert_eq!(reply.header("set-cookie"), None, "{target}");
        assert!(reply.text().len() > 200, "{target} is empty");
        bytes += reply.body.data.len();
        assert_eq!(proxy.operate(Request::post(target, "{}").header("Accept", BROWSER)).await.status, 405, "{target}");
    }
    assert!(bytes < 80 * 1024, "{bytes} bytes");
    let page = proxy.operate(opened("/")).await.text();
    for inline in ["<style", " style=", " onclick", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}: {page}");
    }
    let script = proxy.operate(opened("/console.js")).await.text();
    for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "cookie", "localStorage"] {
        assert!(!script.contains(sink), "{sink}");
    }
}

#[tokio::test]
async fn the_console_has_the_documents_of_its_version() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    for (page, said) in [
        ("runbook.md", "## MainstayWriteContradicted"),
        ("metrics.md", "mainstay_operations_attention"),
        ("problems.md", "`outcome-unknown`"),
    ] {
        let reply = proxy.operate(Request::get(&format!("/help/{page}"))).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/markdown; charset=utf-8")), "{page}");
        assert!(reply.text().contains(said), "{page}: {}", reply.text());
    }
    proxy.operate(Request::get("/help/passwd")).await.expect_problem(404, "no-route");
}

#[tokio::test]
async fn a_program_is_not_given_the_page() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    for accept in ["application/json", "*/*"] {
        let reply = proxy.operate(Request::get("/").header("Accept", accept)).await;
        assert!(!reply.text().contains("<html"), "{accept}: {}", reply.text());
    }
}

#[tokio::test]
async fn with_a_token_the_files_come_without_it_and_the_data_does_not() {
    let upstream = losing().await;
    let home = TempDir::new();
    let file = home.join("token");
    std::fs::write(&file, "let-me-in").expect("a file can be written");
    let config = Config::single(upstream.addr, super::admin::POLICY).admin_with(&file);
    let proxy = Proxy::start(config).await;
    for (target, _) in FILES {
        assert_eq!(proxy.operate(opened(target)).await.status, 200, "{target}");
    }
    for data in ["/", "/status", "/operations", "/help/runbook.md"] {
        assert_eq!(proxy.operate(Request::get(data).header("Accept", "application/json")).await.status, 401, "{data}");
    }
    let known = Request::get("/status").header("Authorization", "Bearer let-me-in");
    assert_eq!(proxy.operate(known).await.status, 200);
}

#[tokio::test]
async fn another_site_may_lead_to_the_console_and_load_nothing_of_it() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let from_elsewhere = |target: &str| opened(target).header("Sec-Fetch-Site", "cross-site");
    for (dest, expected) in [("document", 200), ("iframe", 403), ("script", 403), ("empty", 403)] {
        let reply = proxy.operate(from_elsewhere("/").header("Sec-Fetch-Dest", dest)).await;
        assert_eq!(reply.status, expected, "{dest}");
    }
    let reply = proxy.operate(from_elsewhere("/console.js").header("Sec-Fetch-Dest", "script")).await;
    reply.expect_problem(403, "forbidden");
    let reply = proxy.operate(from_elsewhere("/status").header("Sec-Fetch-Dest", "document")).await;
    reply.expect_problem(403, "forbidden");
    // A name that was made to lead here.
    proxy.operate(opened("/").header("Host", "evil.test")).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn the_demo_says_where_its_console_is() {
    let mut demo = Command::new(binary());
    demo.args(["demo", "--port", "0", "--service-port", "0"]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut demo = demo.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the binary starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    let address = loop {
        let line = lines.next_line().await.expect("it can be read").expect("the demo goes on");
        if let Some((address, _)) = line.split_once("  Mainstay's console") {
            let (_, address) = address.rsplit_once("http://").expect("an address");
            break address.parse::<std::net::SocketAddr>().expect("an address");
        }
    };
    // It is said a moment before it is served.
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let page = opened("/").header("Host", &address.to_string()).send(address).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}
