//! An upgraded connection: bytes both ways until either side ends or both fall silent.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::{Instant, sleep_until},
};

use crate::listener::Upgrade;

/// Joins the two sides once the client's has changed protocol, too. `held` is kept until the tunnel ends.
pub(crate) fn spawn<U>(client: Upgrade, upstream: U, idle: Duration, held: impl Send + 'static)
where
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
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
    let activity = Activity { began: Instant::now(), last_ms: Arc::default() };
    let mut client = Watched { io: client, activity: activity.clone() };
    let mut upstream = Watched { io: upstream, activity: activity.clone() };
    let silence = async {
        loop {
            let last = activity.last();
            sleep_until(last + idle).await;
            if activity.last() == last {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        () = silence => tracing::debug!("an upgraded connection fell silent and was closed"),
    }
}

/// When bytes last arrived on either side.
#[derive(Clone)]
struct Activity {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Activity {
    fn note(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// Notes when bytes arrive.
struct Watched<T> {
    io: T,
    activity: Activity,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.activity.note();
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::sleep,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_once_it_was_silent_for_as_long_as_it_may() {
        let ((client, mut far_client), (upstream, mut far_upstream)) = (duplex(64), duplex(64));
        let idle = Duration::from_secs(10);
        let tunnel = tokio::spawn(async move {
            let began = Instant::now();
            run(client, upstream, idle).await;
            began.elapsed()
        });
        for _ in 0..3 {
            sleep(Duration::from_secs(7)).await;
            far_client.write_all(b"x").await.unwrap();
            assert_eq!(far_upstream.read_u8().await.unwrap(), b'x');
        }
        let lasted = tunnel.await.unwrap();
        assert!(lasted.abs_diff(Duration::from_secs(31)) < Duration::from_millis(10), "{lasted:?}");
    }
}
