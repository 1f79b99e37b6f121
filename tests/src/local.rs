//! Unix sockets for what speaks TCP: a way to one for the raw client, and one before a scripted upstream.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinHandle,
};

use crate::net::loopback;

/// An address whose connections go on to a Unix socket; it ends when dropped.
pub struct LocalWay {
    /// Where to call.
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl LocalWay {
    /// To the socket at `path`.
    pub async fn to(path: &Path) -> Self {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let path = path.to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((mut here, _)) = listener.accept().await else { continue };
                let path = path.clone();
                tokio::spawn(async move {
                    if let Ok(mut there) = UnixStream::connect(path).await {
                        tokio::io::copy_bidirectional(&mut here, &mut there).await.ok();
                    }
                });
            }
        });
        Self { addr, accepting }
    }
}

impl Drop for LocalWay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A Unix socket whose connections go on to an address. When it is dropped nobody listens there, and its file stays.
pub struct LocalFront {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl LocalFront {
    /// At `path`, before `behind`; a file that is there is replaced.
    pub fn before(path: &Path, behind: SocketAddr) -> Self {
        std::fs::remove_file(path).ok();
        let listener = UnixListener::bind(path).expect("bind to a path");
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((mut here, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    if let Ok(mut there) = TcpStream::connect(behind).await {
                        tokio::io::copy_bidirectional(&mut here, &mut there).await.ok();
                    }
                });
            }
        });
        Self { path: path.to_owned(), accepting }
    }

    /// Nobody listens any more, once this has returned.
    pub async fn leave(self) {
        self.accepting.abort();
        crate::eventually("nobody listens", || async { UnixStream::connect(&self.path).await.err() }).await;
    }
}

impl Drop for LocalFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
