//! Quantities are exact, both ways.

use std::time::Duration;

use proptest::prelude::*;

use super::{format_duration, format_rate, format_size, parse_duration, parse_percent, parse_rate, parse_size};

#[test]
fn durations_are_exact() {
    for (text, nanos) in [
        ("0s", 0),
        ("250ms", 250_000_000),
        ("2s", 2_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.000000001s", 1),
        ("1m", 60_000_000_000),
        ("24h", 86_400_000_000_000),
        ("30d", 2_592_000_000_000_000),
        ("10 ms", 10_000_000),
        ("7us", 7_000),
        ("1.50s", 1_500_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
}

#[test]
fn percents_are_whole_and_have_their_sign() {
    for (text, percent) in [("1%", 1), ("80%", 80), ("100 %", 100), ("007%", 7)] {
        assert_eq!(parse_percent(text), Ok(percent), "{text}");
    }
    for text in ["", "%", "80", "0.8", "80.5%", "0%", "101%", "-1%", "+5%", "99999999999%", "80%%", "eighty%", "٨%"] {
        assert!(parse_percent(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in [
        "",
        "s",
        "250",
        "1e3s",
        "1,5s",
        "1.s",
        ".5s",
        "1.2.3s",
        "1h30m",
        "-1s",
        "+1s",
        "1S",
        "1M",
        "0.1ns",
        "9999999999999999999s",
        "3651d",
    ] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_are_in_units_of_1024() {
    for (text, bytes) in
        [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1.5KiB", 1_536), ("4GiB", 1 << 32)]
    {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in ["64", "64KB", "64kib", "64K", "0.3B", "99999999TiB"] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn rates_are_a_number_per_time() {
    let second = Duration::from_secs(1);
    for (text, rate) in [
        ("500/s", (500, second)),
        ("600/m", (600, 60 * second)),
        ("600 / minute", (600, 60 * second)),
        ("5/10s", (5, 10 * second)),
        ("1/d", (1, 86_400 * second)),
        ("3/ms", (3, Duration::from_millis(1))),
    ] {
        assert_eq!(parse_rate(text), Ok(rate), "{text}");
    }
    for text in ["", "500", "/s", "1.5/s", "-1/s", "5/0s", "5/10", "5/s/s", "99999999999/s"] {
        assert!(parse_rate(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(nanos in 0u64..315_360_000_000_000_000, bytes: u64, requests: u32) {
        let duration = Duration::from_nanos(nanos);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        let unit = duration + Duration::from_nanos(1);
        prop_assert_eq!(parse_rate(&format_rate(requests, unit)), Ok((requests, unit)));
    }

    #[test]
    fn any_text_gives_an_answer(text in ".{0,40}") {
        let _ = (parse_duration(&text), parse_size(&text), parse_rate(&text));
    }
}
