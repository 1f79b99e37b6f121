//! What a proxy changes in the headers that it forwards (RFC 9110 section 7.6).

use std::{io::Write as _, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, UPGRADE, VIA},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{direction::Direction, via};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether a header belongs to one connection. `trailer` does not: it announces what both sides of this proxy do forward.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// Whether the request asks to change the protocol of its connection, and to which.
pub(crate) fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 {
        return None;
    }
    let upgrade = headers.get(UPGRADE)?;
    // HTTP inside of a tunnel would pass by every rule of this proxy.
    let offers = headers.get_all(UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if offers.map(<[u8]>::trim_ascii).any(is_http) {
        return None;
    }
    connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade")).then(|| upgrade.clone())
}

fn is_http(protocol: &[u8]) -> bool {
    let starts_with_http = protocol.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"));
    starts_with_http || protocol.eq_ignore_ascii_case(b"h2c") || protocol.eq_ignore_ascii_case(b"h2")
}

/// Read as bytes: one option that is no text must not save the others from being heeded.
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// The fields that `Connection` makes this connection's own, and which so must not come in trailers either. Most messages name
/// none, and then nothing is allocated.
pub(crate) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = connection_options(headers)
        .filter(|option| !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive"));
    options.filter_map(|option| HeaderName::from_bytes(option).ok()).collect()
}

/// Removes what was meant for this connection only, including what `Connection` lists.
fn strip_hop_by_hop(headers: &mut HeaderMap, identifies: Option<&HeaderName>) {
    let usual = |value: &HeaderValue| {
        value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
    };
    if !headers.get_all(CONNECTION).iter().all(usual) {
        let listed: Vec<HeaderName> =
            connection_options(headers).filter_map(|option| HeaderName::from_bytes(option).ok()).collect();
        for name in listed {
            // A peer cannot make the message lose its addressee, its length, or who sent it.
            if name != HOST && name != CONTENT_LENGTH && name != TE && Some(&name) != identifies {
                headers.remove(name);
            }
        }
    }
    remove_where(headers, is_hop_by_hop);
}

/// Whether only Mainstay says this: an upstream that says it would be taken for it.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "mainstay-error"
            | "mainstay-attempts"
            | "mainstay-fallback"
            | "mainstay-outcome"
            | "mainstay-resolved"
            | "idempotent-replayed"
            | "operation-location"
    )
}

/// Removes the fields of these names. Most messages have none of them, and one look at each name costs less than a search.
pub(crate) fn remove_where(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Whether a field says on whose behalf a request is sent.
pub(crate) fn is_of_a_front(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip")
}

/// What of its way a request's head speaks of, or spoke of before somebody took it out. One look at each name tells; most
/// requests have nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is about a field of its own")]
pub(crate) struct Hints {
    /// Proxies that it came through.
    pub(crate) via: bool,
    /// Whom its sender forwards it for.
    pub(crate) front: bool,
    /// The connection that it came over.
    pub(crate) hop: bool,
    /// Transfer codings that its sender takes.
    te: bool,
}

impl Hints {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut hints = Self::default();
        for name in headers.keys() {
            hints.via |= *name == VIA;
            hints.te |= *name == TE;
            hints.front |= is_of_a_front(name);
            hints.hop |= is_hop_by_hop(name);
        }
        hints
    }
}

/// Takes out what a sender that is not trusted says of whom it forwards for, except for what is believed of it otherwise.
pub(crate) fn distrust(headers: &mut HeaderMap, is_believed: impl Fn(&HeaderName) -> bool) {
    remove_where(headers, |name| is_of_a_front(name) && !is_believed(name));
}

/// What the client's connection adds to every request on it.
pub(crate) struct Client {
    /// Its address, as `X-Forwarded-For` shows it.
    pub(crate) address: Address,
    /// It comes over TLS.
    pub(crate) is_secure: bool,
    /// Which way its calls go.
    pub(crate) direction: Direction,
}

/// An IP address in words. Every request carries one along, so it is copied and neither allocated nor counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    text: [u8; Self::MAX_BYTES],
    length: u8,
}

impl Address {
    /// Eight groups of four digits; a longer form, with an IPv4 address at its end, is not canonical.
    const MAX_BYTES: usize = 39;

    /// An IPv4 address that is mapped into IPv6 is written as what it is.
    pub(crate) fn new(ip: IpAddr) -> Self {
        let mut text = [0; Self::MAX_BYTES];
        let mut left = &mut text[..];
        write!(left, "{}", ip.to_canonical()).expect("no canonical address is longer");
        let left = left.len();
        Self { text, length: (Self::MAX_BYTES - left) as u8 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.length)]
    }
}

