//! What a disk does on a bad day: system calls of a running process that fail or take their time, by `strace`.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use crate::{eventually, proxy::TempDir};

/// The calls by which a store makes something durable.
pub const SYNC: &str = "fsync,fdatasync";

/// A process whose system calls are tampered with, until this is dropped.
pub struct Tampered {
    strace: Child,
    _home: TempDir,
}

impl Tampered {
    /// From now on `calls` of the process behave as `how` says, in strace's words: `error=EIO`, `delay_enter=2s`.
    pub async fn with(pid: u32, calls: &str, how: &str) -> Self {
        let home = TempDir::new();
        let words = home.join("words");
        let strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{how}")])
            .args(["-o", "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&words).expect("a file for what strace says"))
            .spawn()
            .expect("strace runs: install it (Debian package strace)");
        let tampered = Self { strace, _home: home };
        eventually("strace has the process", || async {
            let said = fs::read_to_string(&words).unwrap_or_default();
            assert!(!said.contains("not permitted"), "this test needs leave to trace a process: {said}");
            said.contains(" attached").then_some(())
        })
        .await;
        tampered
    }
}

impl Drop for Tampered {
    /// Lets go of the process: strace detaches when it is asked to end.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.strace.id().to_string()).status();
        let _ = self.strace.wait();
    }
}
