//! What makes two requests the same.
//!
//! HMAC-SHA-256 over length-prefixed parts, so that no two lists of parts run together to the same bytes. The secret keeps
//! a reader of the ledger from guessing small bodies.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac, digest::Key};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use sha2::Sha256;

use super::{Fingerprint, FingerprintBody, canonical_json};
use crate::path::normalise;

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

    /// The fingerprint of a request.
    pub fn of(&self, parts: &Parts, body: &Bytes) -> [u8; 32] {
        let mut mac = Prefixed(self.keyed.clone());
        mac.part(parts.method.as_str().as_bytes());
        mac.part(normalise(parts.uri.path()).as_bytes());
        mac.optional(parts.uri.query().map(str::as_bytes));
        mac.part(media_type(&parts.headers).as_bytes());
        mac.values(&parts.headers, &CONTENT_ENCODING);
        if let Some(canonical) = self.canonical(&parts.headers, body) {
            mac.part(b"json");
            mac.part(&canonical);
        } else {
            mac.part(b"exact");
            mac.part(body);
        }
        for name in &self.rule.headers {
            mac.part(name.as_str().as_bytes());
            mac.values(&parts.headers, name);
        }
        mac.0.finalize().into_bytes().into()
    }

    /// The canonical body, if the rule asks for it and the body has one; an encoded body is not looked into.
    fn canonical(&self, headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.rule.body == FingerprintBody::Json && !headers.contains_key(CONTENT_ENCODING);
        wanted.then(|| canonical_json::canonical(body)).flatten()
    }
}

/// A key shorter than SHA-256's block is padded with zeros (RFC 2104).
fn keyed_block(secret: &[u8; 32]) -> Key<Hmac<Sha256>> {
    let mut block = Key::<Hmac<Sha256>>::default();
    block[..secret.len()].copy_from_slice(secret);
    block
}

struct Prefixed(Hmac<Sha256>);

impl Prefixed {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.0.update(&[u8::from(bytes.is_some())]);
        self.part(bytes.unwrap_or_default());
    }

    fn values(&mut self, headers: &HeaderMap, name: &http::HeaderName) {
        let values = headers.get_all(name);
        self.0.update(&(values.iter().count() as u64).to_be_bytes());
        values.iter().for_each(|value| self.part(value.as_bytes()));
    }
}

/// The media type without its parameters, in lower case; empty if there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
