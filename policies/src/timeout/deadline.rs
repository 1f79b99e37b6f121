//! The deadline headers: `Mainstay-Deadline-Ms`, whole milliseconds, and `grpc-timeout`, at most 8 digits and a unit (gRPC
//! over HTTP/2, "Requests").

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const DEADLINE_MS: &str = "mainstay-deadline-ms";
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The greatest number of 8 digits.
const GRPC_MAX: u128 = 99_999_999;

/// The time left according to the caller: the smallest of what both headers say. Malformed values are ignored.
pub fn deadline_from_headers(headers: &HeaderMap) -> Option<Duration> {
    let ours =
        headers.get_all(DEADLINE_MS).iter().filter_map(|value| digits(value.as_bytes()).map(Duration::from_millis));
    let grpc = headers.get_all(GRPC_TIMEOUT).iter().filter_map(|value| grpc_timeout(value.as_bytes()));
    ours.chain(grpc).min()
}

/// How long the caller of a gRPC call waits for the whole of it, as it says itself: the smallest of several. Malformed values
/// are ignored.
pub fn grpc_timeout_from_headers(headers: &HeaderMap) -> Option<Duration> {
    headers.get_all(GRPC_TIMEOUT).iter().filter_map(|value| grpc_timeout(value.as_bytes())).min()
}

/// Tells the upstream how long its answer is waited for: always `Mainstay-Deadline-Ms`, and `grpc-timeout` where the caller
/// sent one, of which `grpc` is left. Rounded down, so that the upstream never believes it has longer.
///
/// None is made for a call that has none: it bounds the whole stream, where our own time ends with the response's head.
#[expect(clippy::missing_panics_doc, reason = "digits and a letter are always fit for a header")]
pub fn set_deadline_headers(headers: &mut HeaderMap, remaining: Duration, grpc: Option<Duration>) {
    write_deadline(remaining, grpc, |name, value| {
        let value = HeaderValue::from_bytes(value).expect("digits and a letter are fit for a header");
        headers.insert(HeaderName::from_static(name), value);
    });
}

/// Hands the same fields, name and value, to `put`: for a head that is written without a map.
pub fn write_deadline(remaining: Duration, grpc: Option<Duration>, mut put: impl FnMut(&'static str, &[u8])) {
    let ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    put(DEADLINE_MS, itoa::Buffer::new().format(ms).as_bytes());
    if let Some(left) = grpc {
        put(GRPC_TIMEOUT, grpc_value(left).as_bytes());
    }
}

/// Whether a field of this name would contradict what [`write_deadline`] writes.
pub fn is_deadline(name: &str, grpc: bool) -> bool {
    name == DEADLINE_MS || grpc && name == GRPC_TIMEOUT
}

fn digits(bytes: &[u8]) -> Option<u64> {
    let all_digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    if all_digits { std::str::from_utf8(bytes).ok()?.parse().ok() } else { None }
}

fn grpc_timeout(bytes: &[u8]) -> Option<Duration> {
    let (unit, number) = bytes.split_last()?;
    if number.len() > 8 {
        return None;
    }
    let count = digits(number)?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// In the finest unit that fits; at least 1, for the specification wants a positive number.
fn grpc_value(remaining: Duration) -> String {
    let nanos = remaining.as_nanos().max(1);
    let (count, unit) = [(1, 'n'), (1_000, 'u'), (1_000_000, 'm'), (1_000_000_000, 'S'), (60_000_000_000, 'M')]
        .into_iter()
        .map(|(size, unit)| (nanos / size, unit))
        .find(|(count, _)| *count <= GRPC_MAX)
        .unwrap_or_else(|| ((nanos / 3_600_000_000_000).min(GRPC_MAX), 'H'));
    format!("{count}{unit}")
}
