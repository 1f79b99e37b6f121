//! The program on a terminal, as a person has it: a pseudo-terminal of Python's, which every machine of the tests has.

use std::process::Stdio;

use crate::{PATIENCE, proxy::binary};

/// Runs the program after a terminal of so many lines and columns, and does what it is told when it sees what it waits for.
const DRIVER: &str = r#"
import fcntl, json, os, pty, select, signal, struct, sys, termios, time

steps, (rows, columns), patience = json.loads(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execv(sys.argv[4], sys.argv[4:])
seen, at, until = b"", 0, time.monotonic() + patience
while True:
    while steps and (found := seen.find(steps[0][0].encode(), at)) >= 0:
        awaited, sent = steps.pop(0)
        at = found + len(awaited.encode())
        if sent.startswith("SIG"):
            os.kill(pid, getattr(signal, sent))
        else:
            os.write(terminal, sent.encode())
    if not select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        os.kill(pid, signal.SIGKILL)
        break
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(seen)
if steps:
    sys.stderr.write(f"never seen: {steps[0][0]!r}")
    code = 125
sys.exit(code if code >= 0 else 128 - code)
"#;

/// Runs the program on a terminal of `(rows, columns)`. Each step waits until something is written and then types something, or
/// sends the signal of that name (`SIGTERM`). The exit code, and all that was written.
///
/// # Panics
/// It does not end, or something was never written.
pub async fn on_terminal(
    line: &[&str],
    steps: &[(&str, &str)],
    size: (u16, u16),
    variables: &[(&str, &str)],
) -> (i32, String) {
    let steps = serde_json::to_string(steps).expect("texts");
    let mut command = tokio::process::Command::new("python3");
    command.args(["-c", DRIVER, &steps, &format!("[{}, {}]", size.0, size.1), &PATIENCE.as_secs().to_string()]);
    command.arg(binary()).args(line).envs(variables.iter().copied()).env("TERM", "xterm-256color");
    command.stdin(Stdio::null()).kill_on_drop(true);
    // The driver gives up first, and tells what it saw.
    let ran = tokio::time::timeout(2 * PATIENCE, command.output()).await.expect("the driver ends");
    let output = ran.expect("run python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.is_empty(), "{words}; seen:\n{text}");
    (output.status.code().expect("it was not killed"), text)
}
