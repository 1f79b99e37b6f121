//! `probes`, `admin`, `control`, `limits` and `drain`.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::Uri;
use mainstay_policies::rate_limit::RateLimit;
use serde_json::{Value, json};

use super::listener_tls::RawListenerTls;
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    machine,
    model::{Admin, AdminToken, Control, Drain, Limits, List, Probes, Ready, ReadyLedger},
    node::{At, Node},
    scalars::Size,
};

section! {
    /// The read-only listener for `/livez`, `/readyz` and `/metrics`.
    RawProbes {
        /// Where it listens; `mainstay probe` is told of another by `MAINSTAY_PROBES`. Default [::]:9190. Where the kernel has no IPv6 it is 0.0.0.0:9190.
        address: SocketAddr,
        /// What readiness depends on, beyond what it always does.
        ready: Ready,
    }
}

section! {
    /// What readiness depends on.
    RawReady {
        /// A ledger that takes no writes keeps traffic away. `auto`: one on this instance's own disk does, for another
        /// instance's may be well. `never`: it does not. Default auto.
        ledger: ReadyLedger,
    }
}

section! {
    /// The operators' listener: operations in doubt, breakers, limits, the audit trail.
    RawAdmin {
        /// Where it listens. Anywhere but on loopback it needs `token_file`, or certificates of its callers.
        /// Commands do not read it here: where it is another, `--admin` or `MAINSTAY_ADMIN` tells them. Default 127.0.0.1:9191.
        address: SocketAddr,
        /// A file that holds the bearer token, and nothing else. Read again whenever it is needed, so it can be changed.
        token_file: String,
        /// Tokens with names: the name is the actor of the audit trail.
        tokens: Vec<AdminToken>,
        /// Operators may be shown the key of a write, which is written to the audit trail. Default false.
        reveal: bool,
        /// One order may say of many writes that they were not executed, which frees their keys. Default false.
        bulk_not_executed: bool,
        /// Speak TLS, as a listener for traffic does. With `client`, those who have a certificate are let in, and it names who acts
        /// where no token does. Default: in clear.
        tls: RawListenerTls,
    }
}

section! {
    /// A token of the operators' listener, and who has it.
    RawAdminToken {
        /// Who has it: 1 to 64 letters, digits and `.-_@`.
        name: String = required,
        /// A file that holds the token, and nothing else.
        file: String = required,
        /// It may look and not act. Default false.
        read_only: bool,
    }
}

section! {
    /// `/_mainstay` on the data listeners: operations, problems, fresh keys.
    RawControl {
        /// The prefix. Default /_mainstay.
        path: ControlPath,
        /// Where callers find this proxy, so that `type`, `operation` and `Operation-Location` are whole addresses:
        /// `https://api.example.com`. Without it they are paths.
        public_url: PublicUrl,
        /// Bounds all of it together, per listener. Default 100/s.
        rate_limit: RateLimit,
        /// Who may list operations: `own`, each principal its own and an anonymous caller none, or `off`. Default own.
        list: List,
    }
}

section! {
    /// Bounds on clients.
    RawLimits {
        /// Bytes of a request's head. Default 64KiB.
        header_bytes: Size,
        /// Header fields of a request. Default 100.
        header_count: NonZeroUsize,
        /// Bytes of an answer's head. Default 64KiB.
        response_header_bytes: Size,
        /// Header fields of an answer. Default 1000.
        response_header_count: NonZeroUsize,
        /// From a request's first byte to the last of its head. Default 10s.
        header_timeout: Duration,
        /// From a connection to the end of its TLS handshake. Default 5s.
        handshake_timeout: Duration,
        /// An idle client connection is closed after this. Default 75s.
        keep_alive: Duration,
        /// A client connection ends after this, a tenth more or less, between two requests: clients then meet what stands behind
        /// an address anew. Default: none does for its age.
        max_connection_age: Duration,
        /// Client connections, all listeners together. Default: 20000, or as many as half of the memory limit holds at 8KiB each.
        connections: NonZeroUsize,
        /// Concurrent streams of one HTTP/2 client connection. Default 100.
        streams: NonZeroU32,
        /// Threads that serve traffic. `auto`: the CPU quota rounded up; without one four times the request (`MAINSTAY_CPU_REQUEST`, in
        /// thousandths), at least 2; without either 4; never more than there are CPUs. Default auto.
        workers: Workers,
        /// Bytes of all bodies held whole: keyed writes, their answers, bodies kept for a retry. Default: a quarter of the memory
        /// limit (the control group's, else `MAINSTAY_MEMORY_LIMIT`), at least 16MiB; 256MiB without a limit.
        buffered_bytes: Size,
    }
}

section! {
    /// How the process ends after `mainstay drain` and SIGTERM.
    RawDrain {
        /// From the first of the two to the end of accepting, which needs SIGTERM; readiness fails at once. Default 5s; none where
        /// the process was started on a terminal.
        delay: Duration,
        /// Requests in flight may take this long after accepting ends; those that take longer are told what is known of
        /// them. Default 30s.
        timeout: Duration,
    }
}

