//! Many writes at once, keys that are shown, tokens with names, and how it goes.

use mainstay_tests::{prelude::*, proxy::TempDir};
use serde_json::{Value, json};

use super::{
    admin::{POLICY, act, lose, losing, proxy_before, seen},
    operate::{short, typed},
};

/// Loses each write; knows of all when it is asked.
async fn knowing() -> Upstream {
    Upstream::start(|seen| match seen.method.as_str() {
        "POST" => vec![Step::Body, Step::Reset],
        _ => Answer::json(200, "{}").steps(),
    })
    .await
}

/// Asked only when somebody orders it.
const ASKED: &str = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /by-ref/{key}\", rate: 1000/s, \
    schedule: { first: 1h, max: 1h }, rules: [{ status: 200, then: succeeded }] } }";

async fn job(proxy: &Proxy, id: &str) -> Value {
    eventually("the job ends", || async {
        let job = seen(proxy, &format!("/jobs/{id}")).await.json();
        (job["state"] != "running").then_some(job)
    })
    .await
}

#[tokio::test]
async fn an_order_about_many_is_looked_at_first_and_done_for_as_many_as_were_seen() {
    let upstream = knowing().await;
    let proxy = Proxy::start(Config::single(upstream.addr, ASKED).admin()).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    let order = |more: Value| {
        let mut order = json!({ "action": "query", "filter": { "state": "unknown", "upstream": "app" }, "actor": "ana",
            "reason": "the service is back" });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let looked = act(&proxy, "/operations:batch", None, order(json!({ "dry_run": true }))).await.json();
    assert_eq!(looked, json!({ "matched": 7, "by_state": { "unknown": 7 }, "sample": ids[..5] }));
    for expect in [Value::Null, json!(6), json!("7")] {
        let refused = act(&proxy, "/operations:batch", None, order(json!({ "expect": expect }))).await;
        refused.expect_problem(412, "bad-request");
    }
    let begun = act(&proxy, "/operations:batch", None, order(json!({ "expect": 7 }))).await;
    assert_eq!((begun.status, &begun.json()["matched"]), (202, &json!(7)), "{}", begun.text());
    let id = begun.json()["job"].as_str().expect("a job").to_owned();
    assert_eq!(begun.header("location"), Some(format!("/jobs/{id}").as_str()));
    let ended = job(&proxy, &id).await;
    assert_eq!((&ended["done"], &ended["succeeded"], &ended["refused"]), (&json!(7), &json!(7), &json!(0)), "{ended}");
    assert_eq!(
        (&ended["by_result"], &ended["by_state"]),
        (&json!({ "heard succeeded": 7 }), &json!({ "succeeded": 7 }))
    );
    assert_eq!((&ended["state"], &ended["actor"]), (&json!("done"), &json!("ana")));
    for id in &ids {
        assert_eq!(proxy.operation(id).await["state"], "succeeded");
    }
    let jobs = seen(&proxy, "/jobs").await.json();
    assert_eq!(jobs["jobs"], json!([ended]));
    let trail = seen(&proxy, &format!("/audit?operation={}", ids[0])).await.json();
    assert_eq!(
        (&trail["entries"][0]["actor"], &trail["entries"][0]["reason"]),
        (&json!("ana"), &json!("the service is back"))
    );
    let cancelled = act(&proxy, &format!("/jobs/{id}:cancel"), None, json!({ "actor": "bo", "reason": "x" })).await;
    assert_eq!(cancelled.json()["state"], "done", "what is done stays done");
    proxy.operate(Request::get("/jobs/none")).await.expect_problem(404, "operation-not-found");
}

#[tokio::test]
async fn what_would_free_many_keys_or_names_nothing_is_refused() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "k").await;
    let order = |more: Value| {
        let mut order = json!({ "actor": "ana", "reason": "no trace of them" });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let filter = json!({ "state": "unknown" });
    for (more, status) in [
        (json!({ "action": "resolve", "as": "not_executed", "filter": filter, "expect": 1 }), 409),
        (json!({ "action": "resolve", "filter": filter, "expect": 1 }), 400),
        (json!({ "action": "query", "as": "failed", "filter": filter, "expect": 1 }), 400),
        (json!({ "action": "delete", "filter": filter, "expect": 1 }), 400),
        (json!({ "action": "query", "expect": 1 }), 400),
        (json!({ "action": "query", "filter": {}, "expect": 1 }), 400),
        (json!({ "action": "query", "filter": { "colour": "red" }, "expect": 1 }), 400),
        (json!({ "action": "query", "filter": filter, "ids": [id], "expect": 1 }), 400),
        (json!({ "action": "query", "ids": ["d4"], "expect": 1 }), 400),
    ] {
        let reply = act(&proxy, "/operations:batch", None, order(more.clone())).await;
        assert_eq!(reply.status, status, "{more}: {}", reply.text());
    }
    let by_ids = order(json!({ "action": "resolve", "as": "failed", "ids": [id], "filter": {}, "expect": 1 }));
    let begun = act(&proxy, "/operations:batch", None, by_ids).await.json();
    let ended = job(&proxy, begun["job"].as_str().expect("a job")).await;
    assert_eq!(ended["by_result"], json!({ "failed": 1 }));
    assert_eq!(proxy.operation(&id).await["state"], "failed");
}

