//! `listeners`.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderName;
use mainstay_policies::access::AccessList;
use schemars::{Schema, SchemaGenerator};

use crate::config::{
    decode::{Cx, Setting, any_of, section, words},
    model::Principal,
    node::Node,
};

section! {
    /// An address on which HTTP is accepted.
    RawListener {
        /// Where it listens: an IP address with a port.
        address: SocketAddr = required,
        /// How the caller is known: `anonymous`, or `{ header: X-Tenant }` set by a trusted front. Default anonymous.
        principal: Principal,
        /// Whether deadlines in request headers are honoured. Default false.
        trust_deadline: bool,
        /// Who may send what, on whichever route: `{ allow: [...], deny: [...] }`.
        access: Arc<AccessList>,
    }
    later ["tls"]
}

section! {
    /// The caller is named by a header that a trusted front sets.
    RawPrincipal {
        /// The header.
        header: HeaderName = required,
    }
    later ["tls"]
}

impl Setting for Principal {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return if node.is_word("anonymous") {
                Some(Self::Anonymous)
            } else {
                cx.mismatch(node, "anonymous or { header: X-Tenant }")
            };
        }
        if node.lookup("tls").is_some() {
            let help = "use { header: X-Tenant } set by a front that ends TLS";
            return cx.error(node.at, "`principal: { tls: … }` is not available in this version", help);
        }
        Some(Self::Header(RawPrincipal::decode(node, cx)?.header?.value))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        any_of([words(&["anonymous"]), RawPrincipal::schema(generator)])
    }
}
