//! The events of a proxy, as `GET /events` tells them (server-sent events, of the HTML standard).

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::client::{Client, ClientError, Streamed, query_string};

/// Longer than the proxy is ever silent: each 15 s it says at least that it is alive.
const SILENCE: Duration = Duration::from_secs(45);
/// Bytes of one event: far above the largest that a proxy tells.
const MAX_EVENT: usize = 1 << 20;

/// What happened.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: Value,
}

/// A proxy that is listened to.
pub(super) struct Events {
    streamed: Streamed,
    /// What came, and is not told yet.
    read: Vec<u8>,
}

impl Events {
    /// Listens to what is of these kinds.
    ///
    /// # Errors
    /// Nobody answers, or the proxy has no place for another listener.
    pub(super) async fn of(client: &Client, kinds: &[&str]) -> Result<Self, ClientError> {
        let query = query_string(&[("kind", kinds.join(","))]).replace("%2C", ",");
        let streamed = client.stream(&format!("/events?{query}")).await?;
        Ok(Self { streamed, read: Vec::new() })
    }

    /// The next event; `None` when the proxy told the last, or can no longer be heard.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                    return Some(event);
                }
                continue;
            }
            if self.read.len() > MAX_EVENT {
                return None;
            }
            let frame = timeout(SILENCE, self.streamed.body.frame()).await.ok()??.ok()?;
            self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    }
}

/// One event; `None` for a comment, which says only that somebody is there.
fn parse(block: &str) -> Option<Event> {
    let fields = |name: &'static str| {
        let lines = block.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let kind = fields("event").next_back()?.to_owned();
    let data = fields("data").collect::<Vec<_>>().join("\n");
    Some(Event { kind, data: serde_json::from_str(&data).ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_from_comments() {
        let told = parse("id: 17\nevent: ledger\ndata: {\"health\":\n data\ndata: \"full\"}\n\n");
        assert_eq!(told, Some(Event { kind: "ledger".into(), data: json!({ "health": "full" }) }));
        for nothing in [": alive\n\n", "data: {}\n\n", "event: x\ndata: {\n\n"] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }
}