#[tokio::test]
async fn the_command_line_counts_before_it_acts_on_many_and_says_what_came_of_it() {
    let upstream = knowing().await;
    let proxy = Proxy::start(Config::single(upstream.addr, ASKED).admin()).await;
    let ids = [lose(&proxy, "a").await, lose(&proxy, "b").await, lose(&proxy, "c").await];
    let line = ["ops", "query", "--upstream", "app", "--reason", "it is back"];
    let (code, said, words) = typed(&proxy, &line).await;
    let shown = format!("3 match: 3 unknown; such as {}, {}, {}", short(&ids[0]), short(&ids[1]), short(&ids[2]));
    assert!(code == 2 && words.contains(&shown) && words.contains("--yes"), "{said}{words}");
    let sure = [&line[..], &["--yes"]].concat();
    let (code, said, words) = typed(&proxy, &sure).await;
    let these = format!("these were {}, {}, {}\n", short(&ids[0]), short(&ids[1]), short(&ids[2]));
    assert_eq!((code, said), (0, format!("3 settled: 3 succeeded\n{these}")), "{words}");
    for line in [
        &["ops", "query", "--reason", "x"][..],
        &["ops", "query", &ids[0], "--attention", "--reason", "x"],
        &["ops", "resolve", "--attention", "--acknowledge", "--reason", "x"],
    ] {
        let (code, _, words) = typed(&proxy, line).await;
        assert_eq!(code, 2, "{line:?}: {words}");
    }
    let again = ["ops", "query", "--state", "succeeded", "--reason", "again", "--yes"];
    let (code, said, words) = typed(&proxy, &again).await;
    let told = format!("3 refused (It is settled: succeeded: see `mainstay ops show`)\n{these}");
    assert_eq!((code, said), (1, told), "{words}");
    let (code, job, words) = typed(&proxy, &[&again[..], &["-o", "json"]].concat()).await;
    let job: Value = serde_json::from_str(&job).expect("JSON");
    assert_eq!((code, &job["refused"]), (1, &json!(3)), "{words}");
    let (code, said, words) = typed(&proxy, &["ops", "query", "--state", "unknown", "--reason", "all of them"]).await;
    assert!(code == 0 && said.starts_with("no operations\n"), "{said}{words}");
}

#[tokio::test]
async fn a_key_is_shown_only_where_that_is_allowed_and_never_without_a_trace() {
    let upstream = knowing().await;
    let who = json!({ "actor": "ana", "reason": "which payment" });
    let config = || Config::single(upstream.addr, ASKED).admin();
    let proxy = Proxy::start(config()).await;
    let id = lose(&proxy, "order-7a").await;
    assert_eq!(seen(&proxy, &format!("/operations/{id}")).await.json()["can_be_revealed"], false);
    act(&proxy, &format!("/operations/{id}:reveal"), None, who.clone()).await.expect_problem(403, "forbidden");
    drop(proxy);

    let proxy = Proxy::start(config().admin_more("reveal: true")).await;
    let id = lose(&proxy, "order-7a").await;
    act(&proxy, &format!("/operations/{id}:reveal"), None, json!({ "actor": "ana" }))
        .await
        .expect_problem(400, "bad-request");
    let shown = act(&proxy, &format!("/operations/{id}:reveal"), None, who).await.json();
    assert_eq!((&shown["key"], &shown["status_request"]), (&json!("order-7a"), &json!("/by-ref/order-7a")), "{shown}");
    let (code, said, words) = typed(&proxy, &["ops", "reveal", &short(&id), "--reason", "which payment"]).await;
    assert!(code == 0 && said.contains("order-7a"), "{said}{words}");
    let trail = seen(&proxy, &format!("/audit?operation={id}")).await.json();
    let acts = trail["entries"].as_array().expect("entries").iter();
    assert_eq!(acts.filter(|entry| entry["action"] == "reveal" && entry["result"] == "done").count(), 2);
    assert!(!trail.to_string().contains("order-7a"), "{trail}");
    assert!(!proxy.log().contains("order-7a"));
}

