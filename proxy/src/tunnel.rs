//! An upgraded connection: bytes both ways until either side ends or both fall silent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::sleep,
};

use crate::{listener::Upgrade, upstream::Switched};

/// Joins the two sides once the client's has changed protocol, too. `held` is kept until the tunnel ends.
pub(crate) fn spawn(client: Upgrade, upstream: Switched, idle: Duration, held: impl Send + 'static) {
    // Ends with either connection, or after `idle` of silence.
    tokio::spawn(async move {
        let _held = held;
        match client.ready().await {
            Ok(client) => run(client, upstream, idle).await,
            Err(error) => tracing::debug!(%error, "an upgrade was granted but did not happen"),
        }
    });
}

async fn run<C, U>(client: C, upstream: U, idle: Duration)
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let active = Arc::new(AtomicBool::new(false));
    let mut client = Watched { io: client, active: active.clone() };
    let mut upstream = Watched { io: upstream, active: active.clone() };
    let silence = async {
        loop {
            sleep(idle).await;
            if !active.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        () = silence => tracing::debug!("an upgraded connection fell silent and was closed"),
    }
}

/// Notes when bytes arrive.
struct Watched<T> {
    io: T,
    active: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.active.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
