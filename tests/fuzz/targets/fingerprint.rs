//! What makes two requests the same: paths and JSON bodies as anybody may send them. A fingerprint is stable, spacing of a
//! JSON body does not count, another body does.
//!
//! The input is a path, then after a line feed a body.

#![no_main]

use bytes::Bytes;
use http::{Method, Request, Uri, request::Parts};
use libfuzzer_sys::fuzz_target;
use mainstay_policies::idempotency::{Fingerprint, FingerprintBody, Fingerprinter, rules};
use serde_json::Value;

fn request(path: &str) -> Option<Parts> {
    let uri: Uri = path.parse().ok()?;
    let request = Request::builder().method(Method::POST).uri(uri).header("content-type", "application/json").body(());
    Some(request.ok()?.into_parts().0)
}

/// Whether every number is below 2^53.
fn all_exact(json: &Value) -> bool {
    match json {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < 9_007_199_254_740_992.0),
        Value::Array(items) => items.iter().all(all_exact),
        Value::Object(members) => members.values().all(all_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let (Some(path), Some(body)) = (halves.next(), halves.next()) else { return };
    let Some(parts) = std::str::from_utf8(path).ok().and_then(request) else { return };
    let body = Bytes::copy_from_slice(body);
    for rule in [FingerprintBody::Exact, FingerprintBody::Json] {
        let maker = Fingerprinter::new(&[7; 32], Fingerprint { body: rule, headers: Vec::new() });
        let first = maker.of(&parts, &body);
        assert_eq!(first, maker.of(&parts, &body));

        let is_json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
        let spaced = Bytes::from([b" ", &body[..], b"\n"].concat());
        if rule == FingerprintBody::Exact {
            assert_ne!(first, maker.of(&parts, &spaced), "exact means byte for byte");
        }
        if rule == FingerprintBody::Json && is_json {
            let wrapped = Bytes::from([b"[", &body[..], b"]"].concat());
            assert_ne!(first, maker.of(&parts, &wrapped), "another body is another request");
            // A text with a repeated name, or a number that is no double of its own, has no canonical form.
            let is_canonical = rules::read_json(&body).is_some_and(|json| all_exact(&json));
            assert_eq!(
                first == maker.of(&parts, &spaced),
                is_canonical,
                "space does not count where it can be left out"
            );
        }
    }
});
