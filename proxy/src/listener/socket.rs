//! Listening sockets, one per worker on the same address.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds while a worker is busy.
pub(super) const BACKLOG: i32 = 4096;

/// Bytes of an answer that the kernel holds before they can be sent. By default it holds megabytes, and takes more only when a
/// third of them is gone: a client that reads slowly would look for minutes like one that does not read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 128 * 1024;

/// Opens `count` listening sockets on `address`. With `SO_REUSEPORT` the kernel spreads connections over them, so workers
/// share no accept queue.
///
/// # Errors
/// The address cannot be bound; also when another process listens on it already, which `SO_REUSEPORT` alone would let pass
/// in silence.
pub(crate) fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // Held until the others are bound, so that port 0 means one port and a foreign listener is noticed.
    let probe = bind(address, false)?;
    let address = if address.port() == 0 { local_address(&probe)? } else { address };
    drop(probe);
    (0..count)
        .map(|_| {
            let socket = bind(address, true)?;
            // What is accepted inherits it.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("a TCP socket has an internet address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_refused() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = listen(address, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn port_zero_gives_every_worker_the_same_port() {
        let sockets = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]));
    }
}
