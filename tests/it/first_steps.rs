//! The first steps: a configuration that is asked for, what a shell completes, what `man` shows.

use mainstay_tests::{
    prelude::*,
    proxy::{TempDir, run},
};

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_first_configuration_is_written_checked_and_serves() {
    let upstream = Upstream::answering(Answer::json(404, "{}")).await;
    let dir = TempDir::new();
    let (file, port) = (dir.join("first.yaml"), free_addr().port().to_string());
    let path = file.to_string_lossy().into_owned();
    let service = format!("http://{}", upstream.addr);
    let arguments = [
        "init",
        "--port",
        &port,
        "--service",
        &service,
        "--write",
        "/payments",
        "--status",
        "GET /payments/by-ref/{key}",
        "--success",
        "/state=SUCCESS",
        "--output",
        &path,
    ];
    let output = run(&arguments).await;
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in ["is valid", "connected to", "rules take for not_found", "mainstay -c ", "Idempotency-Key"] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
    let checked = run(&["check", "--deny", "warnings", &path]).await;
    assert!(checked.status.success(), "{}", text(&checked));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.lines().filter(|line| line.trim_start().starts_with('#')).count() > 8, "{written}");

    // What is there is not written over by accident.
    let output = run(&arguments).await;
    assert!(output.status.code() == Some(1) && text(&output).contains("--force"), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_missing_option_is_named() {
    let dir = TempDir::new();
    let path = dir.join("first.yaml").to_string_lossy().into_owned();
    let output = run(&["init", "--output", &path]).await;
    assert!(output.status.code() == Some(2) && text(&output).contains("--service"), "{}", text(&output));
    let output = run(&["init", "--output", &path, "--service", "localhost:9000"]).await;
    assert!(output.status.code() == Some(2) && text(&output).contains("http://127.0.0.1:9000"), "{}", text(&output));
    assert!(!dir.join("first.yaml").exists());
}

#[tokio::test]
async fn shells_complete_every_command_and_each_has_a_manual_page_with_the_exit_codes() {
    for (shell, expected) in
        [("bash", "complete -F _mainstay"), ("zsh", "#compdef mainstay"), ("fish", "complete -c mainstay")]
    {
        let script = text(&run(&["completion", shell]).await);
        assert!(script.contains(expected) && script.contains("explain"), "{shell}: {script}");
    }
    let dir = TempDir::new();
    let pages = dir.join("man");
    let output = run(&["man", &pages.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", text(&output));
    for page in ["mainstay.1", "mainstay-check.1", "mainstay-ledger-check.1", "mainstay-config-diff.1"] {
        assert!(pages.join(page).is_file(), "{page} is missing");
    }
    let first = std::fs::read_to_string(pages.join("mainstay.1")).unwrap();
    assert!(first.contains("nobody answers") && first.contains("left in doubt"), "{first}");
    assert!(text(&run(&["man"]).await).contains("nobody answers"));
}
