//! Settings that are one value, and lists and maps of them.

mod http;

use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use super::{
    decode::{Cx, ENV, Setting},
    definitions::Definitions,
    node::{At, Kind, Node, Scalar},
    units,
};

/// Bytes, written with a unit of 1024.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// As a number of bytes in memory.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// So many in a time: `500/s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) count: NonZeroU32,
    pub(crate) unit: Duration,
}

/// A share, from 1% to 100%.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percent(pub(crate) u32);

/// Named things in the order written.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(At<String>, T)>);

fn scalar<'n>(node: &'n Node, cx: &mut Cx, expected: &str) -> Option<&'n Scalar> {
    match node.scalar() {
        Some(scalar) => Some(scalar),
        None => cx.mismatch(node, expected),
    }
}

impl Setting for bool {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match scalar(node, cx, "true or false")?.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => cx.mismatch(node, "true or false"),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": ENV }] })
    }
}

impl Setting for String {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a text")?.text;
        if text.is_empty() { cx.mismatch(node, "a text that is not empty") } else { Some(text.clone()) }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Setting for Duration {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a duration: 250ms, 2s, 1m, 24h, 30d")?;
        units::parse_duration(&scalar.text).map_err(|wrong| quantity(node, cx, scalar, wrong)).ok()
    }

    fn schema(_: &mut Definitions) -> Value {
        quantity_schema(&format!(r"^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s|m|h|d)$|{ENV}"))
    }
}

impl Setting for Size {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a size: 512B, 64KiB, 1MiB")?;
        units::parse_size(&scalar.text).map(Self).map_err(|wrong| quantity(node, cx, scalar, wrong)).ok()
    }

    fn schema(_: &mut Definitions) -> Value {
        quantity_schema(&format!(r"^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB)$|{ENV}"))
    }
}

/// A quantity with a unit, or 0, which needs none.
fn quantity_schema(pattern: &str) -> Value {
    json!({ "type": ["string", "integer"], "pattern": pattern, "minimum": 0, "maximum": 0 })
}

impl Setting for Rate {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a rate: 500/s, 600/m")?;
        let (count, unit) = units::parse_rate(&scalar.text).map_err(|wrong| quantity(node, cx, scalar, wrong)).ok()?;
        match NonZeroU32::new(count) {
            Some(count) => Some(Self { count, unit }),
            None => cx.error(node.at, format!("{} admits nothing", scalar.shown()), "a rate is at least 1"),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": format!("^[0-9]+ ?/ ?[0-9.]*(ms|s|sec|second|m|min|minute|h|hour|d|day)$|{ENV}") })
    }
}

impl Setting for Percent {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a percentage: 80%")?;
        units::parse_percent(&scalar.text).map(Self).map_err(|wrong| quantity(node, cx, scalar, wrong)).ok()
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "pattern": format!("^0*([1-9][0-9]?|100) ?%$|{ENV}") })
    }
}

fn quantity(node: &Node, cx: &mut Cx, scalar: &Scalar, (message, help): units::Wrong) {
    let message = if scalar.written.is_some() { format!("{} is not a quantity", scalar.shown()) } else { message };
    cx.error::<()>(node.at, message, help);
}

/// Reads a whole number in a range.
fn integer(node: &Node, cx: &mut Cx, min: u64, max: u64) -> Option<u64> {
    let expected = match (min, max) {
        (0, MANY) => "a whole number".to_owned(),
        (_, MANY) => format!("a whole number, at least {min}"),
        _ => format!("a whole number from {min} to {max}"),
    };
    let text = &scalar(node, cx, &expected)?.text;
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if plain && (min..=max).contains(&number) => Some(number),
        // More digits than fit are a whole number all the same, and so is one below zero.
        _ if plain || text.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok()) => {
            let bounds = if max == MANY { format!("it is from {min} to {MANY}") } else { format!("it is {expected}") };
            cx.out_of_range(node, &bounds)
        }
        _ => cx.mismatch(node, &expected),
    }
}

pub(crate) fn integer_schema(min: u64, max: u64) -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, { "type": "string", "pattern": ENV }] })
}

macro_rules! whole {
    ($($type:ty: $min:expr, $max:expr, $make:expr;)*) => {$(
        impl Setting for $type {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                $make(integer(node, cx, $min, $max)?)
            }

            fn schema(_: &mut Definitions) -> Value {
                integer_schema($min, $max)
            }
        }
    )*};
}

/// Connections, keys, bytes: above this a number is a mistake, and memory would end long before.
const MANY: u64 = 1_000_000_000;

whole! {
    u8: 0, u64::from(u8::MAX), |n: u64| u8::try_from(n).ok();
    u32: 0, MANY, |n: u64| u32::try_from(n).ok();
    usize: 0, MANY, |n: u64| usize::try_from(n).ok();
    NonZeroU32: 1, MANY, |n: u64| u32::try_from(n).ok().and_then(NonZeroU32::new);
    NonZeroUsize: 1, MANY, |n: u64| usize::try_from(n).ok().and_then(NonZeroUsize::new);
}

impl Setting for f64 {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a number")?.text;
        let digits = text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        match text.parse::<f64>() {
            Ok(number) if digits && number.is_finite() => Some(number),
            _ => cx.mismatch(node, "a number"),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "number" }, { "type": "string", "pattern": ENV }] })
    }
}

impl Setting for SocketAddr {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = "an IP address with a port: 0.0.0.0:8080, 127.0.0.1:8080, [::]:8080";
        let scalar = scalar(node, cx, expected)?;
        if let Ok(address) = scalar.text.parse() {
            return Some(address);
        }
        let port = scalar.text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let host = scalar.text.rsplit_once(':').map_or("", |(host, _)| host);
        let better = match (host, port) {
            ("" | "*", Some(port)) => Some(format!("0.0.0.0:{port}")),
            ("localhost", Some(port)) => Some(format!("127.0.0.1:{port}")),
            _ => None,
        };
        match better {
            Some(better) => {
                let message = format!("{} is not an address to listen on", scalar.shown());
                cx.error(node.at, message, format!("write {better}"))
            }
            None => cx.mismatch(node, expected),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({ "type": "string", "examples": ["0.0.0.0:8080"] })
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => {
                // Every item is read before any is given up, so that all errors show.
                let read: Vec<Option<T>> = items.iter().map(|item| T::decode(item, cx)).collect();
                read.into_iter().collect()
            }
            Kind::Scalar(scalar) => cx.mismatch(node, &format!("a list: [{}]", super::node::shorten(&scalar.text))),
            _ => cx.mismatch(node, "a list"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

impl<T: Setting> Setting for At<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(Self { value: T::decode(node, cx)?, at: node.at })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

impl<T: Setting> Setting for Named<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            return cx.mismatch(node, "a map of names");
        };
        let mut named = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let valid = (1..=64).contains(&name.value.len())
                && name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            if !valid {
                let message = format!("`{}` is not a name", super::node::shorten(&name.value));
                cx.error::<()>(name.at, message, "names are up to 64 letters, digits, `-`, `_` and `.`");
            }
            if let Some(value) = cx.value(&name.value, value) {
                named.push((name.clone(), value));
            }
        }
        Some(Self(named))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
            "additionalProperties": T::schema(definitions),
        })
    }
}
