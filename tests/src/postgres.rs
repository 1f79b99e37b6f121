//! A PostgreSQL of a test's own, and a `PgBouncer` before it: on a Unix socket under a temporary directory, as a user who is not
//! root, ended by its process.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::Instant;

use crate::{proxy::TempDir, skew::Skew};

/// `nobody`, where the tests run as root: PostgreSQL refuses that.
const NOBODY: u32 = 65_534;
const USER: &str = "mainstay";

/// A running server; stopped when dropped.
pub struct Postgres {
    child: Child,
    dir: TempDir,
    /// Of its socket, too.
    port: u16,
    more: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Postgres {
    /// A fresh server; `None` if there is none on this machine, which outside of CI is no fault.
    pub fn start() -> Option<Self> {
        Self::start_with(5432, Vec::new(), |_| {})
    }

    /// The same with a port and more arguments of its own, after `prepare` did what it likes to the directory of its data.
    pub fn start_with(port: u16, more: Vec<String>, prepare: impl FnOnce(&Path)) -> Option<Self> {
        Self::start_in(Vec::new(), port, more, prepare)
    }

    /// The same with a wall clock of its own.
    pub fn start_by(clock: &Skew) -> Option<Self> {
        Self::start_in(clock.variables(), 5432, Vec::new(), |_| {})
    }

    fn start_in(
        variables: Vec<(String, String)>,
        port: u16,
        more: Vec<String>,
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        let Some(initdb) = program("initdb") else {
            assert!(std::env::var_os("CI").is_none(), "no `initdb`: ./tests/run installs PostgreSQL");
            eprintln!("skipped: there is no PostgreSQL on this machine");
            return None;
        };
        let dir = TempDir::new();
        let data = dir.join("data");
        fs::create_dir(&data).expect("a directory for the data");
        give_away(&dir.join(""));
        give_away(&data);
        let made = as_nobody(&initdb)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", "-U", USER, "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        prepare(&data);
        let child = launch(&dir, port, &more, &variables);
        let mut server = Self { child, dir, port, more, variables };
        server.becomes_ready();
        Some(server)
    }

    fn becomes_ready(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.try_sql("SELECT 1").is_err() {
            assert!(Instant::now() < until && self.runs(), "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// User and system time of all its processes so far, in microseconds; the kernel counts in hundredths of a second.
    pub fn cpu_us(&self) -> u64 {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let spent = |pid: &str| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // Its own, and that of those which it has seen end.
            let fields = text.rsplit(')').next()?.split_whitespace().skip(11).take(4);
            fields.map(|field| field.parse::<u64>().ok()).sum()
        };
        let all = std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned));
        all.filter_map(|pid| spent(&pid)).sum::<u64>() * 10_000
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Where its data are.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The directory of its socket.
    pub fn directory(&self) -> PathBuf {
        self.dir.join("")
    }

    /// Where it is.
    pub fn url(&self) -> String {
        url(&self.dir.join(""), self.port)
    }

    /// Runs statements; the rows as text, a line each.
    ///
    /// # Errors
    /// What the server says.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        let psql = program("psql").expect("where there is initdb, there is psql");
        let done = Command::new(psql)
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres", "-h"])
            .arg(self.dir.join(""))
            .args(["-p", &self.port.to_string(), "-c", text])
            .output()
            .expect("psql runs");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// Starts a client that runs statements for as long as they last; it ends when it is dropped.
    pub fn client(&self, text: &str) -> Guest {
        let psql = program("psql").expect("where there is initdb, there is psql");
        let mut command = Command::new(psql);
        command.args(["-X", "-q", "-U", USER, "-d", "postgres", "-h"]).arg(self.dir.join("")).args(["-c", text]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Guest(command.spawn().expect("psql runs"))
    }

    /// The same, of which nothing goes wrong.
    pub fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Kills it, all of it at once.
    pub fn kill(&mut self) {
        // A server process would go on with its client for a while without the one that all of them belong to.
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        self.child.kill().expect("it runs");
        for child in children.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", child]).stderr(Stdio::null()).status();
        }
        self.child.wait().expect("it has ended");
    }

    /// Stops it as its administrator does: clients are cut off, what they had under way is rolled back.
    pub fn stop(&mut self) {
        let _ = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status();
        self.child.wait().expect("it has ended");
    }

    /// Sends a signal to all of its processes: with `STOP` it stands still, with `CONT` it goes on.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for process in std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned)) {
            let _ = Command::new("kill").args([&format!("-{name}"), &process]).stderr(Stdio::null()).status();
        }
    }

