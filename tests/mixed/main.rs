//! Everything at once, for as long as one likes: every traffic policy on, HTTP/1.1 and HTTP/2, keyed writes and others, bodies
//! both ways, clients and services that are slow, leave, reset and break off, breakers that open and close, and a reload with
//! other numbers every few seconds. At the end nothing may be held, stuck or grown, and what the clients counted must be what
//! the proxy counted, request for request.
//!
//! `mixed [--minutes N | --seconds N] [--rate PER_SECOND] [--seed N]`

mod clients;
mod rules;
mod service;
mod streams;
mod turns;
mod verdict;
mod world;

use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use mainstay_tests::proxy::Proxy;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{
    clients::Http1, rules::Services, service::Service, streams::Http2, turns::Turns, verdict::Sample, world::World,
};

const HTTP1_CLIENTS: u32 = 24;
const HTTP2_CLIENTS: u32 = 4;
/// Streams of an HTTP/2 client count as so many clients.
const STREAMS: u32 = 3;
/// Between two reloads.
const RELOAD: Duration = Duration::from_secs(3);
/// Of a cycle in which the services fail for a third of the time.
const PHASE: Duration = Duration::from_millis(1500);
const SAMPLE: Duration = Duration::from_secs(2);

struct Arguments {
    time: Duration,
    rate: u32,
    seed: u64,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = Self { time: Duration::from_secs(20), rate: 200, seed: fastrand::u64(..1 << 40) };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let number = words.next().and_then(|value| value.parse::<u64>().ok());
            let number = number.ok_or_else(|| format!("{word} needs a number"))?;
            match word.as_str() {
                "--minutes" => arguments.time = Duration::from_secs(60 * number),
                "--seconds" => arguments.time = Duration::from_secs(number),
                "--rate" => arguments.rate = u32::try_from(number.max(1)).map_err(|error| error.to_string())?,
                "--seed" => arguments.seed = number,
                other => return Err(format!("what is {other}? --minutes, --seconds, --rate or --seed")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("mixed: {problem}");
            return ExitCode::FAILURE;
        }
    };
    println!("mixed: {:?}, --rate {}, --seed {}", arguments.time, arguments.rate, arguments.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let wrong = runtime.block_on(run(&arguments));
    if wrong.is_empty() {
        println!("no violation");
        return ExitCode::SUCCESS;
    }
    println!("VIOLATED:\n  {}", wrong.join("\n  "));
    ExitCode::FAILURE
}

async fn run(arguments: &Arguments) -> Vec<String> {
    let world = Arc::new(World::default());
    let services = [Service::http1(world.clone()).await, Service::http1(world.clone()).await];
    let streams = Service::http2(world.clone()).await;
    let addresses = Services { http1: [services[0].addr, services[1].addr], http2: streams.addr };
    let mut proxy = Proxy::start(rules::config(addresses, 0)).await;
    let first = Sample::of(&proxy);

    let mut tasks = load(&world, &proxy, arguments);
    let samples = conduct(&world, &mut proxy, addresses, arguments.time).await;
    world.stop.store(true, Ordering::Relaxed);
    world.trouble.store(false, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            world.condemn(format!("a client gave up: {error}"));
        }
    }
    verdict::judge(&world, &proxy, first, &samples).await;
    summary(&world, &proxy, first, &samples).await;
    if !proxy.runs() {
        world.condemn("the proxy ended".to_owned());
    }
    world.violations()
}

fn load(world: &Arc<World>, proxy: &Proxy, arguments: &Arguments) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let pause = Duration::from_secs(1) * (HTTP1_CLIENTS + HTTP2_CLIENTS * STREAMS) / arguments.rate;
    for number in 0..HTTP1_CLIENTS {
        let rng = Rng::with_seed(arguments.seed.wrapping_add(number.into()));
        tasks.spawn(Http1 { world: world.clone(), addr: proxy.addr, rng, pause, kept: None }.run());
    }
    for number in 0..HTTP2_CLIENTS {
        let rng = Rng::with_seed(arguments.seed.wrapping_sub(number.into()));
        tasks.spawn(Http2 { world: world.clone(), addr: proxy.addr, rng, pause }.run());
    }
    tasks.spawn(Turns { world: world.clone(), addr: proxy.addr, probes: proxy.probes }.run());
    tasks
}

/// Reloads, makes trouble, and looks at memory, until time is up.
async fn conduct(world: &World, proxy: &mut Proxy, services: Services, time: Duration) -> Vec<Sample> {
    let began = Instant::now();
    let (mut samples, mut variant) = (Vec::new(), 0);
    while began.elapsed() < time {
        sleep(Duration::from_millis(100)).await;
        let elapsed = began.elapsed();
        let phase = elapsed.as_millis() / PHASE.as_millis();
        world.trouble.store(phase % 3 == 2, Ordering::Relaxed);
        let due = (elapsed.as_millis() / RELOAD.as_millis()) as u64;
        if due > variant {
            variant = due;
            let mut next = rules::config(services, variant);
            (next.data, next.probes) = (proxy.config.data, proxy.config.probes);
            proxy.reload(next);
        }
        if elapsed.as_millis() / SAMPLE.as_millis() >= samples.len() as u128 {
            samples.push(Sample::of(proxy));
        }
    }
    samples
}

async fn summary(world: &World, proxy: &Proxy, first: Sample, samples: &[Sample]) {
    println!(
        "{:>8} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>9}",
        "policy", "sent", "admitted", "limited", "full", "open", "left", "cut off"
    );
    for policy in rules::all() {
        let tally = world.tally(policy);
        println!(
            "{policy:>8} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>9}",
            tally.sent,
            tally.admitted,
            tally.rate_limited,
            tally.overloaded,
            tally.circuit_open,
            tally.left(),
            tally.truncated,
        );
    }
    for name in ["mainstay_retries_total", "mainstay_retry_denied_total", "mainstay_breaker_rejected_total"] {
        println!("{:>9}  {name}", proxy.metric(name, &[]).await.unwrap_or_default());
    }
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let warm = samples.get(samples.len() / 5).copied().unwrap_or_default();
    let most = samples.iter().map(|sample| sample.fds).max().unwrap_or_default();
    let last = Sample::of(proxy);
    println!(
        "memory: {} MiB at the start, {} after a fifth, {} at the end",
        mib(first.rss),
        mib(warm.rss),
        mib(last.rss)
    );
    println!("descriptors: {} at the start, {most} at most, {} at the end", first.fds, last.fds);
}
