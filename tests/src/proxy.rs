//! The real binary as a process.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{net::TcpStream, process::Child};

use crate::{
    client::{Client, Reply, Request},
    config::Config,
    eventually, within,
};

/// The binary under test: `MAINSTAY_BIN`, else the one next to the test executable.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MAINSTAY_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "MAINSTAY_BIN names {}, which is not a file", path.display());
        return path;
    }
    let exe = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/it-<hash>, or a program in target/<profile>
    let own = exe.parent().expect("an executable lies in a directory");
    let profile = own.parent().expect("a test executable lies in target/<profile>/deps");
    let target = profile.parent().expect("a profile directory lies in target");
    [own.join("mainstay"), profile.join("mainstay"), target.join("debug/mainstay"), target.join("release/mainstay")]
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("no mainstay binary in {}: run `cargo build -p mainstay`, or set MAINSTAY_BIN", profile.display())
        })
}

/// A directory of this test's own, removed at the end.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mainstay-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A running proxy; killed when dropped. If the test is failing, its log is shown.
pub struct Proxy {
    /// The data listener.
    pub addr: SocketAddr,
    /// The probes listener.
    pub probes: SocketAddr,
    /// The configuration that it was last given.
    pub config: Config,
    child: Child,
    pid: u32,
    dir: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.start_kill().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
            eprintln!("--- the proxy's log\n{}\n--- its configuration\n{}---", &log[tail..], self.config.render());
            return;
        }
        // Whatever a test is about, no line that its proxy wrote has one name twice.
        for line in self.log().lines().filter(|line| line.starts_with('{')) {
            if let Some(name) = crate::lines::repeated_name(line) {
                panic!("`{name}` stands twice in {line}");
            }
        }
    }
}

/// The longest a proxy may take that tries to reach something first: above what it tries for, and what a loaded machine adds.
const SLOW_START: Duration = Duration::from_mins(1);

/// How the binary is started, where that is not as usual.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which binary.
    pub binary: PathBuf,
    /// Environment variables beside the inherited ones.
    pub variables: Vec<(String, String)>,
}

impl Default for Launch {
    fn default() -> Self {
        Self { binary: binary(), variables: Vec::new() }
    }
}

impl Launch {
    /// That binary, in the inherited environment.
    pub fn of(binary: PathBuf) -> Self {
        Self { binary, variables: Vec::new() }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }
}

impl Proxy {
    /// Starts it before one upstream under one policy.
    pub async fn single(upstream: SocketAddr, policy: &str) -> Self {
        Self::start(Config::single(upstream, policy)).await
    }

    /// Starts it and waits until it is ready. Ports that somebody else took meanwhile are changed for others.
    pub async fn start(config: Config) -> Self {
        Self::launch(config, &Launch::default()).await.unwrap_or_else(|log| panic!("the proxy ended at start:\n{log}"))
    }

    /// As [`start`](Self::start).
    ///
    /// # Errors
    /// What it wrote, if it ended instead.
    pub async fn launch(mut config: Config, launch: &Launch) -> Result<Self, String> {
        for _ in 0..3 {
            let mut proxy = Self::spawn(config.clone(), launch);
            if proxy.becomes_ready().await {
                return Ok(proxy);
            }
            let log = proxy.log();
            if !log.to_lowercase().contains("in use") {
                return Err(format!("{log}\n{}", config.render()));
            }
            config.move_away();
        }
        panic!("every port was taken");
    }

