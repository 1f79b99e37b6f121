//! The caller's wish to wait.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The wait of `Prefer: wait=N` (RFC 7240 section 4.3), in seconds. A preference that cannot be read is ignored, as the
/// RFC wants it.
pub fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(HeaderName::from_static("prefer")).iter();
    let mut preferences = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split([',', ';']));
    preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn wait_is_found_among_other_preferences() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = \"3\"", Some(3)),
            ("return=minimal; wait=2", Some(2)),
            ("wait", None),
            ("wait=-1", None),
            ("wait=soon", None),
        ] {
            assert_eq!(preferred_wait(&header(value)), seconds.map(Duration::from_secs), "{value}");
        }
    }

    fn header(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))])
    }
}
