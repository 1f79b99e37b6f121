//! Who may use the operators' interface.
//!
//! With a token: whoever knows it. Without one whoever has shown a certificate that the listener asked for; its handshake let in
//! nobody else. Without either the listener is on loopback, where other processes of the machine are
//! trusted and web pages in a browser of this machine are not. A page reaches loopback in two ways: across sites, which the
//! browser marks with `Origin` (and cannot send JSON that way without asking first), or by a name of the attacker's that
//! suddenly points here, which `Host` shows.

use std::{
    hint::black_box,
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{HeaderMap, Method, StatusCode, header, request::Parts, uri::Authority};
use mainstay_policies::problem::Problem;
use sha2::{Digest, Sha256};

use super::secure::Arrival;
use crate::api::Fault;

/// Bytes of a token file; a token of 256 bits takes 64.
const MAX_TOKEN: u64 = 4096;
/// Characters of who did it, in the audit trail.
pub(super) const MAX_ACTOR: usize = 128;

/// What the listener asks of a request before anything else.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Whom it knows; empty: whoever is on this machine.
    pub(super) credentials: Vec<Credential>,
}

/// A token, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) file: TokenFile,
    pub(crate) caller: Caller,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The name of the token, or of the certificate; `None`: whoever has the token without a name, or is on this machine.
    pub(crate) name: Option<Arc<str>>,
    /// May look and not act.
    pub(crate) read_only: bool,
}

impl Guard {
    /// Lets the request in, or says why not.
    pub(super) async fn admit(&self, parts: &Parts) -> Result<Caller, Fault> {
        let arrival = parts.extensions.get::<Arrival>().cloned().unwrap_or_default();
        let caller = match arrival.certified {
            _ if !self.credentials.is_empty() => self.recognise(parts).await?,
            // No page has it send a certificate under a name that the listener's own certificate is not for.
            Some(certified) => Caller { name: Some(fit(&certified)), read_only: false },
            None => admit_locally(parts)?,
        };
        is_from_no_other_site(parts, arrival.is_secure)?;
        if caller.read_only && !is_a_look(parts) {
            return Err(Fault::new(Problem::Forbidden, "This token may look and not act: it is `read_only`."));
        }
        Ok(caller)
    }

    /// Lets a request for a file of the console in: it holds no data, so it needs no token, and a link in a chat may lead to it.
    pub(super) fn admit_page(&self, parts: &Parts) -> Result<(), Fault> {
        let arrival = parts.extensions.get::<Arrival>().cloned().unwrap_or_default();
        if self.credentials.is_empty() && arrival.certified.is_none() {
            admit_locally(parts)?;
        }
        // Somebody follows a link: no script of the other site sees what comes, and it comes into no frame.
        let is_followed = parts.headers.get("sec-fetch-dest").is_some_and(|dest| dest == "document");
        if is_followed { Ok(()) } else { is_from_no_other_site(parts, arrival.is_secure) }
    }

    /// Whose token it is.
    async fn recognise(&self, parts: &Parts) -> Result<Caller, Fault> {
        let given = digest(bearer(&parts.headers).ok_or_else(unauthorized)?);
        let credentials = self.credentials.clone();
        // Read each time: a token that was changed, or taken away, counts at once.
        let read = tokio::task::spawn_blocking(move || {
            let read = credentials.into_iter().map(|Credential { file, caller }| (file.digest(), caller));
            read.collect::<Vec<_>>()
        });
        let mut found = None;
        for (expected, caller) in read.await.unwrap_or_default() {
            match expected {
                Ok(expected) if is_same(&given, &expected) => found = Some(caller),
                Ok(_) => {}
                Err(error) => {
                    let whose = caller.name.as_deref().unwrap_or("admin.token_file");
                    tracing::error!(%error, whose, "a token of the operators' interface cannot be read: its owner is not let in");
                }
            }
        }
        found.ok_or_else(unauthorized)
    }
}

