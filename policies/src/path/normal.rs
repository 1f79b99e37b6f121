//! The normal form of a path (RFC 3986 section 6.2.2): percent-encodings in upper case, none where none is needed, no dot
//! segments.

use std::borrow::Cow;

/// The normal form of `path`; borrowed where there is nothing to do, which one look tells.
pub fn normalise(path: &str) -> Cow<'_, str> {
    if path.is_empty() {
        return Cow::Borrowed("/");
    }
    let bytes = path.as_bytes();
    let is_suspect = |at| bytes[at] == b'%' || at > 0 && bytes[at - 1] == b'/';
    let is_plain = !memchr::memchr2_iter(b'%', b'.', bytes).any(is_suspect);
    if is_plain { Cow::Borrowed(path) } else { Cow::Owned(without_dots(&recode(path))) }
}

/// Decodes what needs no encoding, and writes the other encodings in upper case. A `%` that begins no encoding stays.
pub(crate) fn recode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(byte) = encoded_byte(rest.as_bytes()) else {
            out.push('%');
            rest = &rest[1..];
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&rest[..3].to_ascii_uppercase());
        }
        rest = &rest[3..];
    }
    out.push_str(rest);
    out
}

fn encoded_byte(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match bytes {
        [b'%', high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

/// RFC 3986 section 5.2.4, for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => {
                kept.push(other);
                continue;
            }
        }
        // A dot segment at the end leaves the slash before it.
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_normal_form() {
        for (path, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/payments", "/payments"),
            ("/payments/", "/payments/"),
            ("/a//b", "/a//b"),
            ("/%7euser", "/~user"),
            ("/%7Euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/../../a", "/a"),
            ("/.well-known", "/.well-known"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/%4", "/%4"),
            ("/%C3%a9", "/%C3%A9"),
        ] {
            assert_eq!(normalise(path), normal, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_normal_form_is_its_own(path in "/[a-c./%2eE7F]{0,24}") {
            let once = normalise(&path).into_owned();
            // `%` that begins no encoding may begin one after its neighbour is decoded; such a path is not valid anyway.
            proptest::prop_assume!(path.match_indices('%').all(|(at, _)| encoded_byte(&path.as_bytes()[at..]).is_some()));
            proptest::prop_assert_eq!(normalise(&once), once.as_str());
        }
    }
}