/// Reachable for the kubelet and for Prometheus, in pods that have IPv6 only, too.
pub(crate) fn default_probes() -> Probes {
    Probes { address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9190)), ready: Ready::default() }
}

impl Setting for Probes {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawProbes::decode(node, cx)?;
        let default = default_probes();
        Some(Self { address: or(raw.address, default.address), ready: or(raw.ready, default.ready) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawProbes::schema(definitions)
    }
}

impl Setting for Ready {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawReady::decode(node, cx)?;
        Some(Self { ledger: or(raw.ledger, ReadyLedger::default()) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawReady::schema(definitions)
    }
}

impl Setting for ReadyLedger {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("auto", Self::Auto), ("never", Self::Never)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["auto", "never"])
    }
}

/// Reachable from within the pod or machine only: whoever can reach it can say what became of a payment.
pub(crate) fn default_admin() -> Admin {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9191));
    Admin { address, token_file: None, tokens: Vec::new(), reveal: false, bulk_not_executed: false, tls: None }
}

/// `off` or a map.
pub(crate) struct MaybeAdmin(pub(crate) Option<Admin>);

impl Setting for MaybeAdmin {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("off") {
            return Some(Self(None));
        }
        if node.scalar().is_some() {
            return cx.mismatch(node, "off, or a map of address, token_file, tokens");
        }
        let raw = RawAdmin::decode(node, cx)?;
        let address_at = raw.address.as_ref().map_or(node.at, |address| address.at);
        let address = or(raw.address, default_admin().address);
        let token_file = raw.token_file.map(|file| PathBuf::from(file.value));
        let tokens_at = raw.tokens.as_ref().map_or(node.at, |tokens| tokens.at);
        let tokens = or(raw.tokens, Vec::new());
        let is_named_twice =
            |(at, token): (usize, &AdminToken)| tokens[..at].iter().any(|other| other.name == token.name);
        if tokens.iter().enumerate().any(is_named_twice) {
            cx.error::<()>(tokens_at, "two tokens have one name", "give each its own: it is who acts");
        }
        let tls = raw.tls.and_then(|it| it.value.build(it.at, cx)).map(Arc::new);
        let (reveal, bulk_not_executed) = (or(raw.reveal, false), or(raw.bulk_not_executed, false));
        let admin = Admin { address, token_file, tokens, reveal, bulk_not_executed, tls };
        let is_guarded = admin.token_file.is_some() || !admin.tokens.is_empty() || admin.wants_certificates();
        if !is_guarded && !address.ip().to_canonical().is_loopback() {
            let message = format!("whoever reaches {address} could settle operations and force breakers");
            let help = "give `admin.token_file`, ask for certificates (`admin.tls.client`), or listen on 127.0.0.1";
            return cx.error(address_at, message, help);
        }
        Some(Self(Some(admin)))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["off"]), RawAdmin::schema(definitions)])
    }
}

impl Setting for AdminToken {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawAdminToken::decode(node, cx)?;
        let (name, file) = (raw.name?, raw.file?);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
        if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(is_plain) {
            return cx.error(name.at, "this is no name of a token", "1 to 64 letters, digits and `.-_@`");
        }
        Some(Self { name: name.value.into(), file: PathBuf::from(file.value), read_only: or(raw.read_only, false) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawAdminToken::schema(definitions)
    }
}

/// 100/s answers every lost client of a bad second, and costs less than a core.
pub(crate) fn default_control() -> Control {
    const RATE: NonZeroU32 = NonZeroU32::new(100).expect("100 is not zero");
    let rate_limit = RateLimit::per(RATE, Duration::from_secs(1));
    // A listing is more than whoever knows a key is owed.
    let path: Arc<str> = Arc::from("/_mainstay");
    Control { links: Arc::clone(&path), path, public_url: None, rate_limit, list: List::Own }
}

impl Setting for Control {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawControl::decode(node, cx)?;
        let default = default_control();
        let path = raw.path.map_or(default.path, |path| path.value.0);
        let public_url = raw.public_url.map(|url| url.value.0);
        Some(Self {
            links: public_url.as_ref().map_or_else(|| Arc::clone(&path), |url| format!("{url}{path}").into()),
            path,
            public_url,
            rate_limit: or(raw.rate_limit, default.rate_limit),
            list: or(raw.list, default.list),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawControl::schema(definitions)
    }
}

impl Setting for List {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("own", Self::Own), ("off", Self::Off)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["own", "off"])
    }
}

/// Scheme and host, without a path.
pub(crate) struct PublicUrl(Arc<str>);

impl Setting for PublicUrl {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        let uri: Option<Uri> = text.parse().ok();
        let is_whole = uri.is_some_and(|uri| {
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            is_http && is_bare && uri.path() == "/" && uri.query().is_none()
        });
        if is_whole {
            Some(Self(text.trim_end_matches('/').into()))
        } else {
            cx.mismatch(node, "scheme and host, without a path: https://api.example.com")
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({
            "type": "string", "pattern": r"^https?://[^/?#@]+/?$|\$\{", "examples": ["https://api.example.com"],
        })
    }
}

