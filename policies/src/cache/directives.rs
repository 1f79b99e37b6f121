//! `Cache-Control` (RFC 9111 section 5.2).

use std::time::Duration;

use http::{
    HeaderMap,
    header::{CACHE_CONTROL, PRAGMA},
};

/// Seconds above this are as good as for ever (RFC 9111 section 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// The directives that a shared cache knows. Qualified forms (`private="x"`) count as unqualified: stricter is safe.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a directive of the RFC")]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    /// Without a value: however stale.
    pub(super) max_stale: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
}

impl Directives {
    /// Those of a message. The first of two equal ones counts; a time that is no number is none at all: stale at once.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for item in split(&String::from_utf8_lossy(value.as_bytes())) {
                found.take(item);
            }
        }
        found
    }

    /// Those of a request: `Pragma: no-cache` counts where there is no `Cache-Control`.
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let mut found = Self::of(headers);
        if !headers.contains_key(CACHE_CONTROL) {
            found.no_cache = headers
                .get(PRAGMA)
                .is_some_and(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("no-cache")));
        }
        found
    }

    fn take(&mut self, item: &str) {
        let (name, value) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
        let value = value.map(|value| value.trim().trim_matches('"'));
        let time = || seconds(value.unwrap_or_default());
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => set(&mut self.max_age, time()),
            "s-maxage" => set(&mut self.s_maxage, time()),
            "min-fresh" => set(&mut self.min_fresh, time()),
            "stale-if-error" => set(&mut self.stale_if_error, time()),
            "stale-while-revalidate" => set(&mut self.stale_while_revalidate, time()),
            "max-stale" => set(&mut self.max_stale, value.map_or(Duration::MAX, seconds)),
            _ => {}
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

fn seconds(text: &str) -> Duration {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Duration::from_secs(if digits { text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS) } else { 0 })
}

/// The items of a list, not cut inside quotes.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}
