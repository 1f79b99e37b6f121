//! Addresses for tests: free ports, ports that refuse, and ports that never answer.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// Below the kernel's ephemeral range (32768 up), so that no upstream bound to port 0 and no outgoing connection takes a
/// number between our look and the proxy's bind.
const FIRST: u32 = 11_000;
const COUNT: u32 = 21_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that was free a moment ago and that this process gives out once.
pub fn free_addr() -> SocketAddr {
    let start = std::process::id().wrapping_mul(7919) % COUNT;
    for _ in 0..COUNT {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let addr = loopback(u16::try_from(port).expect("the range ends below 65536"));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// `127.0.0.1:port`.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn bound_socket() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&loopback(0).into()).expect("bind to loopback");
    let addr = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("a bound socket has an address");
    (socket, addr)
}

/// An address that refuses connections for as long as this lives: bound, so that nobody else gets it, and never listening.
#[derive(Debug)]
pub struct Refusing {
    /// The address.
    pub addr: SocketAddr,
    _socket: Socket,
}

impl Refusing {
    /// Takes an address.
    pub fn new() -> Self {
        let (socket, addr) = bound_socket();
        Self { addr, _socket: socket }
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

/// An address where connecting neither succeeds nor fails: its accept queue is full, so the kernel drops every further SYN.
#[derive(Debug)]
pub struct Blackhole {
    /// The address.
    pub addr: SocketAddr,
    _listener: Socket,
    _fill: Vec<Socket>,
}

impl Blackhole {
    /// Takes an address and fills its queue.
    pub fn new() -> Self {
        let (listener, addr) = bound_socket();
        listener.listen(0).expect("listen");
        let fill = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.connect_timeout(&addr.into(), Duration::from_millis(50)).ok();
                socket
            })
            .collect();
        Self { addr, _listener: listener, _fill: fill }
    }
}

impl Default for Blackhole {
    fn default() -> Self {
        Self::new()
    }
}
