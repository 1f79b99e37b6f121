//! What all that connects over TLS can say: keys, certificates, authorities.

use serde_json::Value;

use crate::{
    config::{
        decode::{Cx, Setting, words},
        definitions::Definitions,
        node::{At, Node},
    },
    wire::tls::{Credentials, MinVersion},
};

/// Where a key and its certificates are, as it was written.
#[expect(clippy::struct_field_names, reason = "so the keys are called")]
pub(super) struct RawCredentials {
    pub(super) bundle_file: Option<At<String>>,
    pub(super) cert_file: Option<At<String>>,
    pub(super) key_file: Option<At<String>>,
}

impl RawCredentials {
    /// What is meant, if anything is; contradictions are said.
    pub(super) fn resolve(self, cx: &mut Cx) -> Option<Credentials> {
        match (self.bundle_file, self.cert_file, self.key_file) {
            (None, None, None) => None,
            (Some(bundle), None, None) => Some(Credentials::Bundle(bundle.value.into())),
            (None, Some(cert), Some(key)) => {
                Some(Credentials::Pair { cert_file: cert.value.into(), key_file: key.value.into() })
            }
            (Some(bundle), _, _) => {
                let help = "remove one: `bundle_file` holds key and chain, `cert_file` and `key_file` each a half";
                cx.error(bundle.at, "`bundle_file` is given beside `cert_file` or `key_file`", help)
            }
            (None, Some(cert), None) => cx.error(
                cert.at,
                "`cert_file` is given without `key_file`",
                "add its key; or name the one file with both in `bundle_file`",
            ),
            (None, None, Some(key)) => cx.error(
                key.at,
                "`key_file` is given without `cert_file`",
                "add its certificate; or name the one file with both in `bundle_file`",
            ),
        }
    }
}

impl Setting for MinVersion {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("1.2", Self::Tls12), ("1.3", Self::Tls13)])
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["1.2", "1.3"])
    }
}