/// A name of a certificate, as the audit trail takes one.
fn fit(name: &str) -> Arc<str> {
    name.chars().filter(|c| !c.is_control()).take(MAX_ACTOR).collect::<String>().into()
}

/// Whether nothing is changed by it: a search has its key in a body.
fn is_a_look(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD) || parts.uri.path() == "/operations:find"
}

/// Whoever is on this machine, and no web page.
fn admit_locally(parts: &Parts) -> Result<Caller, Fault> {
    if is_local_name(host(parts)) {
        return Ok(Caller::default());
    }
    let detail = "Without a token this interface answers under an IP address or localhost only, so that no web page can reach it \
                  by a name of its own: use http://127.0.0.1.";
    Err(Fault::new(Problem::Forbidden, detail))
}

/// The file that holds the token.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile(PathBuf);

impl TokenFile {
    /// # Errors
    /// It cannot be read, holds nothing, or can be written by everybody.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = Self(path.to_owned());
        file.digest()?;
        if std::fs::metadata(path)?.permissions().mode() & 0o004 != 0 {
            tracing::warn!(file = %path.display(), "every user of this machine can read the token: chmod o-r");
        }
        Ok(file)
    }

    fn digest(&self) -> io::Result<[u8; 32]> {
        let file = std::fs::File::open(&self.0)?;
        if file.metadata()?.permissions().mode() & 0o002 != 0 {
            return Err(io::Error::other("every user of this machine could replace the token: chmod o-w"));
        }
        let mut token = Vec::new();
        file.take(MAX_TOKEN + 1).read_to_end(&mut token)?;
        let token = token.trim_ascii();
        if token.is_empty() || token.len() as u64 > MAX_TOKEN {
            return Err(io::Error::other("a token has 1 to 4096 bytes"));
        }
        Ok(digest(token))
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Takes the same time wherever they differ.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    black_box(a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1), if there is exactly one.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn unauthorized() -> Fault {
    let detail = "Send `Authorization: Bearer` with the content of admin.token_file, or of a file of admin.tokens; `mainstay ops` \
                  takes --token-file.";
    let mut fault = Fault::new(Problem::Forbidden, detail).with(StatusCode::UNAUTHORIZED, "The caller is not known");
    fault.header = Some((header::WWW_AUTHENTICATE, "Bearer realm=\"mainstay\"".into()));
    fault
}

/// The name by which the request came, with its port.
fn host(parts: &Parts) -> Option<Authority> {
    if let Some(authority) = parts.uri.authority() {
        return Some(authority.clone());
    }
    let mut values = parts.headers.get_all(header::HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    Authority::try_from(value.as_bytes()).ok()
}

/// Whether no name server could have said so: an address, or `localhost`.
fn is_local_name(host: Option<Authority>) -> bool {
    let Some(authority) = host.filter(|authority| !authority.as_str().contains('@')) else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Refuses what a page of another site sends, and what it could send without the browser asking first.
fn is_from_no_other_site(parts: &Parts, is_secure: bool) -> Result<(), Fault> {
    let refuse = || Fault::new(Problem::Forbidden, "This interface takes no requests from web pages of another site.");
    if let Some(site) = parts.headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(refuse());
    }
    if let Some(origin) = parts.headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        // In clear a front may have spoken TLS for us; through TLS whoever comes from a page in clear comes from another port.
        let is_own = origin.zip(host(parts)).is_some_and(|((scheme, origin), host)| {
            origin == host.as_str() && (!is_secure || scheme.eq_ignore_ascii_case("https"))
        });
        if !is_own {
            return Err(refuse());
        }
    }
    let media_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let is_json = media_type.is_none_or(|media_type| {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    });
    if matches!(parts.method, Method::POST | Method::PUT) && !is_json {
        let detail = "Bodies are JSON here: send `Content-Type: application/json`.";
        return Err(Fault::new(Problem::UnsupportedMediaType, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/drain");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    async fn status(guard: &Guard, parts: &Parts) -> u16 {
        guard.admit(parts).await.map_or_else(|fault| fault.status.as_u16(), |_| 200)
    }

    #[tokio::test]
    async fn without_a_token_only_local_names_lead_here() {
        let guard = Guard { credentials: Vec::new() };
        for (host, expected) in [
            ("127.0.0.1:9191", 200),
            ("127.0.0.1", 200),
            ("[::1]:9191", 200),
            ("10.0.0.7", 200),
            ("localhost:9191", 200),
            ("LOCALHOST", 200),
            ("localhost.evil.test", 403),
            ("evil.test:9191", 403),
            ("127.0.0.1.evil.test", 403),
            ("x@127.0.0.1", 403),
            ("", 403),
        ] {
            assert_eq!(status(&guard, &parts("GET", &[("host", host)])).await, expected, "{host}");
        }
        assert_eq!(status(&guard, &parts("GET", &[])).await, 403);
        assert_eq!(status(&guard, &parts("GET", &[("host", "127.0.0.1"), ("host", "evil.test")])).await, 403);
    }

    #[tokio::test]
    async fn no_page_of_another_site_gets_in() {
        let guard = Guard { credentials: Vec::new() };
        for (method, headers, expected) in [
            ("POST", &[("origin", "http://127.0.0.1:9191")][..], 200),
            ("POST", &[("origin", "http://evil.test")], 403),
            ("POST", &[("origin", "null")], 403),
            ("POST", &[("origin", "http://127.0.0.1:9191.evil.test")], 403),
            ("GET", &[("origin", "http://evil.test")], 403),
            ("GET", &[("sec-fetch-site", "cross-site")], 403),
            ("GET", &[("sec-fetch-site", "same-site")], 403),
            ("GET", &[("sec-fetch-site", "none")], 200),
            ("POST", &[("content-type", "text/plain")], 415),
            ("PUT", &[("content-type", "application/x-www-form-urlencoded")], 415),
            ("POST", &[("content-type", "Application/JSON; charset=utf-8")], 200),
            ("POST", &[], 200),
        ] {
            let mut all = vec![("host", "127.0.0.1:9191")];
            all.extend(headers);
            assert_eq!(status(&guard, &parts(method, &all)).await, expected, "{method} {headers:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_the_whole_key_and_is_read_anew() {
        let path = std::env::temp_dir().join(format!("mainstay-token-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "s3cret\n").unwrap();
        let guard = Guard {
            credentials: vec![Credential { file: TokenFile::open(&path).unwrap(), caller: Caller::default() }],
        };
        for (given, expected) in [
            (&["Bearer s3cret"][..], 200),
            (&["bearer  s3cret"], 200),
            (&["Bearer s3cre"], 401),
            (&["Bearer s3cret2"], 401),
            (&["Bearer "], 401),
            (&["Basic s3cret"], 401),
            (&["s3cret"], 401),
            (&["Bearer s3cret", "Bearer s3cret"], 401),
            (&[], 401),
        ] {
            let mut headers = vec![("host", "payments.prod.svc:9191")];
            headers.extend(given.iter().map(|given| ("authorization", *given)));
            assert_eq!(status(&guard, &parts("GET", &headers)).await, expected, "{given:?}");
        }
        let asks = |token| parts("GET", &[("host", "x"), ("authorization", token)]);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(status(&guard, &asks("Bearer s3cret")).await, 401);
        assert_eq!(status(&guard, &asks("Bearer another")).await, 200);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status(&guard, &asks("Bearer another")).await, 401);
    }

    #[test]
    fn a_token_that_is_none_or_everybodys_is_refused() {
        let path = std::env::temp_dir().join(format!("mainstay-token-{}", uuid::Uuid::new_v4()));
        assert!(TokenFile::open(&path).is_err());
        for content in ["", " \n"] {
            std::fs::write(&path, content).unwrap();
            assert!(TokenFile::open(&path).is_err(), "{content:?}");
        }
        std::fs::write(&path, "token").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(TokenFile::open(&path).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(TokenFile::open(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
