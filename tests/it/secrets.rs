//! Values that come from the environment are secrets for all that anybody knows: they appear nowhere.

use mainstay_tests::{
    otlp,
    prelude::*,
    proxy::{Launch, binary},
};

#[tokio::test]
async fn what_comes_from_the_environment_appears_nowhere() {
    let secrets: Vec<(String, String)> =
        (0..5).map(|number| (format!("SECRET_{number}"), format!("hush-{number}-5f2c9a{number}{number}"))).collect();
    let upstream = Upstream::start(|seen| Answer::status(if seen.target == "/bad" { 500 } else { 200 }).steps()).await;
    let collector = otlp::Collector::start().await;
    let config = Config::single(upstream.addr, "timeout: 5s")
        .policy(
            "stood",
            "timeout: 5s, fallback: { on: [5xx], status: 203, headers: { x-a: \"${SECRET_0}\" }, body: { t: \"${SECRET_1}\" } }",
        )
        .first_route("path: /bad", "app", "stood")
        .first_route("path: /guarded, headers: { x-key: \"Bearer ${SECRET_2}\" }", "app", "p")
        .policy("spare", "timeout: 5s, idempotency: { resolved_response: { status: 200, body: { t: \"${SECRET_3}\" } } }")
        .top(&format!(
            "telemetry: {{ sample_ratio: 1, otlp: {{ endpoint: \"http://{}\" }}, logs: {{ format: json, level: trace }} }}",
            collector.addr()
        ))
        .admin();
    let launch = secrets.iter().fold(Launch::default(), |launch, (name, value)| launch.with(name, value.clone()));
    let mut proxy = Proxy::launch(config, &launch).await.unwrap();
    let answer = proxy.get("/bad").await;
    assert_eq!(answer.header("x-a"), Some(secrets[0].1.as_str()), "where it is meant to go, it goes");
    proxy
        .send(Request::get("/guarded").header("x-key", &format!("Bearer {}", secrets[2].1)))
        .await
        .expect_upstream(200);

    let mut command = tokio::process::Command::new(binary());
    command.args(["config", "show"]).arg(proxy.file()).envs(secrets.iter().cloned());
    let shown = command.output().await.unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("«from ${SECRET_0}»"), "{shown}");
    let mut command = tokio::process::Command::new(binary());
    command.args(["config", "show", "--reveal"]).arg(proxy.file()).envs(secrets.iter().cloned());
    let revealed = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
    assert!(revealed.contains(&secrets[0].1) && !revealed.contains("«from"), "{revealed}");
    let live = proxy.operate(Request::get("/config")).await.text();
    let metrics = proxy.probe("/metrics").await.text();
    // A reload that is refused for one of them, and one that is taken.
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    proxy.rewrite_text(&text.replacen("timeout: 5s", "timeout: \"${SECRET_4}\"", 1));
    proxy.signal("HUP");
    eventually("it is refused", || async { proxy.log().contains("was not taken").then_some(()) }).await;
    proxy.terminate().await;
    let spans = format!("{:?}", collector.spans());
    for (name, value) in &secrets {
        for (place, text) in [
            ("config show", &shown),
            ("/config", &live),
            ("metrics", &metrics),
            ("the log", &proxy.log()),
            ("spans", &spans),
        ] {
            assert!(!text.contains(value.as_str()), "{name} is in {place}: {text}");
        }
    }
}