/// Makes a client's header fields those of the request to the upstream, but for the [`Hop`] that is added when they are
/// written. `hints` are those of its head; `identifies` is the header that says who is calling.
pub(crate) fn request(
    headers: &mut HeaderMap,
    hints: Hints,
    version: Version,
    authority: Option<&Authority>,
    identifies: Option<&HeaderName>,
) {
    if hints.hop {
        strip_hop_by_hop(headers, identifies);
    }
    if hints.te && headers.contains_key(TE) {
        let codings = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let wants_trailers = codings.map(<[u8]>::trim_ascii).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        headers.remove(TE);
        if wants_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    // The request line of an absolute-form or HTTP/2 request names the host; it wins (RFC 9112 section 3.2.2).
    if let Some(authority) = authority
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    } else if version == Version::HTTP_10 {
        // Such a client knows no interim responses (RFC 9110 section 10.1.1).
        headers.remove(EXPECT);
    }
}

/// The way that a request came: over a client's connection and through this proxy.
#[derive(Clone, Debug)]
pub struct Hop {
    client: Address,
    is_secure: bool,
    direction: Direction,
    version: Version,
}

impl Hop {
    pub(crate) fn new(client: &Client, version: Version) -> Self {
        Self { client: client.address, is_secure: client.is_secure, direction: client.direction, version }
    }

    /// Whether the field `name` must not stand beside what [`write`](Self::write) writes.
    pub(crate) fn replaces(name: &HeaderName) -> bool {
        *name == X_FORWARDED_FOR
    }

    /// Hands the fields that say so, name and value, to `put`. `headers` are the request's own.
    pub(crate) fn write(&self, headers: &HeaderMap, put: &mut impl FnMut(&'static str, &[u8])) {
        let (mut before, mut host, mut has_proto, mut has_host) = (false, None, false, false);
        for (name, value) in headers {
            match name.as_str() {
                "host" => host = host.or(Some(value)),
                "x-forwarded-for" => before = true,
                "x-forwarded-proto" => has_proto = true,
                "x-forwarded-host" => has_host = true,
                _ => {}
            }
        }
        put("via", via::received_by(self.direction, self.version).as_bytes());
        if before {
            let mut list: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
            list.push(self.client.as_bytes());
            put("x-forwarded-for", &list.join(&b", "[..]));
        } else {
            put("x-forwarded-for", self.client.as_bytes());
        }
        if !has_proto {
            put("x-forwarded-proto", if self.is_secure { b"https" } else { b"http" });
        }
        if let Some(host) = host.filter(|_| !has_host) {
            put("x-forwarded-host", host.as_bytes());
        }
    }

    /// Puts them into `headers`, for a request that is kept or goes out over HTTP/2.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let mut fields = Vec::new();
        self.write(headers, &mut |name, value| {
            let value = HeaderValue::from_bytes(value).expect("values of fields, joined by commas, make one");
            fields.push((HeaderName::from_static(name), value));
        });
        headers.remove(X_FORWARDED_FOR);
        for (name, value) in fields {
            headers.append(name, value);
        }
    }
}

/// HTTP/2 may split `Cookie` into several fields; HTTP/1.1 must have one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Makes an upstream's header fields those of the answer to the client.
pub(crate) fn response(headers: &mut HeaderMap, version: Version, status: StatusCode) {
    // A 426 must say which protocol is asked for (RFC 9110 section 15.5.22).
    let names_protocol = matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    let upgrade = names_protocol.then(|| headers.get(UPGRADE).cloned()).flatten();
    // Most answers have nothing of either, and one look at each name tells.
    if headers.keys().any(|name| is_hop_by_hop(name) || is_ours(name)) {
        strip_hop_by_hop(headers, None);
        remove_where(headers, is_ours);
    }
    if let Some(upgrade) = upgrade {
        ask_upgrade(headers, upgrade);
    }
    headers.append(VIA, HeaderValue::from_static(via::received_by(Direction::Inbound, version)));
}

