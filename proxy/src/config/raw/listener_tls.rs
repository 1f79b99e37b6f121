//! `listeners.*.tls`.
#![allow(clippy::struct_field_names, reason = "so the keys are called")]

use super::tls::RawCredentials;
use crate::{
    config::{
        decode::{Cx, or, section},
        node::{At, Pos},
        scalars::Named,
    },
    wire::tls::{ClientAuth, Credentials, ListenerTls, MinVersion},
};

section! {
    /// How a listener shows itself over TLS, and whose certificates it wants.
    RawListenerTls {
        /// Our certificate with its key, in one file, in any order.
        bundle_file: String,
        /// Our certificate, and those that lead from it to an authority.
        cert_file: String,
        /// The key of that certificate.
        key_file: String,
        /// Whose certificates are wanted of callers. Default: none is asked for.
        client: RawClientAuth,
        /// The oldest TLS that is spoken, "1.2" or "1.3". Default "1.2".
        min_version: MinVersion,
        /// Other certificates, by the name that a caller asks for (SNI).
        names: Named<RawNamed>,
    }
}

section! {
    /// Certificates of callers.
    RawClientAuth {
        /// The authorities that they may be from, and no others.
        ca_file: String = required,
        /// Whether a caller without one is refused; else it has no principal. Default true.
        required: bool,
        /// Lists of what those authorities have revoked. Nobody is asked over the network: short lives are the answer.
        crl_file: String,
    }
}

section! {
    /// The certificate for one name.
    RawNamed {
        /// It with its key, in one file.
        bundle_file: String,
        /// It, and those that lead from it to an authority.
        cert_file: String,
        /// The key of that certificate.
        key_file: String,
    }
}

impl RawListenerTls {
    /// What is meant; contradictions are said.
    pub(crate) fn build(self, at: Pos, cx: &mut Cx) -> Option<ListenerTls> {
        let own = RawCredentials { bundle_file: self.bundle_file, cert_file: self.cert_file, key_file: self.key_file };
        let credentials = required(own, at, cx);
        let client = self.client.map(|it| it.value);
        let client = client.and_then(|client| {
            Some(ClientAuth {
                ca_file: client.ca_file?.value.into(),
                required: or(client.required, true),
                crl_file: client.crl_file.map(|file| file.value.into()),
            })
        });
        let written = self.names.map(|it| it.value.0).unwrap_or_default();
        let each = written.into_iter().filter_map(|(At { value: name, at }, raw)| {
            let RawNamed { bundle_file, cert_file, key_file } = raw;
            Some((name.to_ascii_lowercase(), required(RawCredentials { bundle_file, cert_file, key_file }, at, cx)?))
        });
        let names = each.collect();
        Some(ListenerTls {
            credentials: credentials?,
            client,
            min_version: or(self.min_version, MinVersion::default()),
            names,
        })
    }
}

fn required(raw: RawCredentials, at: Pos, cx: &mut Cx) -> Option<Credentials> {
    if raw.bundle_file.is_none() && raw.cert_file.is_none() && raw.key_file.is_none() {
        let help = "name `bundle_file`, or `cert_file` and `key_file`";
        return cx.coded("missing-key", at, "no certificate is named to be shown here", help);
    }
    raw.resolve(cx)
}
