//! The operators' interface: where it listens, and who is let in.

use std::{os::unix::fs::PermissionsExt, path::Path};

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, run},
};

use super::admin::{POLICY, lose, losing, proxy_before, trail, word};

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let home = TempDir::new();
    let file = home.join("token");
    std::fs::write(&file, "correct horse battery staple\n").unwrap();
    let upstream = losing().await;
    let proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin_with(&file)).await;
    let admin = proxy.config.admin.unwrap();
    let asks = |given: Option<&str>| {
        let request = Request::get("/operations").header("Host", "payments.prod.svc");
        match given {
            Some(given) => request.header("Authorization", given),
            None => request,
        }
    };
    for given in [None, Some("Bearer wrong"), Some("Bearer correct horse battery stapl"), Some("Basic eDp5")] {
        let reply = asks(given).send(admin).await;
        reply.expect_problem(401, "forbidden");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"mainstay\""));
    }
    assert_eq!(asks(Some("Bearer correct horse battery staple")).send(admin).await.status, 200);
    // As a Secret is changed: the next request needs the new one.
    std::fs::write(home.join("next"), "another").unwrap();
    std::fs::rename(home.join("next"), &file).unwrap();
    assert_eq!(asks(Some("Bearer correct horse battery staple")).send(admin).await.status, 401);
    assert_eq!(asks(Some("Bearer another")).send(admin).await.status, 200);
    let shown = Request::get("/config").header("Authorization", "Bearer another").send(admin).await;
    assert!(shown.status == 200 && !shown.text().contains(file.to_str().unwrap()), "{}", shown.text());
    assert!(!proxy.log().contains("another"));
}

async fn start_failing(yaml: &str, home: &TempDir) -> String {
    std::fs::write(home.join("mainstay.yaml"), yaml).unwrap();
    let output = run(&["-c", home.join("mainstay.yaml").to_str().unwrap()]).await;
    assert_ne!(output.status.code(), Some(0));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn off_loopback_without_a_token_and_with_an_unusable_one_it_does_not_start() {
    let home = TempDir::new();
    let base = Config::single(free_addr(), "timeout: 1s").render();
    let with = |admin: &str| base.replace("admin: off", admin);
    let words = start_failing(&with("admin: { address: \"0.0.0.0:0\" }"), &home).await;
    assert!(words.contains("admin.token_file"), "{words}");
    let token =
        |path: &Path| with(&format!("admin: {{ address: \"127.0.0.1:0\", token_file: \"{}\" }}", path.display()));
    let words = start_failing(&token(&home.join("absent")), &home).await;
    assert!(words.contains("admin.token_file"), "{words}");
    std::fs::write(home.join("open"), "token").unwrap();
    std::fs::set_permissions(home.join("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let words = start_failing(&token(&home.join("open")), &home).await;
    assert!(words.contains("chmod o-w"), "{words}");
}

#[tokio::test]
async fn a_web_page_does_not_get_in() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let admin = proxy.config.admin.unwrap();
    let id = lose(&proxy, "k").await;
    let own = admin.to_string();
    let target = format!("/operations/{id}:resolve");
    let resolve = || Request::post(&target, word("succeeded").to_string()).header("If-Match", "*");
    for (request, status) in [
        (resolve().header("Host", "rebound.evil.test"), 403),
        (resolve().header("Host", &own).header("Origin", "https://evil.test"), 403),
        (resolve().header("Host", &own).header("Origin", "null"), 403),
        (resolve().header("Host", &own).header("Sec-Fetch-Site", "cross-site"), 403),
        (resolve().header("Host", &own).header("Content-Type", "text/plain"), 415),
        (Request::get("/operations").header("Host", "rebound.evil.test"), 403),
    ] {
        let slug = if status == 415 { "unsupported-media-type" } else { "forbidden" };
        request.send(admin).await.expect_problem(status, slug);
    }
    assert_eq!(proxy.operation(&id).await["state"], "unknown");
    assert_eq!(trail(&proxy).await, Vec::<[String; 4]>::new(), "who does not get in writes nothing");
}

#[tokio::test]
async fn a_taken_default_address_costs_the_interface_and_nothing_else() {
    let upstream = Upstream::answering(Answer::ok("x")).await;
    let holder = tokio::net::TcpListener::bind("127.0.0.1:9191").await;
    let mut config = Config::single(upstream.addr, "timeout: 1s").admin();
    config.admin = Some("127.0.0.1:9191".parse().unwrap());
    let proxy = Proxy::start(config).await;
    proxy.get("/").await.expect_upstream(200);
    eventually("it says so", || async { proxy.log().contains("admin: off").then_some(()) }).await;
    drop(holder);
}

#[tokio::test]
async fn a_chosen_address_that_is_taken_stops_the_start() {
    let home = TempDir::new();
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::single(free_addr(), "timeout: 1s").admin();
    config.admin = Some(holder.local_addr().unwrap());
    let words = start_failing(&config.render(), &home).await;
    assert!(words.contains("admin") && words.contains(&holder.local_addr().unwrap().to_string()), "{words}");
}
