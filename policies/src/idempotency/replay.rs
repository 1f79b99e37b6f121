//! Which part of a response is kept for replay.

use http::{
    HeaderMap, HeaderName,
    header::{self as h},
};

/// Says that what is replayed is not the write's own answer, and whose it is.
pub const MAINSTAY_RESOLVED: HeaderName = HeaderName::from_static("mainstay-resolved");

/// Headers that describe the answer itself. All others belong to the moment, the connection or the caller.
const KEPT: [HeaderName; 11] = [
    h::CONTENT_TYPE,
    h::CONTENT_ENCODING,
    h::CONTENT_LANGUAGE,
    h::CONTENT_DISPOSITION,
    h::LOCATION,
    h::CONTENT_LOCATION,
    h::ETAG,
    h::LAST_MODIFIED,
    h::LINK,
    h::CACHE_CONTROL,
    h::VARY,
];

/// Headers that are never replayed, whatever the policy lists: a session of another moment, hop-by-hop fields, framing,
/// names of one request, counters, what only Mainstay says.
pub fn is_never_replayed(name: &HeaderName) -> bool {
    const NAMES: [&str; 18] = [
        "set-cookie",
        "set-cookie2",
        "date",
        "age",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authentication-info",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "request-id",
        "x-request-id",
        "x-correlation-id",
        "x-amzn-requestid",
    ];
    const PREFIXES: [&str; 5] = ["ratelimit", "x-ratelimit", "x-rate-limit", "access-control-", "mainstay-"];
    let name = name.as_str();
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The headers kept for replay: the built-in list and `also`, each value as it came, in its order, neither split nor merged.
pub fn kept_headers(headers: &HeaderMap, also: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::new();
    let also = also.iter().filter(|name| !KEPT.contains(name) && !is_never_replayed(name));
    for name in KEPT.iter().chain(also) {
        // A name listed twice is still kept once.
        if kept.contains_key(name) {
            continue;
        }
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut map, (name, value)| {
                map.append(name, value);
                map
            },
        )
    }

    #[test]
    fn what_describes_the_answer_is_kept_and_nothing_else() {
        let given = headers(&[
            ("content-type", "application/json"),
            ("location", "/payments/7"),
            ("etag", "\"x\""),
            ("set-cookie", "session=1"),
            ("date", "Sat, 01 Jan 2000 00:00:00 GMT"),
            ("age", "3"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("x-request-id", "r"),
            ("x-ratelimit-remaining", "1"),
            ("access-control-allow-origin", "*"),
            ("x-custom", "1"),
            ("server", "s"),
        ]);
        let expected = headers(&[("content-type", "application/json"), ("location", "/payments/7"), ("etag", "\"x\"")]);
        assert_eq!(kept_headers(&given, &[]), expected);
    }

    #[test]
    fn a_policy_may_keep_more_but_never_a_cookie() {
        let given =
            headers(&[("x-custom", "1"), ("set-cookie", "session=1"), ("ratelimit", "r"), ("content-length", "3")]);
        let also = ["x-custom", "x-custom", "set-cookie", "ratelimit", "content-length"].map(HeaderName::from_static);
        assert_eq!(kept_headers(&given, &also), headers(&[("x-custom", "1")]));
    }

    /// fiber#4693: values that contain commas were split.
    #[test]
    fn values_are_neither_split_nor_merged() {
        let given = headers(&[
            ("content-disposition", "attachment; filename=\"a,b.txt\""),
            ("link", "</a>; rel=next, </b>; rel=prev"),
            ("link", "</c>; rel=last"),
        ]);
        assert_eq!(kept_headers(&given, &[]), given);
    }
}
