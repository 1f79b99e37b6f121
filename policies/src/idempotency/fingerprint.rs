//! What makes two requests the same.
//!
//! HMAC-SHA-256 over length-prefixed parts, so that no two lists of parts run together to the same bytes. The secret keeps
//! a reader of the ledger from guessing small bodies.

use std::net::Ipv4Addr;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac, digest::Key};
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HOST, PROXY_AUTHORIZATION},
    request::Parts,
};
use sha2::Sha256;

use super::{Fingerprint, FingerprintBody, canonical_json};
use crate::{operation::FingerprintVersion, path::normalise};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a step hashes, in bytes: some 20 us of SHA-256 where the processor has instructions for it.
pub const STEP_BYTES: usize = 32 * 1024;

/// Makes fingerprints under one secret.
#[derive(Clone)]
pub struct Fingerprinter {
    keyed: Hmac<Sha256>,
    rule: Fingerprint,
}

impl Fingerprinter {
    /// A maker of fingerprints by `rule`.
    pub fn new(secret: &[u8; 32], rule: Fingerprint) -> Self {
        let keyed = Hmac::new(&keyed_block(secret));
        Self { keyed, rule }
    }

    /// The fingerprint of a request, by all that counts today.
    pub fn of(&self, parts: &Parts, body: &Bytes) -> [u8; 32] {
        self.of_version(FingerprintVersion::CURRENT, parts, body)
    }

    /// The fingerprint of a request by what counted under `version`, to compare it with one that was made then.
    pub fn of_version(&self, version: FingerprintVersion, parts: &Parts, body: &Bytes) -> [u8; 32] {
        let mut begun = self.begin(version, parts, body);
        while begun.step() {}
        begun.finish()
    }

    /// The same in steps, for whoever has more to do than to hash a large body.
    pub fn in_steps<'a>(&'a self, parts: &'a Parts, body: &Bytes) -> Fingerprinting<'a> {
        self.begin(FingerprintVersion::CURRENT, parts, body)
    }

    fn begin<'a>(&'a self, version: FingerprintVersion, parts: &'a Parts, body: &Bytes) -> Fingerprinting<'a> {
        let mut mac = Prefixed(self.keyed.clone());
        mac.part(parts.method.as_str().as_bytes());
        if version == FingerprintVersion::WithHost {
            mac.optional(host(parts).as_deref().map(str::as_bytes));
        }
        mac.part(normalise(parts.uri.path()).as_bytes());
        mac.optional(parts.uri.query().map(str::as_bytes));
        mac.part(media_type(&parts.headers).as_bytes());
        mac.values(&parts.headers, &CONTENT_ENCODING);
        let rest = if let Some(canonical) = self.canonical(&parts.headers, body) {
            mac.part(b"json");
            Bytes::from(canonical)
        } else {
            mac.part(b"exact");
            body.clone()
        };
        mac.length(&rest);
        Fingerprinting { mac, rest, headers: &parts.headers, rule: &self.rule }
    }

    /// What a request proves its caller by, where nobody has said who that is: `Authorization`, `Proxy-Authorization`, `Cookie`
    /// and `X-Api-Key`. A caller that proves nothing is one of its own.
    pub fn of_credentials(&self, headers: &HeaderMap) -> [u8; 32] {
        of_credentials(self.keyed.clone(), headers)
    }

    /// The canonical body, if the rule asks for it and the body has one; an encoded body is not looked into.
    fn canonical(&self, headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.rule.body == FingerprintBody::Json && !headers.contains_key(CONTENT_ENCODING);
        wanted.then(|| canonical_json::canonical(body)).flatten()
    }
}

/// [The same](Fingerprinter::of_credentials), for whoever has no rule at hand. `secret` is the ledger's.
pub fn credentials(secret: &[u8; 32], headers: &HeaderMap) -> [u8; 32] {
    of_credentials(Hmac::new(&keyed_block(secret)), headers)
}

fn of_credentials(keyed: Hmac<Sha256>, headers: &HeaderMap) -> [u8; 32] {
    let mut mac = Prefixed(keyed);
    // A fingerprint begins with a method, which is never empty.
    mac.part(b"");
    for name in [AUTHORIZATION, PROXY_AUTHORIZATION, X_API_KEY] {
        mac.values(headers, &name);
    }
    // Over HTTP/2 a client may send its cookies in as many fields as it likes (RFC 9113 section 8.2.3).
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    mac.part(&crumbs.join(&b"; "[..]));
    mac.0.finalize().into_bytes().into()
}

/// A key shorter than SHA-256's block is padded with zeros (RFC 2104).
fn keyed_block(secret: &[u8; 32]) -> Key<Hmac<Sha256>> {
    let mut block = Key::<Hmac<Sha256>>::default();
    block[..secret.len()].copy_from_slice(secret);
    block
}

/// A fingerprint in the making.
pub struct Fingerprinting<'a> {
    mac: Prefixed,
    /// What is not hashed of the body.
    rest: Bytes,
    headers: &'a HeaderMap,
    rule: &'a Fingerprint,
}

impl Fingerprinting<'_> {
    /// Hashes up to [`STEP_BYTES`] of the body. Whether more of it is to come.
    #[must_use]
    pub fn step(&mut self) -> bool {
        let step = self.rest.split_to(self.rest.len().min(STEP_BYTES));
        self.mac.0.update(&step);
        !self.rest.is_empty()
    }

    /// The fingerprint, with what no step has hashed.
    pub fn finish(mut self) -> [u8; 32] {
        self.mac.0.update(&self.rest);
        for name in &self.rule.headers {
            self.mac.part(name.as_str().as_bytes());
            self.mac.values(self.headers, name);
        }
        self.mac.0.finalize().into_bytes().into()
    }
}

struct Prefixed(Hmac<Sha256>);

impl Prefixed {
    fn length(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
    }

    fn part(&mut self, bytes: &[u8]) {
        self.length(bytes);
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.0.update(&[u8::from(bytes.is_some())]);
        self.part(bytes.unwrap_or_default());
    }

    fn values(&mut self, headers: &HeaderMap, name: &HeaderName) {
        let values = headers.get_all(name);
        self.0.update(&(values.iter().count() as u64).to_be_bytes());
        values.iter().for_each(|value| self.part(value.as_bytes()));
    }
}

/// The host in lower case, without its port. An address or `localhost` counts as none: replicas and forwarded ports have
/// different ones for the same service.
fn host(parts: &Parts) -> Option<String> {
    let of_field = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or_else(of_field)?;
    let name = authority.split_once(':').map_or(authority, |(name, _)| name);
    // An IPv6 address stands in brackets.
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    let counts = !name.is_empty() && !is_address && !name.eq_ignore_ascii_case("localhost");
    counts.then(|| name.to_ascii_lowercase())
}

/// The media type without its parameters, in lower case; empty if there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
