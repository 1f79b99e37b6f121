//! The service behind every contender: it answers from bytes made before the first request came, so that it is never
//! the part that is measured.
//!
//! `GET /bytes/N` streams N bytes, `POST /v1/traces` plays a trace collector, `GET /stats` counts what came; anything
//! else gets 100 bytes of JSON. Request bodies are read and dropped; they need a `Content-Length`.

use std::{cell::Cell, env, io, net::SocketAddr, process::ExitCode, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

/// 100 octets, as the comparison says.
const BODY: &str = concat!(
    r#"{"id":"pay_001","state":"succeeded","amount":1999,"currency":"EUR","#,
    r#""created":"2026-11-21T05:00:00Z"}"#
);
const _: () = assert!(BODY.len() == 100);

/// Holds any head a proxy sends here, and is the unit in which bodies move.
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Counts {
    requests: Cell<u64>,
    exports: Cell<u64>,
}

/// What the head of a request asks for.
struct Head {
    /// Octets up to and including the empty line.
    length: usize,
    /// Octets of body that follow.
    body: usize,
    answer: Answer,
}

enum Answer {
    Payment,
    Bytes(usize),
    Exported,
    Stats,
}

fn main() -> ExitCode {
    let Some(address) = env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: bench-upstream ADDRESS:PORT");
        return ExitCode::from(2);
    };
    match serve(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-upstream: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(address).await?;
        let counts = Rc::new(Counts::default());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let counts = Rc::clone(&counts);
            // A peer that goes away ends its connection; there is no one to tell.
            tokio::task::spawn_local(async move { drop(converse(stream, &counts).await) });
        }
    })
}

async fn converse(mut stream: TcpStream, counts: &Counts) -> io::Result<()> {
    let payment =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let mut buffer = vec![0; 8 * 1024];
    let mut filled = 0;
    loop {
        let head = loop {
            if let Some(head) = read_head(&buffer[..filled])? {
                break head;
            }
            if filled == buffer.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                n => filled += n,
            }
        };
        let body_here = head.body.min(filled - head.length);
        buffer.copy_within(head.length + body_here..filled, 0);
        filled -= head.length + body_here;
        drop_body(&mut stream, head.body - body_here).await?;
        counts.requests.set(counts.requests.get() + 1);
        match head.answer {
            Answer::Payment => stream.write_all(payment.as_bytes()).await?,
            Answer::Bytes(length) => stream_bytes(&mut stream, length).await?,
            Answer::Exported => {
                counts.exports.set(counts.exports.get() + 1);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
            }
            Answer::Stats => {
                let body = format!(r#"{{"requests":{},"exports":{}}}"#, counts.requests.get(), counts.exports.get());
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(text.as_bytes()).await?;
            }
        }
    }
}

/// `None` until the whole head is there.
fn read_head(octets: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let length = end + 4;
    if octets.starts_with(b"GET / ") {
        return Ok(Some(Head { length, body: 0, answer: Answer::Payment }));
    }
    let text = str::from_utf8(&octets[..end]).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut lines = text.split("\r\n");
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::ErrorKind::Unsupported.into());
        }
    }
    let answer = match target {
        "/v1/traces" => Answer::Exported,
        "/stats" => Answer::Stats,
        _ => target.strip_prefix("/bytes/").and_then(|n| n.parse().ok()).map_or(Answer::Payment, Answer::Bytes),
    };
    Ok(Some(Head { length, body, answer }))
}

async fn drop_body(stream: &mut TcpStream, mut remaining: usize) -> io::Result<()> {
    if remaining == 0 {
        return Ok(());
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    while remaining > 0 {
        let wanted = remaining.min(buffer.len());
        match stream.read(&mut buffer[..wanted]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => remaining -= n,
        }
    }
    Ok(())
}

async fn stream_bytes(stream: &mut TcpStream, mut remaining: usize) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {remaining}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; BUFFER_BYTES];
    while remaining > 0 {
        let length = remaining.min(chunk.len());
        stream.write_all(&chunk[..length]).await?;
        remaining -= length;
    }
    Ok(())
}
