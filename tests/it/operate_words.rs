//! What the command line says to somebody who does not know it yet.

use mainstay_tests::prelude::*;
use serde_json::Value;

use super::operate::{POLICY, lose, losing_proxy, short, typed, typed_with};

#[tokio::test]
async fn in_a_pod_without_a_user_the_environment_says_who_acts() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    let address = format!("http://{}", proxy.config.admin.expect("it has one"));
    let nobody = [("USER", ""), ("LOGNAME", "")];
    let line = ["ops", "resolve", &id, "--as", "succeeded", "--reason", "it is booked"];
    let refused = typed_with(&address, &line, &nobody).await;
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && words.contains("--actor, or in MAINSTAY_ACTOR"), "{words}");
    let somebody = [&nobody[..], &[("MAINSTAY_ACTOR", "nora")]].concat();
    let done = typed_with(&address, &line, &somebody).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let trail: Value = serde_json::from_str(&typed(&proxy, &["audit", "-o", "json"]).await.1).expect("JSON");
    assert_eq!(trail["entries"][0]["actor"], "nora");
}

#[tokio::test]
async fn a_key_where_an_id_is_wanted_is_met_with_the_command_that_takes_it() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    lose(&proxy, "order-4711").await;
    for key in ["order-4711", "8f14e45f-ceea-167a-5a36-dedd4bea2543", "8f14e45f"] {
        for line in [&["ops", "show", key][..], &["ops", "resolve", key, "--as", "failed", "--reason", "x"]] {
            let (code, _, words) = typed(&proxy, line).await;
            let (begins, cure) =
                (format!("no operation whose id begins with {key}"), format!("mainstay ops find --key {key}"));
            assert!(code == 1 && words.contains(&begins) && words.contains(&cure), "{line:?}: {words}");
            assert!(!words.contains("id_prefix"), "{words}");
        }
    }
    for line in [
        &["ops", "resolve", "--key", "order-4711", "--as", "succeeded", "--reason", "x"][..],
        &["ops", "query", "--key", "order-4711", "--reason", "x"],
        &["ops", "show", "--key", "order-4711"],
        &["ops", "reveal", "--key", "order-4711", "--reason", "x"],
    ] {
        let (code, _, words) = typed(&proxy, line).await;
        assert!(code == 2 && words.contains("mainstay ops find --key order-4711"), "{line:?}: {words}");
    }
}

#[tokio::test]
async fn the_trail_says_when_and_that_there_is_more() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    for reason in ["one", "two"] {
        typed(&proxy, &["breakers", "force", "p@app", "disabled", "--reason", reason]).await;
    }
    typed(&proxy, &["ops", "resolve", &id, "--as", "succeeded", "--reason", "three"]).await;
    let (code, trail, words) = typed(&proxy, &["audit", "--limit", "2"]).await;
    let row = trail.lines().nth(1).unwrap_or_default();
    assert!(code == 0 && trail.starts_with("AT ") && row.as_bytes().get(2) == Some(&b':'), "{trail}{words}");
    assert!(trail.contains("there are more than 2: ") && trail.contains("--limit"), "{trail}");
    let whole = typed(&proxy, &["audit", "--limit", "0"]).await.1;
    assert!(whole.contains("  one") && !whole.contains("there are more"), "{whole}");
    let number = short(&id).split('-').next().expect("a number").to_owned();
    let (code, own, words) = typed(&proxy, &["audit", "--operation", &number]).await;
    assert!(code == 0 && own.contains("three") && !own.contains("two"), "{own}{words}");
}

