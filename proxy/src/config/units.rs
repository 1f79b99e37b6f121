//! Durations, sizes and rates as they are written, both ways.

use std::time::Duration;

/// The longest duration: ten years keeps every sum of durations far from overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

const DURATION_UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// What is wrong with a quantity, as (problem, cure).
pub(crate) type Wrong = (String, String);

/// `250ms`, `2s`, `1.5s`, `1m`, `24h`, `30d`; also `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    let cure = "durations need a unit: 250ms, 2s, 1m, 24h, 30d";
    let nanos = parse_quantity(text, &DURATION_UNITS).map_err(|reason| reason.explain(text, "a duration", cure))?;
    let duration = Duration::from_nanos(nanos);
    if duration > LONGEST {
        return Err((format!("`{text}` is too long"), "the longest duration is 3650d".into()));
    }
    Ok(duration)
}

/// In the largest unit that needs no fraction.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".into();
    }
    format_quantity(nanos, &DURATION_UNITS)
}

/// `512B`, `64KiB`, `1MiB`, `4GiB`; also `0`.
pub(crate) fn parse_size(text: &str) -> Result<u64, Wrong> {
    let cure = "sizes need a unit of 1024: 512B, 64KiB, 1MiB, 4GiB";
    parse_quantity(text, &SIZE_UNITS).map_err(|reason| reason.explain(text, "a size", cure))
}

/// In the largest unit that needs no fraction.
pub(crate) fn format_size(bytes: u64) -> String {
    if bytes == 0 { "0B".into() } else { format_quantity(bytes, &SIZE_UNITS) }
}

/// `1%` to `100%`, whole.
pub(crate) fn parse_percent(text: &str) -> Result<u32, Wrong> {
    let cure = "shares are whole percents: 80%";
    let number =
        text.strip_suffix('%').map(str::trim_end).filter(|number| number.bytes().all(|it| it.is_ascii_digit()));
    match number.map(str::parse) {
        Some(Ok(percent)) if (1..=100).contains(&percent) => Ok(percent),
        Some(Ok(_)) => {
            Err((format!("`{}` is out of range", super::node::shorten(text)), "it is from 1% to 100%".into()))
        }
        Some(Err(_)) | None => Err((format!("`{}` is not a percentage", super::node::shorten(text)), cure.into())),
    }
}

/// `100/s`, `600/m`, `5/10s`: so many in a time.
pub(crate) fn parse_rate(text: &str) -> Result<(u32, Duration), Wrong> {
    let cure = || "rates are a whole number per time: 500/s, 600/m".to_owned();
    let Some((count, unit)) = text.split_once('/') else {
        return Err((format!("`{text}` is not a rate"), cure()));
    };
    let (count, unit) = (count.trim(), unit.trim());
    let whole = || count.parse::<u32>().map_err(|_| (format!("`{text}` is not a rate"), cure()));
    let unit = match unit {
        "s" | "sec" | "second" => Duration::from_secs(1),
        "m" | "min" | "minute" => Duration::from_mins(1),
        "h" | "hour" => Duration::from_hours(1),
        "d" | "day" => Duration::from_hours(24),
        "ms" => Duration::from_millis(1),
        other => parse_duration(other).map_err(|_| (format!("`{text}` is not a rate"), cure()))?,
    };
    if unit.is_zero() {
        return Err((format!("`{text}` has no time"), cure()));
    }
    Ok((whole()?, unit))
}

/// `requests/unit`, with the unit as short as it can be written.
pub(crate) fn format_rate(requests: u32, unit: Duration) -> String {
    let unit = format_duration(unit);
    match unit.as_str() {
        "1s" | "1m" | "1h" | "1d" | "1ms" => format!("{requests}/{}", &unit[1..]),
        other => format!("{requests}/{other}"),
    }
}

enum Reason {
    NoNumber,
    NoUnit,
    UnknownUnit,
    TooFine,
    TooLarge,
}

impl Reason {
    fn explain(self, text: &str, what: &str, cure: &str) -> Wrong {
        let text = super::node::shorten(text);
        match self {
            Self::NoNumber => (format!("`{text}` is not {what}"), cure.into()),
            Self::NoUnit => (format!("`{text}` has no unit"), cure.into()),
            Self::UnknownUnit => (format!("`{text}` has an unknown unit"), cure.into()),
            Self::TooFine => (format!("`{text}` is finer than can be kept"), cure.into()),
            Self::TooLarge => (format!("`{text}` is too large"), cure.into()),
        }
    }
}

/// A decimal number and a unit, exactly.
fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, Reason> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.contains('.') {
        return Err(Reason::NoNumber);
    }
    if unit.is_empty() {
        // Nothing is nothing in every unit.
        return if number == "0" { Ok(0) } else { Err(Reason::NoUnit) };
    }
    let (_, scale) = units.iter().find(|(name, _)| *name == unit).ok_or(Reason::UnknownUnit)?;
    let whole: u64 = whole.parse().map_err(|_| Reason::TooLarge)?;
    let whole = whole.checked_mul(*scale).ok_or(Reason::TooLarge)?;
    whole.checked_add(fraction_of(fraction, *scale)?).ok_or(Reason::TooLarge)
}

/// `0.fraction * scale`, if that is a whole number.
fn fraction_of(fraction: &str, scale: u64) -> Result<u64, Reason> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(0);
    }
    let digits = u32::try_from(fraction.len()).map_err(|_| Reason::TooFine)?;
    let tens = 10u128.checked_pow(digits).ok_or(Reason::TooFine)?;
    let parts: u128 = fraction.parse().map_err(|_| Reason::TooFine)?;
    let product = parts.checked_mul(u128::from(scale)).ok_or(Reason::TooFine)?;
    if product % tens != 0 {
        return Err(Reason::TooFine);
    }
    u64::try_from(product / tens).map_err(|_| Reason::TooLarge)
}

fn format_quantity(amount: u64, units: &[(&str, u64)]) -> String {
    let (name, scale) = units.iter().rev().find(|(_, scale)| amount.is_multiple_of(*scale)).unwrap_or(&units[0]);
    format!("{}{name}", amount / scale)
}

/// For texts: `2s`, `600ms`.
pub(super) fn human(duration: Duration) -> String {
    self::format_duration(duration)
}

#[cfg(test)]
mod tests;
