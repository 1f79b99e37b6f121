//! Dates (RFC 9110 section 5.6.7), as services write them: the names of days and months in any case.

use std::time::SystemTime;

use http::HeaderValue;

/// The time that a header names; `None` if it is none.
pub(super) fn date_of(value: Option<&HeaderValue>) -> Option<SystemTime> {
    let text = value?.to_str().ok()?.trim();
    httpdate::parse_http_date(text).or_else(|_| httpdate::parse_http_date(&with_usual_case(text))).ok()
}

fn with_usual_case(text: &str) -> String {
    let mut usual = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        usual.push(if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        inside = c.is_ascii_alphabetic();
    }
    if usual.ends_with(" Gmt") {
        usual.replace_range(usual.len() - 2.., "MT");
    }
    usual
}
