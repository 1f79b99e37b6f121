//! Load shedding by CPU: `concurrency_limit: { adaptive: bbr }`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mainstay_tests::{
    prelude::*,
    proxy::{Launch, TempDir},
};
use tokio::time::Instant;

/// A control group of one CPU whose processes use a share of it that the test sets.
struct Group {
    directory: TempDir,
    percent: Arc<AtomicU64>,
    kernel: tokio::task::JoinHandle<()>,
}

impl Group {
    fn using(percent: u64) -> Self {
        let directory = TempDir::new();
        let percent = Arc::new(AtomicU64::new(percent));
        fs::write(directory.join("cpu.max"), "100000 100000\n").unwrap();
        fs::write(directory.join("cpuset.cpus.effective"), "0-7\n").unwrap();
        account(&directory.join("cpu.stat"), 0);
        let kernel = tokio::spawn(keep_account(directory.join("cpu.stat"), percent.clone()));
        Self { directory, percent, kernel }
    }

    fn launch(&self) -> Launch {
        Launch::default().with("MAINSTAY_CGROUP_ROOT", self.directory.join("").to_string_lossy())
    }

    fn set(&self, percent: u64) {
        self.percent.store(percent, Ordering::Relaxed);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kernel.abort();
    }
}

/// What the kernel does: counts the time that is used.
async fn keep_account(stat: PathBuf, percent: Arc<AtomicU64>) {
    let mut used_micros = 0.0;
    let mut last = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    loop {
        every.tick().await;
        let now = Instant::now();
        used_micros += (now - last).as_secs_f64() * 1e4 * percent.load(Ordering::Relaxed) as f64;
        last = now;
        account(&stat, used_micros as u64);
    }
}

/// Written beside and renamed, since a reader of the kernel's own never sees half of it.
fn account(stat: &Path, used_micros: u64) {
    let fresh = stat.with_extension("fresh");
    fs::write(&fresh, format!("usage_usec {used_micros}\nuser_usec 0\nsystem_usec {used_micros}\n")).unwrap();
    fs::rename(&fresh, stat).unwrap();
}

const POLICY: &str = "timeout: 60s, concurrency_limit: { max_concurrent: 100, adaptive: bbr }";

/// A proxy before a service that holds requests under `/held` until the gate opens.
async fn before_a_service(group: &Group) -> (Proxy, Upstream, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |seen| match seen.target.as_str() {
        "/held" => Answer::ok("ok").behind(&held),
        _ => Answer::ok("ok").steps(),
    })
    .await;
    // One worker, so that requests are met in the order in which they are sent.
    let config = Config::single(upstream.addr, POLICY).top("limits: { workers: 1 }").admin();
    let proxy = Proxy::launch(config, &group.launch()).await.unwrap();
    proxy.get("/").await.expect_upstream(200);
    (proxy, upstream, gate)
}

/// Sends a request that the service holds.
async fn hold(proxy: &Proxy, upstream: &Upstream) -> Client {
    let number = upstream.count() + 1;
    let mut client = proxy.connect().await;
    client.write(&Request::get("/held").bytes()).await;
    upstream.wait_requests(number).await;
    client
}

async fn gauge(proxy: &Proxy, name: &str) -> Option<f64> {
    proxy.metric(name, &[]).await
}

#[tokio::test]
async fn a_busy_cpu_sheds_what_the_service_was_not_seen_to_manage_until_it_has_calmed() {
    let group = Group::using(100);
    let (proxy, upstream, gate) = before_a_service(&group).await;
    eventually("requests are shed", || async {
        (gauge(&proxy, "mainstay_load_shedding").await == Some(1.0)).then_some(())
    })
    .await;
    assert!(gauge(&proxy, "mainstay_cpu_load_ratio").await.is_some_and(|load| (0.8..=1.0).contains(&load)));
    let capacity =
        eventually("the capacity is known", || async { gauge(&proxy, "mainstay_concurrency_capacity").await }).await;
    let mut held = Vec::new();
    for _ in 0..=capacity.max(1.0) as u32 {
        held.push(hold(&proxy, &upstream).await);
    }
    let shed = proxy.get("/").await;
    shed.expect_problem(503, "overloaded");
    assert!(shed.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(shed.json()["effect"], "none");
    assert_eq!(upstream.count(), held.len() + 1, "nothing of it reached the service");
    assert_eq!(gauge(&proxy, "mainstay_load_shed_total").await, Some(1.0));
    assert_eq!(gauge(&proxy, "mainstay_overloaded_total").await, Some(1.0), "it is one of them");
    let limits = proxy.operate(Request::get("/limits")).await.json();
    let limit = &limits["routes"][0]["concurrency_limit"];
    assert_eq!((&limit["shedding"], limit["capacity"].as_f64()), (&true.into(), Some(capacity)), "{limits}");

    group.set(0);
    eventually("an idle CPU sheds nothing", || async { (proxy.get("/").await.status == 200).then_some(()) }).await;
    for _ in 0..10 {
        held.push(hold(&proxy, &upstream).await);
    }
    gate.open();
    for mut client in held {
        client.reply().await.expect_upstream(200);
    }
}

#[tokio::test]
async fn a_cpu_below_the_threshold_sheds_nothing() {
    let group = Group::using(50);
    let (proxy, upstream, gate) = before_a_service(&group).await;
    eventually("the load is known", || async { gauge(&proxy, "mainstay_cpu_load_ratio").await }).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(hold(&proxy, &upstream).await);
    }
    assert_eq!(gauge(&proxy, "mainstay_load_shedding").await, Some(0.0));
    gate.open();
    for mut client in held {
        client.reply().await.expect_upstream(200);
    }
}

#[tokio::test]
async fn a_control_group_that_is_not_there_ends_the_start_only_where_it_is_needed() {
    let empty = TempDir::new();
    fs::create_dir_all(empty.join("")).unwrap();
    let launch = Launch::default().with("MAINSTAY_CGROUP_ROOT", empty.join("").to_string_lossy());
    let error = Proxy::launch(Config::single(free_addr(), POLICY), &launch).await.err().expect("it does not start");
    assert!(error.contains("has no CPU account"), "{error}");
    Proxy::launch(Config::single(free_addr(), "timeout: 5s"), &launch).await.expect("nothing asks for it");
}