    /// As [`start`](Self::start), where it waits for something on its own before it serves.
    pub async fn start_slowly(config: Config) -> Self {
        let proxy = Self::spawn(config, &Launch::default());
        let until = tokio::time::Instant::now() + SLOW_START;
        while ready_status(proxy.probes).await != Some(200) {
            assert!(tokio::time::Instant::now() < until, "it does not become ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        proxy
    }

    fn spawn(config: Config, launch: &Launch) -> Self {
        let dir = TempDir::new();
        let file = dir.join("mainstay.yaml");
        fs::write(&file, config.render()).expect("write the configuration");
        let log = fs::File::create(dir.join("log")).expect("create the log");
        let child = tokio::process::Command::new(&launch.binary)
            .arg("-c")
            .arg(&file)
            .envs(launch.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one log for both streams"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("start mainstay");
        let pid = child.id().expect("a started process has an id");
        Self { addr: config.data, probes: config.probes, config, child, pid, dir }
    }

    /// `false` if it ended instead.
    async fn becomes_ready(&mut self) -> bool {
        let probes = self.probes;
        let ready = eventually("the proxy is ready", || {
            let ended = self.child.try_wait().ok().flatten().is_some();
            async move {
                if ended {
                    return Some(false);
                }
                (ready_status(probes).await == Some(200)).then_some(true)
            }
        });
        // A failure here must show the log, which the drop of `self` does.
        ready.await
    }

    /// Everything it has written.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }

    /// The path of its configuration file.
    pub fn file(&self) -> PathBuf {
        self.dir.join("mainstay.yaml")
    }

    /// Sends a request to the data listener on a connection of its own.
    pub async fn send(&self, request: Request) -> Reply {
        request.send(self.addr).await
    }

    /// GET on the data listener.
    pub async fn get(&self, target: &str) -> Reply {
        self.send(Request::get(target)).await
    }

    /// Sends a request to the operators' listener, under a name that it answers to.
    pub async fn operate(&self, request: Request) -> Reply {
        let admin = self.config.admin.expect("this proxy has an operators' listener");
        request.header("Host", &admin.to_string()).send(admin).await
    }

    /// GET on the probes listener.
    pub async fn probe(&self, target: &str) -> Reply {
        Request::get(target).send(self.probes).await
    }

    /// The status of `/readyz`; `None` if nobody answers.
    pub async fn ready(&self) -> Option<u16> {
        ready_status(self.probes).await
    }

    /// A connection to the data listener.
    pub async fn connect(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// The operation's document.
    pub async fn operation(&self, id: &str) -> serde_json::Value {
        let reply = self.get(&format!("/_mainstay/operations/{id}")).await;
        assert_eq!(reply.status, 200, "operation {id}: {}", reply.text());
        reply.json()
    }

    /// Waits until the operation's document says that state.
    pub async fn operation_in(&self, id: &str, state: &str) -> serde_json::Value {
        eventually(&format!("operation {id} is {state}"), || async {
            let document = self.operation(id).await;
            (document["state"] == state).then_some(document)
        })
        .await
    }

    /// The sum of a metric's series that carry all these labels; `None` if there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metric_in(&self.probe("/metrics").await.text(), name, labels)
    }

    /// Replaces the configuration file in one step; nothing else.
    pub fn rewrite(&mut self, config: Config) {
        self.rewrite_text(&config.render());
        self.addr = config.data;
        self.config = config;
    }

    /// Replaces the configuration file by this text in one step.
    pub fn rewrite_text(&self, text: &str) {
        let next = self.dir.join("next");
        fs::write(&next, text).expect("write the configuration");
        fs::rename(next, self.file()).expect("swap the configuration");
    }

    /// Replaces the configuration file and sends SIGHUP.
    pub fn reload(&mut self, config: Config) {
        self.rewrite(config);
        self.signal("HUP");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name} {}", self.pid);
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the proxy ends", self.child.wait()).await.expect("wait for the proxy")
    }

    /// SIGTERM, and the exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Its process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn status_kib(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the proxy runs");
        let line = text.lines().find(|line| line.starts_with(field)).expect("the kernel knows this field");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Resident memory, bytes.
    pub fn rss(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory so far, bytes.
    pub fn peak_rss(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Threads.
    pub fn threads(&self) -> u64 {
        self.status_kib("Threads:")
    }

    /// Open file descriptors.
    pub fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the proxy runs").count()
    }
}

async fn ready_status(probes: SocketAddr) -> Option<u16> {
    let stream = TcpStream::connect(probes).await.ok()?;
    let mut client = Client { wire: crate::wire::Wire::new(stream) };
    client.wire.send(&Request::get("/readyz").bytes()).await.ok()?;
    let reply = tokio::time::timeout(Duration::from_secs(2), client.try_reply()).await;
    reply.ok()?.ok().map(|reply| reply.status)
}

/// The sum of a metric's series in Prometheus text that carry all these labels.
pub fn metric_in(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (metric, set) = series.split_once('{').unwrap_or((series, ""));
        let wanted = labels.iter().all(|(k, v)| set.contains(&format!("{k}=\"{v}\"")));
        (metric == name && wanted).then(|| value.parse::<f64>().ok()).flatten()
    });
    series.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Runs the binary with arguments to its end.
pub async fn run(arguments: &[&str]) -> std::process::Output {
    let output =
        tokio::process::Command::new(binary()).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    within("the command ends", output).await.expect("run mainstay")
}
