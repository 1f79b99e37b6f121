//! An OTLP/HTTP receiver that decodes what it gets, and that can misbehave.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// What a connection's request is answered with.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Ok,
    Unavailable,
    Garbage,
    /// Nothing, ever.
    Silence,
}

pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<ExportTraceServiceRequest>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Answers the first connections as `script` says, all later ones with OK.
    pub(super) async fn start(script: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let script = script.to_vec();
        let task = tokio::spawn(async move {
            let mut answers = script.into_iter();
            let mut silent = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer = answers.next().unwrap_or(Answer::Ok);
                seen.send(read_request(&mut stream).await).unwrap();
                let text: &[u8] = match answer {
                    Answer::Ok => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                    Answer::Unavailable => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                    Answer::Garbage => b"\x00\xffwhat?\r\n\r\n",
                    Answer::Silence => {
                        silent.push(stream);
                        continue;
                    }
                };
                stream.write_all(text).await.unwrap();
            }
        });
        Self { address, requests, task }
    }

    /// The next export.
    pub(super) async fn request(&mut self) -> ExportTraceServiceRequest {
        self.requests.recv().await.unwrap()
    }

    /// The spans of the next export.
    pub(super) async fn spans(&mut self) -> Vec<Span> {
        let request = self.request().await;
        request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }

    /// Whether an export came that nobody has looked at.
    pub(super) fn has_more(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(stream: &mut TcpStream) -> ExportTraceServiceRequest {
    let mut bytes = Vec::new();
    let end = loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends early");
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
    let length = head.split("\r\ncontent-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let length: usize = length.parse().unwrap();
    while bytes.len() < end + length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the body ends early");
    }
    ExportTraceServiceRequest::decode(&bytes[end..]).unwrap()
}

/// An attribute's value as text.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}
