//! `access`.

use std::sync::Arc;

use http::Method;
use mainstay_policies::{
    access::{AccessList, Cidr, PrincipalPattern, Rule},
    path::PathPattern,
};
use serde_json::{Value, json};

use crate::config::{
    decode::{Cx, Setting, any_of, section},
    definitions::Definitions,
    node::{At, Kind, Node},
};

/// Rules of one list at most: they are tried one by one for every request.
const MAX_RULES: usize = 256;

section! {
    /// Who may send what. `deny` wins; where there are `allow` rules, one of them must match.
    RawAccess {
        /// Rules of which one must match, if there are any.
        allow: Vec<Rule>,
        /// Rules of which none may match.
        deny: Vec<Rule>,
    }
}

section! {
    /// Matches a request if every part that is given does.
    RawAccessRule {
        /// Networks that the client is in: one, or a list.
        client: Networks,
        /// Any of these methods. Default: all.
        methods: Vec<Method>,
        /// The path, as in a route. Default: all.
        path: PathPattern,
        /// Who is calling, as the listener knows callers, one or a list: a name, or with `/**` at its end all below it.
        principal: Principals,
    }
}

impl Setting for Arc<AccessList> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let raw = if let Kind::List(_) = node.kind {
            let allow = At { value: Vec::<Rule>::decode(node, cx)?, at: node.at };
            RawAccess { allow: Some(allow), deny: None }
        } else {
            RawAccess::decode(node, cx)?
        };
        let mut rules = |list: Option<At<Vec<Rule>>>| {
            let list = list?;
            if list.value.is_empty() {
                cx.error::<()>(list.at, "the list has no rule", "give it one, or remove it");
            }
            if list.value.len() > MAX_RULES {
                cx.error::<()>(list.at, "the list is too long", "at most 256 rules");
            }
            Some(list.value)
        };
        let (allow, deny) = (rules(raw.allow), rules(raw.deny));
        let is_map = matches!(node.kind, Kind::Map(_));
        if is_map && node.lookup("allow").is_none() && node.lookup("deny").is_none() {
            return cx.error(node.at, "this access list has no rule", "give it `allow` or `deny`, or remove it");
        }
        Some(Self::new(AccessList { allow: allow.unwrap_or_default(), deny: deny.unwrap_or_default() }))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Vec::<Rule>::schema(definitions), RawAccess::schema(definitions)])
    }
}

impl Setting for Rule {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.scalar().is_some() {
            return Some(Self { clients: vec![Cidr::decode(node, cx)?], ..Self::default() });
        }
        let raw = RawAccessRule::decode(node, cx)?;
        if ["client", "methods", "path", "principal"].iter().all(|key| node.lookup(key).is_none()) {
            return cx.error(node.at, "this rule matches everything", "give it client, methods, path or principal");
        }
        Some(Self {
            clients: raw.client.map(|networks| networks.value.0).unwrap_or_default(),
            methods: raw.methods.map(|methods| methods.value).unwrap_or_default(),
            path: raw.path.map(|path| path.value.rule()),
            principals: raw.principal.map(|names| names.value.0).unwrap_or_default(),
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Cidr::schema(definitions), RawAccessRule::schema(definitions)])
    }
}

/// One caller or several.
pub(crate) struct Principals(Vec<PrincipalPattern>);

impl Setting for Principals {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let names = match node.kind {
            Kind::List(_) => Vec::<String>::decode(node, cx)?,
            _ => vec![String::decode(node, cx)?],
        };
        let Some(wild) = names.iter().find(|name| name.strip_suffix("/**").unwrap_or(name).contains('*')) else {
            return Some(Self(names.into_iter().map(PrincipalPattern).collect()));
        };
        cx.error(node.at, format!("`{wild}` is no caller: there are no patterns but `/**` at the end"), "name it whole")
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([String::schema(definitions), Vec::<String>::schema(definitions)])
    }
}

/// One network or several.
pub(crate) struct Networks(Vec<Cidr>);

impl Setting for Networks {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.kind {
            Kind::List(_) => Vec::<Cidr>::decode(node, cx).map(Self),
            _ => Cidr::decode(node, cx).map(|network| Self(vec![network])),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([Cidr::schema(definitions), Vec::<Cidr>::schema(definitions)])
    }
}

impl Setting for Cidr {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(scalar) = node.scalar() else {
            return cx.mismatch(node, "a network such as 10.0.0.0/8, or an address");
        };
        match scalar.text.parse() {
            Ok(network) => Some(network),
            Err(error) => {
                let message = format!("{} is not a network: {error}", scalar.shown());
                cx.error(node.at, message, "write an address, or a network such as 10.0.0.0/8 or 2001:db8::/32")
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"] })
    }
}
