//! One thread that serves: a single-threaded runtime with its own sockets and its own upstream connections, so that no
//! request crosses threads or waits for a lock that another core holds.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    sync::{mpsc, watch},
    task::yield_now,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::runtime::Runtime;
use crate::{
    attempts::alarm,
    config::model::{self, Direction},
    listener::{
        self, Connections, Patience, SWEEP_EVERY,
        handshake::{self, Shaken},
    },
    request::{
        refused,
        session::{Certified, Session},
    },
    telemetry::metrics::ListenerMetrics,
    wire::{
        age::spread,
        forward::{Address, Client},
        transport::Transport,
        turns,
    },
};

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are accepted before the worker looks what else is ready: each takes a tenth of a millisecond of its time, and
/// hundreds may come at once.
const ACCEPT_AT_ONCE: u32 = 4;

/// Tasks that are polled before the worker looks what else is ready: of tokio's 61 many may be as long, and a read that has come
/// meanwhile queues behind all that they wake.
const TASKS_AT_ONCE: u32 = 16;

/// How long tasks may go on when a worker ends; what is still running then is dropped.
const END_WITHIN: Duration = Duration::from_millis(500);

/// A listening socket for a worker to serve.
pub(crate) struct Listen {
    /// Replaced in place when a reload changes all but the address.
    pub(crate) params: Arc<ArcSwap<model::Listener>>,
    pub(crate) socket: Listening,
    /// Accepting ends when this becomes true.
    pub(crate) stop: watch::Receiver<bool>,
}

/// A socket that connections are accepted on.
pub(crate) enum Listening {
    /// Of the network.
    Internet(std::net::TcpListener),
    /// A Unix socket, which all workers share.
    Unix(std::os::unix::net::UnixListener),
}

/// The same, in a worker.
enum Accepting {
    Internet(TcpListener),
    Unix(UnixListener),
}

/// Who calls over a Unix socket is on this machine, and has no port.
const LOCAL_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Accepting {
    fn new(socket: Listening) -> io::Result<Self> {
        match socket {
            Listening::Internet(socket) => TcpListener::from_std(socket).map(Self::Internet),
            Listening::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, SocketAddr)>> {
        match self {
            Self::Internet(socket) => socket.poll_accept(cx).map_ok(|(stream, peer)| (Transport::Clear(stream), peer)),
            Self::Unix(socket) => socket.poll_accept(cx).map_ok(|(stream, _)| (Transport::Local(stream), LOCAL_PEER)),
        }
    }
}

/// A running worker; it ends when its sender of sockets is dropped.
pub(crate) struct Worker {
    pub(crate) sockets: mpsc::UnboundedSender<Listen>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts worker `number`.
///
/// # Errors
/// No runtime or no thread.
pub(crate) fn start(number: usize, runtime: Arc<Runtime>) -> std::io::Result<Worker> {
    let (sockets, incoming) = mpsc::unbounded_channel();
    let executor = tokio::runtime::Builder::new_current_thread().event_interval(TASKS_AT_ONCE).enable_all().build()?;
    let thread = thread::Builder::new().name(format!("mainstay-{number}")).spawn(move || {
        executor.block_on(run(number, runtime, incoming));
        executor.shutdown_timeout(END_WITHIN);
    })?;
    Ok(Worker { sockets, thread })
}

async fn run(number: usize, runtime: Arc<Runtime>, mut incoming: mpsc::UnboundedReceiver<Listen>) {
    tokio::spawn(turns::keep());
    let connections = Arc::new(Connections::new(runtime.resources.clock.now()));
    let mut cutting_off = runtime.cutting_off.subscribe();
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            listen = incoming.recv() => match listen {
                // Ends when the listener's `stop` says so.
                Some(listen) => { tokio::spawn(accept(number, runtime.clone(), connections.clone(), listen)); }
                None => return,
            },
            Ok(_) = cutting_off.wait_for(|over| *over), if !alarm::is_cut_off() => alarm::cut_off(),
            now = sweep.tick() => {
                let snapshot = runtime.snapshot.load();
                let patience = Patience {
                    header_timeout: snapshot.config.limits.header_timeout,
                    keep_alive: snapshot.config.limits.keep_alive,
                    aged: snapshot.config.drain.delay,
                    draining: runtime.idle_patience(Direction::Inbound, snapshot.config.drain.delay),
                    draining_outbound: runtime.idle_patience(Direction::Outbound, snapshot.config.drain.delay),
                };
                connections.sweep(&patience, runtime.resources.clock.now());
                for upstream in snapshot.upstreams.values() {
                    upstream.sweep(number, now);
                }
                // One of them asks for all; a service that goes says so to nobody's use.
                if number == 0 && !runtime.is_draining(Direction::Inbound) {
                    snapshot.upstreams.values().for_each(|upstream| upstream.check_health(now));
                }
            }
        }
    }
}

