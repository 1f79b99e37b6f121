//! What happens is told as it happens, and a configuration is read again when somebody says so.

use std::process::Stdio;

use mainstay_tests::{prelude::*, proxy::binary};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use super::operate::{short, typed};

const POLICY: &str = "timeout: 5s, idempotency: { required: true }";

async fn losing() -> Upstream {
    Upstream::start(|_| vec![Step::Body, Step::Reset]).await
}

/// `mainstay ops tail`, heard line by line.
struct Tail {
    child: tokio::process::Child,
    told: Lines<BufReader<tokio::process::ChildStdout>>,
    said: Lines<BufReader<tokio::process::ChildStderr>>,
}

impl Tail {
    fn start(proxy: &Proxy, line: &[&str]) -> Self {
        let mut child = tokio::process::Command::new(binary())
            .args(["ops", "tail"])
            .args(line)
            .env("MAINSTAY_ADMIN", format!("http://{}", proxy.config.admin.unwrap()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run mainstay");
        let told = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Self { child, told, said }
    }

    /// Waits for a line about itself that has this.
    async fn says(&mut self, part: &str) -> String {
        let found = async {
            loop {
                let line = self.said.next_line().await.expect("UTF-8").expect("it goes on");
                if line.contains(part) {
                    return line;
                }
            }
        };
        within(part, found).await
    }

    async fn tells(&mut self) -> String {
        within("it tells what happens", self.told.next_line()).await.expect("UTF-8").expect("it goes on")
    }
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens_and_a_proxy_that_goes_is_waited_for() {
    let upstream = losing().await;
    let mut proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin()).await;
    let mut tail = Tail::start(&proxy, &["--upstream", "app", "--kind", "operation,request"]);
    let mut elsewhere = Tail::start(&proxy, &["--upstream", "other"]);
    tail.says("following ").await;
    elsewhere.says("following ").await;
    let id = short(&proxy.send(Request::keyed("/pay", "k", "x")).await.operation());
    let mut told = [tail.tells().await, tail.tells().await];
    told.sort_by_key(|line| line.contains("POST"));
    assert!(told[0].contains(&format!("{id}  pending -> unknown")) && told[0].contains(" /** at app"), "{told:?}");
    assert!(told[1].contains("POST /**  502") && told[1].contains(&id), "{told:?}");
    proxy.signal("KILL");
    proxy.ended().await;
    tail.says("it is waited for").await;
    let config = proxy.config.clone();
    let admin = config.admin;
    drop(proxy);
    let proxy = Proxy::start(config).await;
    // Where somebody else took the port meanwhile, nobody can come back to it.
    if proxy.config.admin == admin {
        tail.says("again").await;
        let id = short(&proxy.send(Request::keyed("/pay", "k2", "x")).await.operation());
        assert!(eventually_tells(&mut tail, &id).await);
    }
    tail.child.kill().await.expect("it runs");
    elsewhere.child.kill().await.expect("it runs");
    assert_eq!(
        within("the end", elsewhere.told.next_line()).await.expect("UTF-8"),
        None,
        "nothing of another upstream"
    );
}

async fn eventually_tells(tail: &mut Tail, part: &str) -> bool {
    for _ in 0..4 {
        if tail.tells().await.contains(part) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn programs_are_told_in_json_and_one_that_has_heard_enough_ends() {
    let upstream = losing().await;
    let proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin()).await;
    let mut tail = Tail::start(&proxy, &["--count", "1", "-o", "json"]);
    tail.says("following ").await;
    let id = proxy.send(Request::keyed("/pay", "k", "x")).await.operation();
    let told: Value = serde_json::from_str(&tail.tells().await).expect("JSON");
    assert_eq!(
        (&told["event"], &told["operation"], &told["state"]),
        (&"operation".into(), &id.into(), &"unknown".into()),
        "{told}"
    );
    assert!(within("it ends", tail.child.wait()).await.expect("a status").success());
    drop(proxy);
    let nobody = free_addr();
    let mut command = tokio::process::Command::new(binary());
    command.args(["ops", "tail"]).env("MAINSTAY_ADMIN", nobody.to_string()).stdin(Stdio::null());
    assert_eq!(within("it ends", command.output()).await.expect("run mainstay").status.code(), Some(3));
}

#[tokio::test]
async fn a_configuration_is_read_again_and_one_that_is_refused_is_shown_with_what_is_in_force() {
    let upstream = losing().await;
    let mut proxy = Proxy::start(Config::single(upstream.addr, POLICY).admin()).await;
    let (code, said, words) = typed(&proxy, &["reload"]).await;
    assert!(code == 0 && said.starts_with("unchanged"), "{said}{words}");
    let before = std::fs::read_to_string(proxy.file()).unwrap();
    std::fs::write(proxy.file(), before.replace("timeout: 5s", "timeout: 6s")).unwrap();
    let (code, said, words) = typed(&proxy, &["reload", "--reason", "more patience"]).await;
    // The file is watched, too: whoever comes first takes it.
    assert!(code == 0 && (said.contains("5s -> 6s") || said.starts_with("unchanged")), "{said}{words}");
    let (code, live, words) = typed(&proxy, &["config", "live"]).await;
    assert!(code == 0 && live.starts_with("# ") && live.contains("\"total\": \"6s\""), "{live}{words}");
    std::fs::write(proxy.file(), before.replace("timeout: 5s", "timeuot: 5s")).unwrap();
    let (code, said, words) = typed(&proxy, &["reload"]).await;
    assert!(code == 1 && said.is_empty() && words.contains("refused") && words.contains("timeuot"), "{said}{words}");
    let (code, document, _) = typed(&proxy, &["reload", "-o", "json"]).await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!((code, &document["result"]), (1, &"refused".into()), "{document}");
    let (_, live, _) = typed(&proxy, &["config", "live"]).await;
    assert!(
        live.contains("A reload was refused") && live.contains("timeuot") && live.contains("\"total\": \"6s\""),
        "{live}"
    );
    let trail = typed(&proxy, &["audit", "--action", "reload"]).await.1;
    assert!(trail.contains("more patience") && trail.contains("mainstay reload"), "{trail}");
    assert!(proxy.runs());
}
