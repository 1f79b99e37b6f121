//! A proxy with nothing in it: hyper's server, hyper's client, a pool of connections between them. What it costs is
//! the floor under Mainstay; what Mainstay costs above it is the price of its policies.
//!
//! One thread, no locks, no headers touched, no timeout, no retry: not to be used for anything else.

use std::{
    cell::RefCell,
    env, io,
    net::SocketAddr,
    pin::Pin,
    process::ExitCode,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1 as client,
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Idle connections to the upstream; the one used last is used next, as its memory is still in cache.
struct Pool {
    upstream: SocketAddr,
    idle: RefCell<Vec<client::SendRequest<Incoming>>>,
}

/// A response body that gives its connection back when it ends.
struct Pooled {
    body: Incoming,
    lease: Option<(Rc<Pool>, client::SendRequest<Incoming>)>,
}

fn main() -> ExitCode {
    let mut addresses = env::args().skip(1).map(|text| text.parse());
    let (Some(Ok(listen)), Some(Ok(upstream))) = (addresses.next(), addresses.next()) else {
        eprintln!("usage: bench-forwarder LISTEN:PORT UPSTREAM:PORT");
        return ExitCode::from(2);
    };
    match serve(listen, upstream) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-forwarder: {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        let pool = Rc::new(Pool { upstream, idle: RefCell::new(Vec::new()) });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = Rc::clone(&pool);
            let connection = server::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(move |request| forward(Rc::clone(&pool), request)));
            // A client that goes away ends its connection; there is no one to tell.
            spawn_local(async move { drop(connection.await) });
        }
    })
}

async fn forward(pool: Rc<Pool>, request: Request<Incoming>) -> Result<Response<Pooled>, Failure> {
    let mut sender = pool.take().await?;
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Pooled { body, lease: Some((pool, sender)) }))
}

impl Pool {
    async fn take(&self) -> Result<client::SendRequest<Incoming>, Failure> {
        loop {
            let Some(mut sender) = self.idle.borrow_mut().pop() else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        spawn_local(async move { drop(connection.await) });
        sender.ready().await?;
        Ok(sender)
    }
}

impl Pooled {
    fn give_back(&mut self) {
        if let Some((pool, sender)) = self.lease.take() {
            pool.idle.borrow_mut().push(sender);
        }
    }
}

impl Body for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