/// Accepts until told to stop, then takes what the kernel had accepted already.
async fn accept(number: usize, runtime: Arc<Runtime>, connections: Arc<Connections>, listen: Listen) {
    let Listen { params, socket, mut stop } = listen;
    let socket = match Accepting::new(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a listening socket cannot be used");
            return;
        }
    };
    let metrics = runtime.resources.metrics.listener(&params.load().name);
    let direction = || params.load().direction;
    let mut at_once = 0;
    loop {
        if at_once == ACCEPT_AT_ONCE {
            at_once = 0;
            yield_now().await;
        }
        let accepted = tokio::select! {
            accepted = std::future::poll_fn(|cx| socket.poll_accept(cx)) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                at_once += 1;
                let limit = runtime.snapshot.load().config.limits.connections.get();
                if runtime.places.open() >= limit {
                    metrics.connection_limited();
                }
                // Nothing more is accepted meanwhile: the kernel's queue fills, and new clients wait there.
                let place = runtime.places.take(limit, direction()).await;
                spawn_connection(number, &runtime, &connections, &params, &metrics, (stream, peer, place));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Closing the socket would reset the connections that wait in its queue.
    while let Some(Ok((stream, peer))) = std::future::poll_fn(|cx| match socket.poll_accept(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        let place = runtime.places.take(usize::MAX, direction()).await;
        spawn_connection(number, &runtime, &connections, &params, &metrics, (stream, peer, place));
    }
}

fn spawn_connection(
    number: usize,
    runtime: &Arc<Runtime>,
    connections: &Arc<Connections>,
    params: &Arc<ArcSwap<model::Listener>>,
    metrics: &ListenerMetrics,
    (stream, peer, place): (Transport, SocketAddr, listener::Place),
) {
    if let Some(Err(error)) = stream.tcp().map(|stream| stream.set_nodelay(true)) {
        tracing::debug!(%error, "a client left at once");
        return;
    }
    // Asked of the kernel only where it is not plain: whoever calls from loopback is as near as can be.
    let own = if peer.ip().to_canonical().is_loopback() {
        peer
    } else {
        stream.tcp().and_then(|stream| stream.local_addr().ok()).unwrap_or(peer)
    };
    let age = runtime.snapshot.load().config.limits.max_connection_age.map(spread);
    let connection = connections.open(place, age);
    let listener = params.load();
    let session = Session {
        runtime: runtime.clone(),
        worker: number,
        accepted_by: (listener.name.clone(), listener.address.clone()),
        listener: params.clone(),
        client: Client {
            address: Address::new(peer.ip()),
            is_secure: listener.tls.is_some(),
            direction: listener.direction,
        },
        peer,
        own: own.ip(),
        connection: connection.clone(),
        caller: None,
    };
    let open = metrics.connection();
    // Ends with the connection, or when the sweep finds that it takes too long.
    let task = match stream {
        Transport::Clear(stream) if listener.tls.is_some() => {
            let metrics = metrics.clone();
            tokio::spawn(async move {
                let _open = open;
                serve_secure(stream, session, &metrics, age).await;
            })
        }
        stream => {
            let session = serving(session, false, age);
            tokio::spawn(async move {
                let _open = open;
                // Made here: a future that is moved in would have its room twice.
                listener::serve(stream, peer, session).await;
            })
        }
    };
    connections.watch(connection, task.abort_handle());
}

/// `age`: how old the connection grows.
fn serving(session: Session, speaks_http2: bool, age: Option<Duration>) -> listener::Serving<Session> {
    let runtime = &session.runtime;
    listener::Serving {
        connection: session.connection.clone(),
        limits: runtime.snapshot.load().config.limits.clone(),
        last_word: refused::head,
        draining: runtime.ending(session.client.direction).subscribe(),
        speaks_http2,
        valid_for: session.caller.as_ref().map(|caller| caller.time_left()).into_iter().chain(age).min(),
        service: Arc::new(session),
    }
}

/// Shakes hands with a client, and serves it.
async fn serve_secure(stream: TcpStream, mut session: Session, metrics: &ListenerMetrics, age: Option<Duration>) {
    let (name, peer) = (session.accepted_by.0.clone(), session.peer);
    let snapshot = session.runtime.snapshot.load_full();
    // Missing only where a reload gives a listener TLS in this very moment; its client comes again.
    let Some(acceptor) = snapshot.secured.listeners.get(&name) else { return };
    let within = snapshot.config.limits.handshake_timeout;
    let shaken = Box::pin(handshake::shake(stream, acceptor, within)).await;
    metrics.handshake(shaken.as_ref().map_or_else(|failed| failed.word, |_| "ok"));
    match shaken {
        Ok(Shaken { transport, caller, speaks_http2 }) => {
            session.caller = caller.map(|caller| Box::new(Certified::new(caller)));
            drop(snapshot);
            Box::pin(listener::serve(transport, peer, serving(session, speaks_http2, age))).await;
        }
        Err(failed) => session.runtime.notices.unshaken(&name, peer, &failed),
    }
}
