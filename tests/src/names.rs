//! A name server of our own, and one service on several addresses of this machine.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::eventually;

/// A name server of our own.
#[derive(Clone, Default)]
pub struct Zone(Arc<Mutex<Said>>);

/// What it says, and how often it was asked.
#[derive(Default)]
struct Said {
    /// Of every name that it knows nothing else of. `None`: there is no such name.
    any: Option<Vec<Ipv4Addr>>,
    /// Of these names.
    hosts: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Of every service.
    services: Vec<Offer>,
    asked: usize,
}

/// One record of a service.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The lowest one counts.
    pub priority: u16,
    /// How much of the requests it is to have.
    pub weight: u16,
    /// Where.
    pub port: u16,
    /// At which host, without a dot behind it.
    pub target: &'static str,
}

impl Zone {
    /// Serves it on a port of loopback.
    pub async fn serve(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a port");
        let (address, zone) = (socket.local_addr().expect("it is bound"), self.clone());
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                if let Some(answer) = zone.answer(&packet[..length]) {
                    socket.send_to(&answer, peer).await.ok();
                }
            }
        });
        address
    }

    /// RFC 1035 section 4.1: the question comes back, with an address record of one second for each address.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
        let question = query.get(12..12 + name + 5)?;
        let mut said = self.0.lock();
        said.asked += 1;
        let addresses = said.hosts.get(&text(&question[..name])).or(said.any.as_ref());
        let code = if addresses.is_some() { 0 } else { 3 };
        let kind = u16::from_be_bytes([question[name + 1], question[name + 2]]);
        let records: Vec<Vec<u8>> = match (kind, addresses) {
            (1, Some(addresses)) => addresses.iter().map(|address| address.octets().to_vec()).collect(),
            (33, Some(_)) => said.services.iter().map(service_record).collect(),
            _ => Vec::new(),
        };
        let count = records.len() as u8;
        let mut answer = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
        for data in records {
            answer.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
            answer.extend(data);
        }
        Some(answer)
    }

    /// Every service is offered so, and its hosts have these addresses.
    pub fn offer(&self, services: &[Offer], hosts: &[(&str, &[u8])]) {
        let mut said = self.0.lock();
        said.any = Some(Vec::new());
        said.services = services.to_vec();
        said.hosts = hosts.iter().map(|(host, numbers)| ((*host).to_owned(), loopback(numbers))).collect();
    }

    /// Every name stands for these addresses, by their last numbers.
    pub fn say(&self, numbers: &[u8]) {
        self.0.lock().any = Some(loopback(numbers));
    }

    /// There is no name any more.
    pub fn deny(&self) {
        let mut said = self.0.lock();
        (said.any, said.hosts) = (None, BTreeMap::new());
    }

    /// Waits until so many more questions have come.
    pub async fn is_asked_again(&self, times: usize) {
        let before = self.0.lock().asked;
        eventually("the name is asked for", || async { (self.0.lock().asked >= before + times).then_some(()) }).await;
    }
}

fn loopback(numbers: &[u8]) -> Vec<Ipv4Addr> {
    numbers.iter().map(|number| Ipv4Addr::new(127, 0, 0, *number)).collect()
}

/// A name as people write it.
fn text(mut labels: &[u8]) -> String {
    let mut all = Vec::new();
    while let Some((length, rest)) = labels.split_first().filter(|(length, _)| **length > 0) {
        let (label, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        all.push(String::from_utf8_lossy(label).to_lowercase());
        labels = rest;
    }
    all.join(".")
}

/// RFC 2782: priority, weight, port, and the target, which is not compressed.
fn service_record(offer: &Offer) -> Vec<u8> {
    let mut data: Vec<u8> = [offer.priority, offer.weight, offer.port].into_iter().flat_map(u16::to_be_bytes).collect();
    for label in offer.target.split('.') {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

/// The service at this address says that it cannot.
pub const UNWELL: u8 = 13;

/// Requests and connections that each address has had, by its last number.
pub type Counts = Arc<Mutex<BTreeMap<u8, (usize, usize)>>>;

/// The same service on one port of several addresses of this machine; each says its number.
pub async fn services(numbers: &[u8]) -> (u16, Counts) {
    served(numbers, answer).await
}

/// The same over HTTP/2 in clear.
pub async fn services_over_http2(numbers: &[u8]) -> (u16, Counts) {
    served(numbers, answer_over_http2).await
}

async fn served<F>(numbers: &[u8], serve: impl Fn(TcpStream, u8, Counts) -> F + Copy + Send + 'static) -> (u16, Counts)
where
    F: Future<Output = ()> + Send + 'static,
{
    let counts = Counts::default();
    let (port, listeners) = eventually("a port that is free on all of them", || async {
        let first = TcpListener::bind((Ipv4Addr::new(127, 0, 0, numbers[0]), 0)).await.ok()?;
        let port = first.local_addr().ok()?.port();
        let mut all = vec![first];
        for number in &numbers[1..] {
            all.push(TcpListener::bind((Ipv4Addr::new(127, 0, 0, *number), port)).await.ok()?);
        }
        Some((port, all))
    })
    .await;
    for (listener, number) in listeners.into_iter().zip(numbers.iter().copied()) {
        let counts = counts.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.lock().entry(number).or_default().1 += 1;
                tokio::spawn(serve(stream, number, counts.clone()));
            }
        });
    }
    (port, counts)
}

async fn answer(mut stream: TcpStream, number: u8, counts: Counts) {
    let mut head = Vec::new();
    while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            counts.lock().entry(number).or_default().0 += 1;
            let status = if number == UNWELL { "503 Service Unavailable" } else { "200 OK" };
            let length = number.to_string().len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{number}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn answer_over_http2(stream: TcpStream, number: u8, counts: Counts) {
    let Ok(mut server) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = server.accept().await {
        counts.lock().entry(number).or_default().0 += 1;
        let status = if number == UNWELL { 503 } else { 200 };
        let head = http::Response::builder().status(status).body(()).expect("a response");
        if let Ok(mut stream) = respond.send_response(head, false) {
            stream.send_data(number.to_string().into(), true).ok();
        }
    }
}
