//! TLS as it is in force.

use std::path::Path;

use serde_json::{Value, json};

use super::{map, with};
use crate::{
    config::show::words::text,
    wire::tls::{ClientTls, Credentials, ListenerTls, MinVersion, UpstreamTls},
};

/// The side that calls a service.
pub(super) fn upstream(tls: &UpstreamTls) -> Value {
    let identity = (!tls.identity.is_empty()).then(|| tls.identity.iter().map(|uri| text(uri)).collect());
    let server_name = tls.server_name.as_ref().map(|name| text(&name.to_str()));
    with(client(&tls.client), [("server_name", server_name), ("identity", identity)])
}

/// The side that is called.
pub(super) fn listener(tls: &ListenerTls) -> Value {
    let client = tls.client.as_ref().map(|client| {
        let crl_file = client.crl_file.as_deref().map(file);
        with(json!({ "ca_file": file(&client.ca_file), "required": client.required }), [("crl_file", crl_file)])
    });
    let each = tls.names.iter().map(|(name, own)| (name.clone(), with(json!({}), credentials(Some(own)))));
    let names = (!tls.names.is_empty()).then(|| map(each));
    let shown = with(json!({ "min_version": version(tls.min_version) }), credentials(Some(&tls.credentials)));
    with(shown, [("client", client), ("names", names)])
}

/// The side that connects.
pub(super) fn client(tls: &ClientTls) -> Value {
    let shown = with(json!({ "min_version": version(tls.min_version) }), credentials(tls.credentials.as_ref()));
    with(shown, [("ca_file", tls.ca_file.as_deref().map(file))])
}

fn credentials(own: Option<&Credentials>) -> [(&'static str, Option<Value>); 3] {
    let (bundle, cert, key) = match own {
        None => (None, None, None),
        Some(Credentials::Bundle(bundle)) => (Some(file(bundle)), None, None),
        Some(Credentials::Pair { cert_file, key_file }) => (None, Some(file(cert_file)), Some(file(key_file))),
    };
    [("bundle_file", bundle), ("cert_file", cert), ("key_file", key)]
}

fn file(path: &Path) -> Value {
    json!(path.to_string_lossy())
}

fn version(version: MinVersion) -> &'static str {
    match version {
        MinVersion::Tls12 => "1.2",
        MinVersion::Tls13 => "1.3",
    }
}