/// A path without variables and without a slash at its end.
pub(crate) struct ControlPath(Arc<str>);

impl Setting for ControlPath {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~'));
        let well_formed = text.starts_with('/') && text.len() > 1 && !text.ends_with('/') && !text.contains("//");
        if plain && well_formed {
            Some(Self(text.into()))
        } else {
            cx.mismatch(node, "a plain path without a slash at its end, such as /_mainstay")
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": "^(/[A-Za-z0-9._~-]+)+$" })
    }
}

/// Section 15 of the design. An answer may have more fields than a request: it comes from a service that is trusted, and what
/// is not passed on cannot be replayed; 1000 of them are 32 KiB while they are parsed. 75 s of keep-alive is nginx's.
pub(crate) fn default_limits() -> Limits {
    fn some(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("defaults are not zero")
    }
    Limits {
        header_bytes: some(64 * 1024),
        header_count: some(100),
        response_header_bytes: some(64 * 1024),
        response_header_count: some(1000),
        header_timeout: Duration::from_secs(10),
        // Two round trips across the world and a lost packet; whoever needs longer holds a place for nothing.
        handshake_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(75),
        // A client that opens connections one after the other meets every replica; only one that keeps few for long needs it.
        max_connection_age: None,
        connections: some(machine::connections()),
        streams: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
        workers: machine::workers(),
        buffered_bytes: some(usize::try_from(machine::buffered_bytes()).unwrap_or(usize::MAX)),
    }
}

impl Setting for Limits {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawLimits::decode(node, cx)?;
        let default = default_limits();
        let mut bytes = |name, raw, default: NonZeroUsize| {
            let fits = |size: &Size| (8 * 1024..=1024 * 1024).contains(&size.0);
            let size = cx.ranged(name, raw, Size(default.get() as u64), fits, "it is from 8KiB to 1MiB");
            NonZeroUsize::new(size.bytes()).unwrap_or(default)
        };
        let header_bytes = bytes("header_bytes", raw.header_bytes, default.header_bytes);
        let response_header_bytes =
            bytes("response_header_bytes", raw.response_header_bytes, default.response_header_bytes);
        let mut count = |name, raw, default| {
            cx.ranged(name, raw, default, |count: &NonZeroUsize| count.get() <= 10_000, "it is from 1 to 10000")
        };
        let header_count = count("header_count", raw.header_count, default.header_count);
        let response_header_count =
            count("response_header_count", raw.response_header_count, default.response_header_count);
        Some(Self {
            header_bytes,
            header_count,
            response_header_bytes,
            response_header_count,
            header_timeout: cx.positive("header_timeout", raw.header_timeout, default.header_timeout),
            handshake_timeout: cx.positive("handshake_timeout", raw.handshake_timeout, default.handshake_timeout),
            keep_alive: cx.positive("keep_alive", raw.keep_alive, default.keep_alive),
            max_connection_age: raw
                .max_connection_age
                .map(|age| cx.positive("max_connection_age", Some(age), default.keep_alive)),
            connections: or(raw.connections, default.connections),
            streams: cx.ranged(
                "streams",
                raw.streams,
                default.streams,
                |streams| streams.get() <= 100_000,
                "it is from 1 to 100000",
            ),
            workers: raw.workers.map_or(default.workers, |workers| workers.value.0),
            buffered_bytes: buffered(cx, raw.buffered_bytes, default.buffered_bytes),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawLimits::schema(definitions)
    }
}

/// Less than a keyed write and its answer may have would make one wait for all others.
fn buffered(cx: &mut Cx, written: Option<At<Size>>, default: NonZeroUsize) -> NonZeroUsize {
    let fits = |size: &Size| size.0 >= 1024 * 1024;
    let size = cx.ranged("buffered_bytes", written, Size(default.get() as u64), fits, "it is at least 1MiB");
    NonZeroUsize::new(size.bytes()).unwrap_or(default)
}

/// `auto` or a number.
pub(crate) struct Workers(NonZeroUsize);

impl Setting for Workers {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.is_word("auto") {
            return Some(Self(machine::workers()));
        }
        let workers = NonZeroUsize::decode(node, cx)?;
        if workers.get() > 1024 { cx.out_of_range(node, "it is from 1 to 1024, or auto") } else { Some(Self(workers)) }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([words(&["auto"]), NonZeroUsize::schema(definitions)])
    }
}

/// 5 s lets every load balancer see that readiness failed; 30 s is Kubernetes' own grace.
pub(crate) fn default_drain() -> Drain {
    Drain { delay: Duration::from_secs(5), is_delay_default: true, timeout: Duration::from_secs(30) }
}

impl Setting for Drain {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = RawDrain::decode(node, cx)?;
        let default = default_drain();
        let is_delay_default = raw.delay.is_none();
        Some(Self { delay: or(raw.delay, default.delay), is_delay_default, timeout: or(raw.timeout, default.timeout) })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        RawDrain::schema(definitions)
    }
}
