//! Which operations an operator wants to see, by the parameters of a query.

use std::time::Duration;

use jiff::Timestamp;
use mainstay_policies::operation::{
    UnixMillis,
    ledger::{Filter, Order},
};

use super::id_prefix::IdPrefix;
use crate::{
    api::{Fault, listing, query::Params},
    config::parse_duration,
};

/// The parameters that say which.
pub(super) const FILTERS: [&str; 14] = [
    "state",
    "route",
    "upstream",
    "policy",
    "reason",
    "trace_id",
    "id_prefix",
    "older",
    "newer",
    "since",
    "until",
    "attention",
    "open",
    "order",
];

/// Reads them; `now` is what ages count from.
pub(super) fn read(params: &Params<'_>, now: UnixMillis) -> Result<(Filter, Option<IdPrefix>), Fault> {
    let text = |name: &str| params.of(name).map(str::to_owned);
    let prefix = params.of("id_prefix").map(|text| {
        IdPrefix::read(text)
            .ok_or_else(|| Fault::bad("The parameter id_prefix is the beginning of an id: d4-aab7, d4."))
    });
    let filter = Filter {
        state: listing::state(params)?,
        route: text("route"),
        upstream: text("upstream"),
        policy: text("policy"),
        reason: text("reason"),
        trace_id: params.of("trace_id").map(trace_id).transpose()?,
        created_before: least(ago(params, "older", now)?, moment(params, "until", now)?),
        created_since: ago(params, "newer", now)?.max(moment(params, "since", now)?),
        attention: flag(params, "attention")?,
        open: flag(params, "open")?.unwrap_or_default(),
        order: match params.of("order") {
            None | Some("oldest") => Order::Oldest,
            Some("newest") => Order::Newest,
            Some(_) => return Err(Fault::bad("The parameter order is oldest or newest.")),
        },
        ..Filter::default()
    };
    Ok((filter, prefix.transpose()?))
}

fn least(one: Option<UnixMillis>, other: Option<UnixMillis>) -> Option<UnixMillis> {
    one.into_iter().chain(other).min()
}

fn trace_id(text: &str) -> Result<[u8; 16], Fault> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    number.map(u128::to_be_bytes).ok_or_else(|| Fault::bad("The parameter trace_id is 32 hex digits."))
}

/// That long before now.
pub(super) fn ago(params: &Params<'_>, name: &str, now: UnixMillis) -> Result<Option<UnixMillis>, Fault> {
    let Some(text) = params.of(name) else { return Ok(None) };
    let age: Duration = parse_duration(text)
        .map_err(|_| Fault::bad(format!("The parameter {name} is a duration: 30s, 10m, 24h, 7d.")))?;
    Ok(Some(now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))))
}

/// A time, or how long before now it was.
fn moment(params: &Params<'_>, name: &str, now: UnixMillis) -> Result<Option<UnixMillis>, Fault> {
    let Some(text) = params.of(name) else { return Ok(None) };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Some(u64::try_from(at.as_millisecond()).unwrap_or(0)));
    }
    ago(params, name, now).map_err(|_| {
        Fault::bad(format!("The parameter {name} is a time, 2026-11-24T03:00:00Z, or how long ago it was: 10m, 24h."))
    })
}

fn flag(params: &Params<'_>, name: &str) -> Result<Option<bool>, Fault> {
    match params.of(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Fault::bad(format!("The parameter {name} is true or false."))),
    }
}
