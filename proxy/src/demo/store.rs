//! A PostgreSQL of the demo's own: in a temporary directory, on a Unix socket, ended and removed with the demo.

use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::time::{Instant, sleep};

/// `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;
const USER: &str = "mainstay";
/// A start takes a second or two.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(
        "there is no PostgreSQL on this machine: neither `initdb` on the path nor in /usr/lib/postgresql/*/bin; install it \
         (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql; \
         macOS: brew install postgresql), or run `mainstay demo` without --replicas"
    )]
    Absent,
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("initdb refused: {0}")]
    Refused(String),
    #[error("PostgreSQL does not start:\n{0}")]
    Silent(String),
}

/// A running server; ended and removed when dropped.
pub(super) struct Store {
    server: Option<Child>,
    directory: PathBuf,
}

impl Store {
    /// Makes one and starts it.
    pub(super) async fn start() -> Result<Self, StoreError> {
        let initdb = program("initdb").ok_or(StoreError::Absent)?;
        let postgres = program("postgres").ok_or(StoreError::Absent)?;
        let directory = std::env::temp_dir().join(format!("mainstay-demo-{}", std::process::id()));
        let failed = |what| move |source| StoreError::Io { what, source };
        fs::create_dir(&directory).map_err(failed("cannot make a temporary directory"))?;
        let mut store = Self { server: None, directory };
        let data = store.directory.join("data");
        fs::create_dir(&data).map_err(failed("cannot make a directory for the store"))?;
        for path in [&store.directory, &data] {
            if is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).map_err(failed("cannot give the store its directory"))?;
            }
        }
        let made = as_nobody(&initdb)
            .args(["--auth=trust", "--encoding=UTF8", "--no-locale", "-U", USER, "-D"])
            .arg(&data)
            .output()
            .map_err(failed("initdb does not run"))?;
        if !made.status.success() {
            return Err(StoreError::Refused(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
        }
        let log = fs::File::create(store.directory.join("log")).map_err(failed("cannot make the store's log"))?;
        let server = as_nobody(&postgres)
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&store.directory)
            .args(["-c", "listen_addresses=", "-c", "max_connections=40", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C at the terminal is the demo's: it ends its store last.
            .process_group(0)
            .spawn()
            .map_err(failed("postgres does not run"))?;
        store.server = Some(server);
        store.becomes_ready().await?;
        Ok(store)
    }

    async fn becomes_ready(&mut self) -> Result<(), StoreError> {
        let until = Instant::now() + STARTS_WITHIN;
        loop {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return Ok(());
            }
            let has_ended = self.server.as_mut().is_none_or(|server| !matches!(server.try_wait(), Ok(None)));
            if has_ended || Instant::now() > until {
                return Err(StoreError::Silent(log));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where it is, for `ledger.url`.
    pub(super) fn url(&self) -> String {
        let directory = self.directory.to_string_lossy().replace('/', "%2F");
        format!("postgres://{USER}@{directory}/postgres")
    }

    /// Where the demo may put files of its own.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Its fast shutdown: its own processes end with it.
            if let Some(pid) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::INT);
            }
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_root() -> bool {
    geteuid().is_root()
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Where a program of PostgreSQL's is: Debian keeps most of them off the path. The newest version wins.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(name));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut of_debian: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    of_debian.sort();
    on_path.chain(of_debian.into_iter().rev()).find(|file| file.is_file())
}
