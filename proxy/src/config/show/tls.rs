//! TLS as it is in force.

use serde_json::{Value, json};

use super::with;
use crate::{
    config::show::words::text,
    wire::tls::{ClientTls, Credentials, MinVersion, UpstreamTls},
};

/// The side that calls a service.
pub(super) fn upstream(tls: &UpstreamTls) -> Value {
    let identity = (!tls.identity.is_empty()).then(|| tls.identity.iter().map(|uri| text(uri)).collect());
    let server_name = tls.server_name.as_ref().map(|name| text(&name.to_str()));
    with(client(&tls.client), [("server_name", server_name), ("identity", identity)])
}

/// The side that connects.
pub(super) fn client(tls: &ClientTls) -> Value {
    let file = |path: &std::path::Path| Some(json!(path.to_string_lossy()));
    let min_version = match tls.min_version {
        MinVersion::Tls12 => "1.2",
        MinVersion::Tls13 => "1.3",
    };
    let (bundle, cert, key) = match &tls.credentials {
        None => (None, None, None),
        Some(Credentials::Bundle(bundle)) => (file(bundle), None, None),
        Some(Credentials::Pair { cert_file, key_file }) => (None, file(cert_file), file(key_file)),
    };
    let ca_file = tls.ca_file.as_deref().and_then(file);
    let files = [("ca_file", ca_file), ("bundle_file", bundle), ("cert_file", cert), ("key_file", key)];
    with(json!({ "min_version": min_version }), files)
}