    /// Changes a setting for everybody who is connected, too; `None`: back to what it was.
    pub fn set(&self, name: &str, value: Option<&str>) {
        self.sql(&value.map_or_else(
            || format!("ALTER SYSTEM RESET {name}"),
            |value| format!("ALTER SYSTEM SET {name} = '{value}'"),
        ));
        self.sql("SELECT pg_reload_conf()");
    }

    /// Keeps a copy of what it has, for [`restore`](Self::restore). It must have ended.
    pub fn backup(&self) {
        self.copy("data", "backup");
    }

    /// Puts the copy in the place of what it has. It must have ended.
    pub fn restore(&self) {
        self.copy("backup", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.dir.join(from), self.dir.join(to));
        let _ = fs::remove_dir_all(&to);
        let done = Command::new("cp").arg("-a").args([&from, &to]).status();
        assert!(done.is_ok_and(|status| status.success()), "cp -a {} {}", from.display(), to.display());
    }

    /// Starts it again, with what it had.
    pub fn restart(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            self.child = launch(&self.dir, self.port, &self.more, &self.variables);
            std::thread::sleep(Duration::from_millis(200));
            if self.runs() {
                break;
            }
            assert!(Instant::now() < until, "PostgreSQL does not start again: {}", self.log());
        }
        self.becomes_ready();
    }

    /// A `PgBouncer` before it, in transaction mode; `None` as for [`start`](Self::start).
    pub fn bouncer(&self) -> Option<Bouncer> {
        let Some(pgbouncer) = program("pgbouncer") else {
            assert!(std::env::var_os("CI").is_none(), "no `pgbouncer`: ./tests/run installs it");
            eprintln!("skipped: there is no PgBouncer on this machine");
            return None;
        };
        let socket = self.dir.join("bouncer");
        fs::create_dir(&socket).expect("a directory for the socket");
        give_away(&socket);
        let server = self.dir.join("");
        let file = self.dir.join("bouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host={} port={} user={USER}\n[pgbouncer]\nunix_socket_dir = {}\nlisten_port = 6432\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nignore_startup_parameters = options\n",
            server.display(),
            self.port,
            socket.display()
        );
        fs::write(&file, settings).expect("write its settings");
        let log = fs::File::create(self.dir.join("bouncer.log")).expect("create its log");
        let child = as_nobody(&pgbouncer).arg(&file).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        let bouncer = Bouncer { child, socket };
        let until = Instant::now() + Duration::from_secs(10);
        while !bouncer.socket.join(".s.PGSQL.6432").exists() {
            let log = fs::read_to_string(self.dir.join("bouncer.log")).unwrap_or_default();
            assert!(Instant::now() < until, "PgBouncer does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(bouncer)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is its fast shutdown: clients are cut off, children end with it.
        let _ = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A client of the server's; ended when dropped.
pub struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `PgBouncer`; ended when dropped.
pub struct Bouncer {
    child: Child,
    socket: PathBuf,
}

impl Bouncer {
    /// Where it is.
    pub fn url(&self) -> String {
        url(&self.socket, 6432)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn url(socket: &Path, port: u16) -> String {
    let directory = socket.to_string_lossy().trim_end_matches('/').replace('/', "%2F");
    format!("postgres://{USER}@{directory}:{port}/postgres")
}

fn launch(dir: &TempDir, port: u16, more: &[String], variables: &[(String, String)]) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).expect("create the log");
    // fsync stays on: the ledger refuses a store that may lose what it acknowledged.
    as_nobody(&program("postgres").expect("where there is initdb, there is postgres"))
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir.join(""))
        .args(["-c", "listen_addresses=", "-c", "max_connections=60", "-c", "shared_buffers=16MB"])
        .args(["-p", &port.to_string()])
        .args(more)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres starts")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Gives a file or directory to whom the server runs as.
pub fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("a directory can be given away");
    }
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Where a program of PostgreSQL's is: Debian keeps most of them off the path.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|directory| directory.join(name));
    let of_debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut of_debian: Vec<_> = of_debian.map(|version| version.path().join("bin").join(name)).collect();
    of_debian.sort();
    let elsewhere = [PathBuf::from("/usr/sbin").join(name)];
    on_path.chain(of_debian.into_iter().rev()).chain(elsewhere).find(|file| file.is_file())
}
