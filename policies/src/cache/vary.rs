//! `Vary`: which headers of a request an answer depends on (RFC 9110 section 12.5.5), and when two requests are the same by
//! them (RFC 9111 section 4.1).

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY},
};

/// Lists of names that are the same in any case (RFC 9110 sections 8.3.2, 8.4.1, 8.5.1).
const WITHOUT_CASE: [HeaderName; 3] = [ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE];

/// The headers that an answer varies on. `None`: on more than that. What is no name is as bad as `*`: nobody knows what the
/// service meant, and without it one caller would get what was made for another.
pub(super) fn names(answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in answer.get_all(VARY) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
        {
            if name == b"*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name).ok()?);
        }
    }
    Some(names)
}

/// Adds what the request says in these headers: whitespace around the items of a list means nothing.
pub(super) fn tell_apart(text: &mut String, names: &[HeaderName], request: &HeaderMap) {
    for name in names {
        text.push('\0');
        text.push_str(name.as_str());
        for value in request.get_all(name) {
            let mut value = value.as_bytes().escape_ascii().to_string();
            if WITHOUT_CASE.contains(name) {
                value.make_ascii_lowercase();
            }
            for item in value.split(',') {
                text.push('\u{1}');
                text.push_str(item.trim());
            }
        }
    }
}
