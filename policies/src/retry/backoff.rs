//! How long to wait before a retry: the policy's own wait, and the upstream's `Retry-After`.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, StatusCode, header::RETRY_AFTER};

use super::{Backoff, Delays, Jitter};
use crate::clock::UnixMillis;

impl Delays {
    /// The wait before retry `retry` (1 is the first).
    pub(super) fn wait(&self, retry: u32) -> Duration {
        match self {
            Self::Backoff(backoff) => backoff.wait(retry),
            Self::Schedule(waits) => {
                let index = (retry.max(1) - 1) as usize;
                waits.get(index).or(waits.last()).copied().unwrap_or_default()
            }
        }
    }
}

impl Backoff {
    /// The longest wait before retry `retry`. A multiplier under 1, or none, counts as 1.
    pub(super) fn bound(&self, retry: u32) -> Duration {
        // In nanoseconds: whole ones are exact in an f64 up to 104 days.
        let exponent = i32::try_from(retry.max(1) - 1).unwrap_or(i32::MAX);
        let grown = self.base.as_nanos() as f64 * self.multiplier.max(1.0).powi(exponent);
        let max = self.max.as_nanos() as f64;
        if grown < max { Duration::from_nanos(grown.round() as u64) } else { self.max }
    }

    fn wait(&self, retry: u32) -> Duration {
        self.wait_drawn(retry, fastrand::f64())
    }

    /// The wait before retry `retry`, where chance, in `[0, 1)`, is the caller's.
    pub(crate) fn wait_drawn(&self, retry: u32, drawn: f64) -> Duration {
        let bound = self.bound(retry);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => bound.mul_f64(drawn),
        }
    }
}

/// Where services that send no `Retry-After` with a 429 tell when their limit is renewed; the first that can be read counts.
const RESET: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-rate-limit-reset"),
];
/// A reset of more seconds than this is a point in time: nobody means to wait for 30 years.
const EPOCH_FROM: f64 = 1e9;
/// And one of more than this is one in milliseconds.
const EPOCH_MS_FROM: f64 = 1e11;

/// The wait that a 429 or 503 asks for (RFC 9110 section 10.2.3): seconds or a date; a malformed one asks for nothing. A 429
/// may ask by a reset header instead.
pub(super) fn retry_after(status: StatusCode, headers: &HeaderMap, wall: UnixMillis) -> Option<Duration> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => standard(headers, wall),
        StatusCode::TOO_MANY_REQUESTS => standard(headers, wall)
            .or_else(|| RESET.iter().find_map(|name| reset(headers.get(name)?.to_str().ok()?.trim(), wall))),
        _ => None,
    }
}

fn standard(headers: &HeaderMap, wall: UnixMillis) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are as good as never.
        return Some(Duration::from_secs(value.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = UNIX_EPOCH + Duration::from_millis(wall);
    Some(date.duration_since(now).unwrap_or_default())
}

/// Seconds from now, or a point in time in seconds or milliseconds since 1970; with or without a fraction.
fn reset(value: &str, wall: UnixMillis) -> Option<Duration> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = value.parse().ok()?;
    let now = wall as f64 / 1000.0;
    let seconds = if number >= EPOCH_MS_FROM {
        number / 1000.0 - now
    } else if number >= EPOCH_FROM {
        number - now
    } else {
        number
    };
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}