/// Puts back what asks for, or grants, a change of protocol.
pub(crate) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Announces `TE` on an HTTP/1.1 connection, as RFC 9110 section 10.1.4 asks.
pub(crate) fn announce_te(headers: &mut HeaderMap) {
    if has(headers, &TE) && !headers.contains_key(CONNECTION) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// The request target for an HTTP/2 upstream, whose authority is the request's `Host`, or the endpoint.
pub(crate) fn absolute_form(uri: &Uri, headers: &mut HeaderMap, (endpoint, scheme): (&Authority, Scheme)) -> Uri {
    let authority = headers
        .remove(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
        .unwrap_or_else(|| endpoint.clone());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Whether a message has the field `name`, one of those that every HTTP knows: in a head of usual size a look at each name costs
/// less than to hash that one.
pub(crate) fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|there| there == name)
}

/// Takes `Expect: 100-continue` off a request whose body we hold already.
pub(crate) fn drop_expectation(headers: &mut HeaderMap) {
    headers.remove(EXPECT);
}

/// Says how long a body is that we hold whole, whatever framing it came with.
pub(crate) fn fix_length(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client { address: Address::new([10, 0, 0, 9].into()), is_secure: false, direction: Direction::Inbound }
    }

    #[test]
    fn any_address_has_room() {
        let widest = "1111:2222:3333:4444:5555:6666:7777:8888";
        for (ip, text) in [(widest, widest), ("::1", "::1"), ("10.0.0.9", "10.0.0.9"), ("::ffff:10.0.0.9", "10.0.0.9")]
        {
            assert_eq!(Address::new(ip.parse().unwrap()).as_bytes(), text.as_bytes());
        }
        let compatible = Address::new("::ffff:0:255.255.255.255".parse().unwrap());
        assert!(compatible.as_bytes().starts_with(b"::ffff:0:"));
    }

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
            .collect()
    }

    fn forwarded(fields: &[(&str, &str)], version: Version) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let hints = Hints::of(&headers);
        request(&mut headers, hints, version, None, None);
        Hop::new(&client(), version).apply(&mut headers);
        headers
    }

    #[test]
    fn no_tunnel_is_opened_for_http() {
        for (offered, expected) in [
            ("websocket", true),
            ("h2c", false),
            ("H2C", false),
            ("websocket, h2c", false),
            ("HTTP/2.0", false),
            ("http2x", false),
        ] {
            let headers = map(&[("connection", "upgrade"), ("upgrade", offered)]);
            assert_eq!(upgrade(&headers, Version::HTTP_11).is_some(), expected, "{offered}");
        }
    }

    #[test]
    fn what_belongs_to_the_connection_does_not_pass() {
        let headers = forwarded(
            &[
                ("connection", "keep-alive, X-Private"),
                ("x-private", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "x"),
                ("transfer-encoding", "chunked"),
                ("te", "gzip, trailers"),
                ("upgrade", "h2c"),
                ("x-kept", "1"),
            ],
            Version::HTTP_11,
        );
        for name in ["connection", "x-private", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["x-kept"], "1");
    }

    #[test]
    fn an_option_that_is_no_text_saves_no_other() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_bytes(b"\xe9, X-Private").unwrap());
        headers.append("x-private", HeaderValue::from_static("1"));
        headers.append(TE, HeaderValue::from_bytes(b"\xe9, trailers").unwrap());
        let hints = Hints::of(&headers);
        request(&mut headers, hints, Version::HTTP_11, None, None);
        assert!(!headers.contains_key("x-private"), "{headers:?}");
        assert_eq!(headers["te"], "trailers");
        let headers = [(CONNECTION, &b"\xe9, upgrade"[..]), (UPGRADE, b"chat")];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_bytes(value).unwrap()));
        assert_eq!(upgrade(&headers.into_iter().collect(), Version::HTTP_11), Some(HeaderValue::from_static("chat")));
    }

    #[test]
    fn a_client_cannot_strip_the_host_or_the_length() {
        let headers = forwarded(
            &[("connection", "host, content-length"), ("host", "a"), ("content-length", "3")],
            Version::HTTP_11,
        );
        assert_eq!(headers["host"], "a");
        assert_eq!(headers["content-length"], "3");
    }

    #[test]
    fn the_path_of_the_request_is_recorded() {
        let headers =
            forwarded(&[("host", "shop"), ("x-forwarded-for", "1.2.3.4"), ("via", "1.1 front")], Version::HTTP_11);
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 10.0.0.9");
        assert_eq!(headers["x-forwarded-host"], "shop");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(
            headers.get_all("via").iter().collect::<Vec<_>>(),
            ["1.1 front", via::received_by(Direction::Inbound, Version::HTTP_11)]
        );
    }

    #[test]
    fn cookie_crumbs_of_http2_become_one_field() {
        let headers = forwarded(&[("cookie", "a=1"), ("cookie", "b=2")], Version::HTTP_2);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn an_upgrade_needs_both_of_its_headers() {
        let both = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&both, Version::HTTP_11), Some(HeaderValue::from_static("websocket")));
        assert_eq!(upgrade(&map(&[("upgrade", "websocket")]), Version::HTTP_11), None);
        assert_eq!(upgrade(&both, Version::HTTP_10), None);
    }
}
