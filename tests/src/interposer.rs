//! Between a replica and its store: a socket of its own, whose traffic can be cut off, held up, or swallowed.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::{
    postgres::{Postgres, url},
    proxy::TempDir,
};

const PORT: u16 = 5432;

/// How everything passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it comes.
    Open,
    /// Answers come so much later.
    Late(Duration),
    /// Questions arrive, answers do not.
    Mute,
    /// Questions do not arrive.
    Deaf,
    /// Connections have ended, and none is made.
    Cut,
}

struct State {
    server: PathBuf,
    way: watch::Sender<Way>,
    /// Batches whose answers are to be swallowed, and those that are to end in their midst.
    swallow: AtomicU32,
    cut: AtomicU32,
    /// Batches to which that happened.
    met: AtomicU32,
}

/// A way to the store that somebody else has in hand; gone when dropped.
pub struct Interposer {
    dir: TempDir,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for Interposer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Interposer {
    /// A way to that server.
    pub fn before(server: &Postgres) -> Self {
        let dir = TempDir::new();
        let listener = UnixListener::bind(socket(&dir.join(""))).expect("a socket in a directory of its own");
        let state = Arc::new(State {
            server: socket(&server.directory()),
            way: watch::channel(Way::Open).0,
            swallow: AtomicU32::new(0),
            cut: AtomicU32::new(0),
            met: AtomicU32::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { dir, state, accepting }
    }

    /// Where the store is, for whoever is to come this way.
    pub fn url(&self) -> String {
        url(&self.dir.join(""), PORT)
    }

    /// From now on everything passes so.
    pub fn set(&self, way: Way) {
        self.state.way.send_replace(way);
    }

    /// The next batches of the writer reach the store; what it says about them reaches nobody.
    pub fn swallow(&self, batches: u32) {
        self.state.swallow.store(batches, Relaxed);
    }

    /// The connection ends in the midst of the writer's next batches.
    pub fn cut(&self, batches: u32) {
        self.state.cut.store(batches, Relaxed);
    }

    /// Batches that were swallowed or cut.
    pub fn met(&self) -> u32 {
        self.state.met.load(Relaxed)
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join(format!(".s.PGSQL.{PORT}"))
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(relay(client, Arc::clone(&state)));
    }
}

async fn relay(client: UnixStream, state: Arc<State>) {
    let mut way = state.way.subscribe();
    if *way.borrow() == Way::Cut {
        return;
    }
    let Ok(server) = UnixStream::connect(&state.server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let is_mute = AtomicBool::new(false);
    tokio::select! {
        () = questions(from_client, to_server, &state, &is_mute) => {}
        () = answers(from_server, to_client, &state, &is_mute) => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn questions(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, is_mute: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    let mut is_writer = false;
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let chunk = &buffer[..length];
        if *state.way.borrow() == Way::Deaf {
            continue;
        }
        // Who prepares to insert operations is the writer; what it sends without preparing anything is a batch.
        is_writer |= has(chunk, b".op (seq");
        let is_batch = is_writer && matches!(chunk[0], b'B' | b'Q');
        if is_batch && take(&state.swallow) {
            is_mute.store(true, Relaxed);
            state.met.fetch_add(1, Relaxed);
        }
        if is_batch && take(&state.cut) {
            let _ = to.write_all(&chunk[..length / 2]).await;
            state.met.fetch_add(1, Relaxed);
            return;
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, is_mute: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let way = *state.way.borrow();
        if is_mute.load(Relaxed) || way == Way::Mute {
            continue;
        }
        if let Way::Late(by) = way {
            tokio::time::sleep(by).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn has(chunk: &[u8], wanted: &[u8]) -> bool {
    chunk.windows(wanted.len()).any(|window| window == wanted)
}

fn take(left: &AtomicU32) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}