#[tokio::test]
async fn a_token_with_a_name_says_who_acts_and_one_that_only_reads_does_not_act() {
    let home = TempDir::new();
    for (name, token) in [("ana", "anas token"), ("bot", "the bots token")] {
        std::fs::write(home.join(name), token).unwrap();
    }
    let upstream = losing().await;
    let tokens = format!(
        "tokens: [{{ name: ana, file: \"{}\" }}, {{ name: bot, file: \"{}\", read_only: true }}]",
        home.join("ana").display(),
        home.join("bot").display()
    );
    let proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin().admin_more(&tokens)).await;
    let id = lose(&proxy, "k").await;
    let admin = proxy.config.admin.unwrap();
    let send = async |request: Request, token: &str| {
        let request = request.header("Host", &admin.to_string()).header("Authorization", &format!("Bearer {token}"));
        request.send(admin).await
    };
    let resolve = |body: Value| {
        let request = Request::post(&format!("/operations/{id}:resolve"), body.to_string());
        request.header("Content-Type", "application/json").header("If-Match", "*")
    };
    let word = json!({ "state": "failed", "reason": "no trace of it" });
    send(Request::get("/operations"), "another").await.expect_problem(401, "forbidden");
    assert_eq!(send(Request::get("/operations"), "the bots token").await.status, 200);
    send(resolve(word.clone()), "the bots token").await.expect_problem(403, "forbidden");
    let look = Request::post("/operations:find", json!({ "key": "k" }).to_string());
    let found = send(look.header("Content-Type", "application/json"), "the bots token").await;
    assert_eq!(found.json()["operations"][0]["id"], id.as_str(), "a search is a look");
    let mut anothers = word.clone();
    anothers["actor"] = "bo".into();
    send(resolve(anothers), "anas token").await.expect_problem(403, "forbidden");
    let status = send(Request::get("/status"), "the bots token").await.json();
    assert_eq!((&status["caller"], &status["read_only"]), (&json!("bot"), &json!(true)));
    let shown = send(Request::get("/config"), "anas token").await.text();
    assert!(!shown.contains(home.join("ana").to_str().unwrap()), "{shown}");

    let file = home.join("ana");
    let line =
        ["ops", "resolve", &id, "--as", "failed", "--reason", "no trace", "--token-file", file.to_str().unwrap()];
    let (code, _, words) = typed(&proxy, &line).await;
    assert_eq!(code, 0, "{words}");
    let trail = send(Request::get("/audit"), "anas token").await.json();
    let actors: Vec<&str> =
        trail["entries"].as_array().unwrap().iter().filter_map(|entry| entry["actor"].as_str()).collect();
    assert_eq!(actors, ["ana", "bot"]);
    assert!(!proxy.log().contains("anas token"));
}

#[tokio::test]
async fn one_screen_says_whether_somebody_is_needed_and_exits_accordingly() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let (code, screen, words) = typed(&proxy, &["status"]).await;
    assert!(code == 0 && screen.contains("   READY\n") && screen.contains("\nledger     memory, "), "{screen}{words}");
    assert!(!screen.contains("writes"), "{screen}");
    lose(&proxy, "k").await;
    let (code, screen, _) = typed(&proxy, &["status"]).await;
    assert!(screen.contains("1 in doubt"), "{screen}");
    let needed = screen.contains("1 NEEDS A PERSON");
    assert_eq!(code, i32::from(needed), "{screen}");
    let document = seen(&proxy, "/status").await.json();
    assert_eq!((&document["ready"], &document["writes"]["in_doubt"]), (&json!(true), &json!(1)), "{document}");
    let routes = seen(&proxy, "/routes").await.json();
    let route = &routes["routes"][0];
    assert_eq!(
        (&route["path"], &route["policy"], &route["protects_writes"]),
        (&json!("/**"), &json!("p"), &json!(true))
    );
    let level = seen(&proxy, "/log-level").await.json();
    assert_eq!(level["level"], "info");
    let page = seen(&proxy, "/metrics").await;
    assert!(page.text().contains("mainstay_operations{"), "{}", page.text());
    assert_eq!(act(&proxy, "/drain", None, json!({})).await.status, 200);
    let (code, screen, _) = typed(&proxy, &["status"]).await;
    assert!(code == 1 && screen.contains("NOT READY: draining"), "{screen}");
}