#[tokio::test]
async fn a_service_that_is_dead_is_seen_at_once_and_by_whom() {
    let refusing = Refusing::new();
    let proxy = Proxy::start(Config::single(refusing.addr, "timeout: 5s").admin()).await;
    proxy.send(Request::get("/x")).await.expect_problem(502, "upstream-unreachable");
    let (code, screen, words) = typed(&proxy, &["status"]).await;
    assert!(code == 1 && screen.contains("app DOWN 0/1: ") && screen.contains("refused"), "{screen}{words}");
    let address = proxy.config.admin.expect("it has one").to_string();
    assert!(screen.lines().last().is_some_and(|line| line.contains(&address) && line.ends_with(" UTC")), "{screen}");
}

/// A person's word has no answer of the service to repeat, and does not promise one.
#[tokio::test]
async fn the_repeat_of_what_a_person_settled_is_not_told_to_repeat_it() {
    let (upstream, proxy) = losing_proxy(POLICY).await;
    let id = lose(&proxy, "k").await;
    typed(&proxy, &["ops", "resolve", &id, "--as", "succeeded", "--reason", "it is booked"]).await;
    let repeat = proxy.send(Request::keyed("/pay", "k", "x")).await;
    assert_eq!((repeat.status, upstream.effects("k")), (200, 1));
    let advice = repeat.json()["advice"].as_str().expect("advice").to_owned();
    assert!(advice.contains("do not send it again") && !advice.contains("to get its answer"), "{advice}");
}

/// `failed` and `not_executed` let the effect happen again: a script may say so of one write, and of several only on purpose.
#[tokio::test]
async fn several_writes_are_said_to_be_undone_on_purpose_only() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    let ids = [lose(&proxy, "a").await, lose(&proxy, "b").await];
    let names = format!("{}, {} will be ", short(&ids[0]), short(&ids[1]));
    for (state, then) in [("failed", "a new key is safe"), ("not_executed", "SENT AND EXECUTES")] {
        let line = ["ops", "resolve", &ids[0], &ids[1], "--as", state, "--reason", "no trace"];
        let (code, said, words) = typed(&proxy, &line).await;
        let is_told = words.contains(&names) && words.contains(then) && words.contains("Nothing was done: say --yes");
        assert!(code == 2 && said.is_empty() && is_told, "{state}: {said}{words}");
    }
    for id in &ids {
        assert_eq!(proxy.operation(id).await["state"], "unknown");
    }
    let all = ["ops", "resolve", "--upstream", "app", "--as", "failed", "--reason", "no trace"];
    let (code, _, words) = typed(&proxy, &all).await;
    let told = "Each is about to be FAILED for good, and each caller is told that nothing was done";
    assert!(code == 2 && words.contains(told) && words.contains("Nothing was done yet"), "{words}");
    let (code, said, words) = typed(&proxy, &[&all[..], &["--yes"]].concat()).await;
    let told = format!("2 settled: 2 failed\nthese were {}, {}\n", short(&ids[0]), short(&ids[1]));
    assert_eq!((code, said), (0, told), "{words}");
    let more = [lose(&proxy, "c").await, lose(&proxy, "d").await];
    let line = ["ops", "resolve", &more[0], &more[1], "--as", "not_executed", "--yes", "--reason", "no trace"];
    assert_eq!(typed(&proxy, &line).await.0, 0);
}

#[tokio::test]
async fn a_search_that_finds_nothing_says_what_that_does_not_mean() {
    let (_upstream, proxy) = losing_proxy(POLICY).await;
    lose(&proxy, "k").await;
    let line = ["ops", "find", "--key", "nobodys"];
    let (code, said, words) = typed(&proxy, &line).await;
    let address = proxy.config.admin.expect("it has one").to_string();
    assert!(code == 1 && said.is_empty() && words.contains("no write is known under this key"), "{said}{words}");
    for part in [address.as_str(), "does not say that nothing was done", "--principal", "a%2Fb", "tombstone"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let (code, said, words) = typed(&proxy, &[&line[..], &["-o", "json"]].concat()).await;
    let document: Value = serde_json::from_str(&said).expect("JSON");
    assert!(code == 1 && document["operations"] == serde_json::json!([]), "{said}{words}");
}
