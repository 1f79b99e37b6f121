//! From a customer's key, a trace, a time or a reason to the write.

use std::process::Stdio;

use mainstay_tests::{prelude::*, proxy::binary};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{
    admin::{POLICY, act, lose, losing, proxy_before, seen},
    history::TwiceDone,
    operate::{short, typed},
};

const ASKED: &str = "timeout: 5s, idempotency: { required: true, status: { request: \"GET /orders/{path.order}/by-ref/{key}\", \
    schedule: { first: 1h, max: 1h }, rules: [{ status: 200, then: succeeded }] } }";

async fn find(proxy: &Proxy, body: Value) -> (Vec<String>, bool) {
    let reply = act(proxy, "/operations:find", None, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let document = reply.json();
    let found = document["operations"].as_array().expect("operations").iter();
    let ids = found.map(|operation| operation["id"].as_str().expect("an id").to_owned()).collect();
    (ids, document["complete"] == true)
}

#[tokio::test]
async fn a_key_leads_to_its_write_and_is_in_no_log_and_no_trail() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let id = lose(&proxy, "customers-own-key").await;
    lose(&proxy, "another").await;
    assert_eq!(find(&proxy, json!({ "key": "customers-own-key", "actor": "ana" })).await, (vec![id.clone()], true));
    assert_eq!(find(&proxy, json!({ "key": "customers-own-key", "upstream": "app" })).await, (vec![id], true));
    assert_eq!(find(&proxy, json!({ "key": "nobodys" })).await, (vec![], true));
    let trail = seen(&proxy, "/audit").await.json();
    let entries = trail["entries"].as_array().expect("entries");
    let acts: Vec<_> = entries.iter().map(|entry| (entry["action"].clone(), entry["result"].clone())).collect();
    assert_eq!(
        acts,
        [("find", "found 0"), ("find", "found 1"), ("find", "found 1")].map(|(a, r)| (json!(a), json!(r)))
    );
    assert_eq!(entries[2]["actor"], "ana");
    assert!(!trail.to_string().contains("customers-own-key") && !proxy.log().contains("customers-own-key"));
    for body in
        [json!({}), json!({ "key": "" }), json!({ "key": "k", "upstream": "x" }), json!({ "key": "k", "colour": 1 })]
    {
        act(&proxy, "/operations:find", None, body).await.expect_problem(400, "bad-request");
    }
    proxy.operate(Request::get("/operations:find")).await.expect_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_key_is_found_whoever_sent_it_where_its_service_is_asked_by_it() {
    let upstream = losing().await;
    let config = Config::new().upstream("app", upstream.addr, "").policy("asked", ASKED).policy("plain", POLICY);
    let config = config.route("path: \"/orders/{order}/pay\"", "app", "asked").route("path: /**", "app", "plain");
    let proxy = Proxy::start(config.listener("principal: { header: X-Tenant }").admin()).await;
    let send = async |path: &str, tenant: &str| {
        let write = Request::keyed(path, "key-7", "x").header("X-Tenant", tenant);
        proxy.send(write).await.operation()
    };
    let asked = send("/orders/1/pay", "ann").await;
    assert_eq!(find(&proxy, json!({ "key": "key-7" })).await, (vec![asked.clone()], true));
    // Its key is kept as a hash with its caller's name, so it is found with that name only.
    let plain = send("/pay", "bob").await;
    assert_eq!(find(&proxy, json!({ "key": "key-7" })).await.0, std::slice::from_ref(&asked));
    assert_eq!(find(&proxy, json!({ "key": "key-8" })).await, (vec![], false), "it says what it could not look at");
    assert_eq!(find(&proxy, json!({ "key": "key-7", "principal": "bob" })).await, (vec![plain], true));
    assert_eq!(find(&proxy, json!({ "key": "key-7", "principal": "carl" })).await, (vec![], true));
}

#[tokio::test]
async fn a_listing_takes_a_trace_a_time_a_reason_a_beginning_and_goes_either_way() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traced = Request::keyed("/pay", "k0", "x").header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let mut ids = vec![proxy.send(traced).await.operation()];
    for n in 1..4 {
        ids.push(lose(&proxy, &format!("k{n}")).await);
    }
    let listed = async |query: &str| {
        let document = seen(&proxy, &format!("/operations?{query}")).await.json();
        let found = document["operations"].as_array().expect("operations").iter();
        found.map(|one| ids.iter().position(|id| one["id"] == id.as_str()).expect("ours")).collect::<Vec<_>>()
    };
    let prefix = |n: usize| format!("id_prefix={}", short(&ids[n]));
    for (query, expected) in [
        (format!("trace_id={trace}"), vec![0]),
        ("newer=1h".into(), vec![0, 1, 2, 3]),
        ("until=2020-01-01T00:00:00Z".into(), vec![]),
        ("since=2020-01-01T00:00:00Z&order=newest".into(), vec![3, 2, 1, 0]),
        ("policy=p&limit=2&order=newest".into(), vec![3, 2]),
        ("policy=other".into(), vec![]),
        ("reason=reset".into(), vec![0, 1, 2, 3]),
        ("reason=conflict".into(), vec![]),
        ("open=true".into(), vec![0, 1, 2, 3]),
        (prefix(2), vec![2]),
        (format!("{}&state=succeeded", prefix(2)), vec![]),
        (format!("id_prefix={}", ids[1]), vec![1]),
        ("id_prefix=000&order=newest&limit=3".into(), vec![3, 2, 1]),
    ] {
        assert_eq!(listed(&query).await, expected, "{query}");
    }
    let page = seen(&proxy, "/operations?order=newest&limit=3").await.json();
    let cursor = page["next_cursor"].as_str().expect("there is one more");
    assert_eq!(listed(&format!("order=newest&limit=3&cursor={cursor}")).await, [0]);
    let groups = seen(&proxy, "/operations?group_by=route,reason").await.json();
    let oldest = seen(&proxy, &format!("/operations/{}", ids[0])).await.json()["created_at"].clone();
    let expected = json!([{ "route": "/**", "reason": "reset", "count": 4, "oldest_at": oldest }]);
    assert_eq!((&groups["groups"], &groups["complete"]), (&expected, &json!(true)));
    for query in ["trace_id=7", "since=yesterday", "order=up", "id_prefix=xyz", "open=1", "group_by=colour"] {
        proxy.operate(Request::get(&format!("/operations?{query}"))).await.expect_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn from_a_key_to_the_story_of_a_contradicted_write_with_the_command_line_alone() {
    let TwiceDone { proxy, first, second, .. } = &TwiceDone::new().await;
    let (code, listed, words) = typed(proxy, &["ops"]).await;
    assert_eq!(code, 0, "{words}");
    let (whole, first, second) = (first, short(first), short(second));
    let row = listed.lines().nth(1).expect("a row");
    let why = "! contradicted: settled as not executed, then 201";
    assert!(row.starts_with(&first) && row.contains(why) && !listed.contains(&second), "{listed}");
    assert!(listed.contains("\n1 shown: 1 contradicted; oldest "), "{listed}");
    assert!(listed.trim_end().ends_with(" UTC"), "{listed}");

    let mut command = tokio::process::Command::new(binary());
    command.args(["ops", "find", "--key", "-", "-o", "ids", "--actor", "ana"]).kill_on_drop(true);
    command.env("MAINSTAY_ADMIN", format!("http://{}", proxy.config.admin.expect("it has one")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().expect("run mainstay");
    running.stdin.take().expect("a pipe").write_all(b"order-7\n").await.expect("it reads");
    let output = within("the command ends", running.wait_with_output()).await.expect("it ends");
    let found: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(short).collect();
    assert_eq!(found, [first.clone(), second.clone()]);

    let (code, story, words) = typed(proxy, &["ops", "show", &first]).await;
    assert_eq!(code, 0, "{words}");
    let lines: Vec<&str> = story.lines().collect();
    assert_eq!(lines[0], format!("{first}  CONTRADICTED: settled as not executed, but it happened"));
    let told = lines[1..6].iter().map(|line| line.get(17..).unwrap_or_default()).collect::<Vec<_>>();
    let again = format!("the key was used again: {second}");
    for (told, expected) in told.iter().zip([
        "dispatched to app (POST /**)",
        "answer lost: attempt timed out after ",
        "asked the service: 404, believed because the endpoint is said to be fenced -> not executed",
        &again,
        "a late answer to the first dispatch: 201 -> contradiction",
    ]) {
        assert!(told.starts_with(expected), "{story}");
    }
    assert!(story.contains(&format!("\nBoth {first} and {second} may have happened.")), "{story}");
    let number = first.split('-').next().expect("a number");
    assert!(story.contains(&format!("mainstay ops resolve {first} --acknowledge --reason '…'")), "{story}");

    let then = "you have taken the effect back; after it a repeat EXECUTES";
    assert!(story.contains(then) && story.contains("leave the flag"), "{story}");
    let hash = proxy.operation(whole).await["key_hash"].as_str().expect("a hash")[..8].to_owned();
    assert!(story.contains(&format!("\nkey_hash {hash}\n")), "as access lines have it: {story}");

    let acknowledge = ["ops", "resolve", number, "--acknowledge", "--reason", "taken back"];
    let (code, _, words) = typed(proxy, &acknowledge).await;
    assert!(code == 2 && words.contains("SENT AND EXECUTES") && words.contains("--yes"), "{words}");
    let again = ["ops", "resolve", number, "--as", "not_executed", "--reason", "it takes the flag away, too"];
    let (code, _, words) = typed(proxy, &again).await;
    assert!(code == 2 && words.contains("SENT AND EXECUTES") && words.contains("--yes"), "{words}");
    assert_eq!(proxy.operation(whole).await["attention"]["reason"], "conflict", "nothing was done");
    let (code, said, words) = typed(proxy, &[&acknowledge[..], &["--yes"]].concat()).await;
    assert_eq!(
        (code, said),
        (0, format!("{first}: not_executed (conflict) -> not_executed\nwarning: {WARNING}\n")),
        "{words}"
    );
    assert!(typed(proxy, &["ops", "ls"]).await.1.starts_with("no operations\n"));
    let (code, _, words) = typed(proxy, &["ops", "show", "fff"]).await;
    assert!(code == 1 && words.contains("no operation whose id begins with fff"), "{words}");
}

const WARNING: &str = "The key is free now: the next repeat of this request is sent to the service and executes. If the first \
    one did happen after all, it happens twice.";

#[tokio::test]
async fn several_are_shown_by_groups_wide_and_acted_on_at_once() {
    let upstream = losing().await;
    let proxy = proxy_before(&upstream).await;
    let ids = [lose(&proxy, "a").await, lose(&proxy, "b").await];
    let (_, groups, words) = typed(&proxy, &["ops", "ls", "--group"]).await;
    let row: Vec<&str> = groups.lines().nth(1).unwrap_or_default().split_whitespace().take(4).collect();
    assert_eq!(row, ["2", "app", "/**", "reset"], "{groups}{words}");
    let (_, wide, _) = typed(&proxy, &["ops", "ls", "-o", "wide", "--newest"]).await;
    assert!(wide.lines().nth(1).is_some_and(|row| row.starts_with(&ids[1]) && row.contains(" POST ")), "{wide}");
    let (code, ambiguous, words) = typed(&proxy, &["ops", "show", "0"]).await;
    assert!(code == 1 && words.contains(&short(&ids[0])) && words.contains("write more of it"), "{ambiguous}{words}");
    let line =
        ["ops", "resolve", &short(&ids[0]), &short(&ids[1]), "--as", "failed", "--yes", "--reason", "no trace of them"];
    let (code, said, words) = typed(&proxy, &line).await;
    let expected = ids.each_ref().map(|id| format!("{}: unknown -> failed\n", short(id))).concat();
    assert_eq!((code, said), (0, expected), "{words}");
}
