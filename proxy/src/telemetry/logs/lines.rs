//! A bounded buffer of lines and the thread that writes them.
//!
//! A line is copied under a short lock. The thread lets lines gather for [`LINGER`], takes them all and writes them at once,
//! so a busy log costs a few system calls a second, and an idle one none.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Long enough to gather, short enough that a person who watches does not notice.
const LINGER: Duration = Duration::from_millis(20);

/// Where lines go.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
    /// A person reads them on a terminal, so an event of several lines stays so.
    keeps_breaks: bool,
}

struct Shared {
    state: Mutex<State>,
    /// The buffer is no longer empty.
    filled: Condvar,
    /// Everything is written.
    idle: Condvar,
    capacity: usize,
    dropped: Arc<AtomicU64>,
}

struct State {
    buffer: Vec<u8>,
    writing: bool,
}

impl Lines {
    /// Starts a thread that writes to `sink`; it lives as long as the process.
    pub(super) fn start(
        name: &str,
        sink: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { buffer: Vec::new(), writing: false }),
            filled: Condvar::new(),
            idle: Condvar::new(),
            capacity,
            dropped,
        });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || theirs.write_to(sink))?;
        Ok(Self { shared, keeps_breaks: false })
    }

    /// The same for a terminal, if it is one: events of several lines, such as errors in the configuration, stay so, each line
    /// after the first set in, so that none can be taken for an event of its own.
    pub(super) fn for_terminal(mut self, is_terminal: bool) -> Self {
        self.keeps_breaks = is_terminal;
        self
    }

    /// Adds a line with its line feed, or drops and counts it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.shared.state.lock();
        if state.buffer.len() + line.len() > self.shared.capacity {
            drop(state);
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        let wake = state.buffer.is_empty() && !state.writing;
        state.buffer.extend_from_slice(line);
        drop(state);
        if wake {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything is written, at most so long.
    pub(super) fn flush(&self, within: Duration) {
        let mut state = self.shared.state.lock();
        // An error is only the news that time ran out.
        let _ = self.shared.idle.wait_while_for(&mut state, |state| state.writing || !state.buffer.is_empty(), within);
    }
}

impl Shared {
    fn write_to(&self, mut sink: impl Write) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                state.writing = false;
                if state.buffer.is_empty() {
                    self.idle.notify_all();
                    self.filled.wait_while(&mut state, |state| state.buffer.is_empty());
                }
                state.writing = true;
            }
            std::thread::sleep(LINGER);
            std::mem::swap(&mut self.state.lock().buffer, &mut taken);
            // Nobody is left to tell if the log cannot be written.
            let _ = sink.write_all(&taken).and_then(|()| sink.flush());
            taken.clear();
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { lines: self.clone(), text: Vec::with_capacity(256) }
    }
}

/// One event of `tracing`; it becomes one line, whatever is in it.
pub(super) struct Line {
    lines: Lines,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let mut line = Vec::with_capacity(self.text.len() + 1);
        let text = text.trim_end_matches('\n');
        if self.lines.keeps_breaks {
            for (at, part) in text.split('\n').enumerate() {
                line.extend_from_slice(if at == 0 { &b""[..] } else { &b"\n    "[..] });
                super::escape::controls(part, &mut line);
            }
        } else {
            super::escape::controls(text, &mut line);
        }
        line.push(b'\n');
        self.lines.push(&line);
    }
}
