//! The services behind the proxy. Each request says in `X-Plan` what shall be done with it; in times of trouble most of what
//! should go well does not.

use std::{net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::Response;
use mainstay_tests::{
    net::loopback,
    script::Answer,
    wire::{Body, Framing, Head, Wire},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::world::World;

/// Nothing is held for longer.
const HELD: Duration = Duration::from_secs(15);
const PART: &[u8] = &[b'x'; 8 * 1024];

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Answer(u16),
    Slow(Duration),
    /// So many bytes.
    Big(usize),
    /// A body a bit at a time.
    Trickle,
    /// A head, a part of the body, and the end.
    Truncate,
    Reset,
    Close,
    /// Nothing until the client lets it.
    Hold,
}

impl Plan {
    fn of(text: &str, world: &World) -> Self {
        let (name, number) = text.split_once(':').unwrap_or((text, ""));
        let number: u64 = number.parse().unwrap_or_default();
        match name {
            "slow" => Self::Slow(Duration::from_millis(number)),
            "big" => Self::Big(number as usize),
            "trickle" => Self::Trickle,
            "truncate" => Self::Truncate,
            "reset" => Self::Reset,
            "close" => Self::Close,
            "hold" => Self::Hold,
            // In times of trouble, too.
            "well" => Self::Answer(200),
            _ if world.trouble.load(Ordering::Relaxed) => match fastrand::u32(..10) {
                0..5 => Self::Answer(503),
                5..7 => Self::Answer(500),
                7 => Self::Slow(Duration::from_millis(400)),
                _ => Self::Answer(200),
            },
            _ => Self::Answer(200),
        }
    }
}

/// A service that listens; it ends when dropped.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Service {
    /// One that speaks HTTP/1.1.
    pub(crate) async fn http1(world: Arc<World>) -> Self {
        Self::start(move |stream| serve(Wire::new(stream), Arc::clone(&world))).await
    }

    /// One that speaks HTTP/2 with prior knowledge.
    pub(crate) async fn http2(world: Arc<World>) -> Self {
        Self::start(move |stream| serve_streams(stream, Arc::clone(&world))).await
    }

    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(loopback(0)).await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, accepting }
    }
}

async fn serve(mut wire: Wire, world: Arc<World>) {
    while let Ok(Some(head)) = wire.head().await {
        if let Some(key) = head.start_line.split(' ').nth(1).and_then(|target| target.strip_prefix("/by-ref/")) {
            let status = if world.effects(key) > 0 { 200 } else { 404 };
            if wire.send(&Answer::status(status).bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let plan = Plan::of(head.headers.value("x-plan").unwrap_or_default(), &world);
        let id = head.headers.value("x-id").and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
        world.arrived(id);
        let mut body = Body::default();
        if wire.body(framing(&head), &mut body).await.is_err() {
            return;
        }
        let keeps = match plan {
            Plan::Reset => {
                wire.reset();
                return;
            }
            Plan::Close => {
                wire.finish().await;
                return;
            }
            _ => {
                if plan != Plan::Answer(503)
                    && let Some(key) = head.headers.value("idempotency-key")
                {
                    world.acts(key.trim_matches('"'));
                }
                carry_out(&mut wire, plan, id, &world).await
            }
        };
        if !keeps {
            return;
        }
    }
}

fn framing(head: &Head) -> Framing {
    if head.headers.has("transfer-encoding") {
        return Framing::Chunked;
    }
    head.headers.value("content-length").and_then(|it| it.parse().ok()).map_or(Framing::None, Framing::Length)
}

/// Whether the connection can be used again.
async fn carry_out(wire: &mut Wire, plan: Plan, id: u64, world: &World) -> bool {
    match plan {
        Plan::Answer(status) => wire.send(&Answer::status(status).body("ok").bytes()).await.is_ok(),
        Plan::Slow(time) => {
            sleep(time).await;
            wire.send(&Answer::ok("slow").bytes()).await.is_ok()
        }
        Plan::Hold => {
            tokio::select! {
                _ = timeout(HELD, world.released(id)) => wire.send(&Answer::ok("held").bytes()).await.is_ok(),
                // Pipelined bytes never come from the proxy: this is its end of the connection.
                _ = wire.readable() => false,
            }
        }
        Plan::Big(size) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let mut sent = wire.send(head.as_bytes()).await.is_ok();
            let mut left = size;
            while sent && left > 0 {
                let part = left.min(PART.len());
                sent = wire.send(&PART[..part]).await.is_ok();
                left -= part;
            }
            sent
        }
        Plan::Trickle => {
            let mut sent = wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.is_ok();
            for _ in 0..10 {
                sleep(Duration::from_millis(30)).await;
                sent = sent && wire.send(b"4\r\nbit!\r\n").await.is_ok();
            }
            sent && wire.send(b"0\r\n\r\n").await.is_ok()
        }
        Plan::Truncate | Plan::Reset | Plan::Close => {
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nnot all of it").await.ok();
            false
        }
    }
}

async fn serve_streams(stream: TcpStream, world: Arc<World>) {
    let Ok(mut server) = h2::server::handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = server.accept().await {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let plan = Plan::of(header("x-plan"), &world);
        let id = header("x-id").parse().unwrap_or(u64::MAX);
        world.arrived(id);
        let world = Arc::clone(&world);
        streams.spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(part)) = body.data().await {
                let _ = body.flow_control().release_capacity(part.len());
            }
            drop(answer_stream(plan, id, respond, &world).await);
        });
        while streams.try_join_next().is_some() {}
    }
}

async fn answer_stream(
    plan: Plan,
    id: u64,
    mut respond: h2::server::SendResponse<Bytes>,
    world: &World,
) -> Result<(), h2::Error> {
    let head = |status| Response::builder().status(status).body(()).expect("a status is all there is");
    match plan {
        Plan::Reset | Plan::Close => {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            return Ok(());
        }
        Plan::Slow(time) => sleep(time).await,
        Plan::Hold => {
            tokio::select! {
                _ = timeout(HELD, world.released(id)) => {}
                _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return Ok(()),
            }
        }
        Plan::Answer(_) | Plan::Big(_) | Plan::Trickle | Plan::Truncate => {}
    }
    let status = if let Plan::Answer(status) = plan { status } else { 200 };
    let mut send = respond.send_response(head(status), false)?;
    match plan {
        Plan::Truncate => {
            send.send_data(Bytes::from_static(b"not all of it"), false)?;
            send.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        Plan::Big(size) => send.send_data(Bytes::from(vec![b'x'; size]), true)?,
        Plan::Trickle => {
            for _ in 0..10 {
                sleep(Duration::from_millis(30)).await;
                send.send_data(Bytes::from_static(b"bit!"), false)?;
            }
            send.send_data(Bytes::new(), true)?;
        }
        _ => send.send_data(Bytes::from_static(b"ok"), true)?,
    }
    // A reset by the other side ends a body that is still to be sent.
    Ok(())
}
