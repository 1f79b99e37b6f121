//! `X-Forwarded-Client-Cert`, by which Envoy and Istio say whose certificate a caller has shown to them.
//!
//! ```text
//! By=spiffe://us;URI=spiffe://first,By=spiffe://us;Hash=…;Subject="CN=a,O=b";URI=spiffe://caller
//! ```
//!
//! One element for each proxy on the way, the last by the one that is nearest; what stands in quotes divides nothing.

use http::{HeaderMap, HeaderName};

/// The URI of the last element, if it has exactly one.
pub(super) fn caller(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let element = parts(last, ',').pop()?;
    let mut uris = parts(element, ';').into_iter().filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case("uri").then(|| value.trim())
    });
    let (only, more) = (uris.next()?, uris.next());
    let only = only.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')).unwrap_or(only);
    (more.is_none() && !only.is_empty()).then(|| only.replace("\\\"", "\""))
}

/// What lies between `separator`s that stand outside quotes.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let (mut found, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                found.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    found.push(&text[begin..]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: Option<&str>) {
        let name = HeaderName::from_static("x-forwarded-client-cert");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&name, line.parse().unwrap());
        }
        assert_eq!(caller(&headers, &name).as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn the_caller_is_the_one_uri_of_the_last_element() {
        let ann = Some("spiffe://prod/ann");
        check(&["By=spiffe://us;Hash=1f;Subject=\"\";URI=spiffe://prod/ann"], ann);
        check(&["By=spiffe://us;URI=spiffe://prod/bob,By=spiffe://us;uri=spiffe://prod/ann"], ann);
        check(&["URI=spiffe://prod/bob", "URI=spiffe://prod/ann"], ann);
        check(&["Subject=\"CN=x,O=\\\"y;URI=spiffe://prod/eve,URI=z\\\"\";URI=\"spiffe://prod/ann\""], ann);
        check(&["URI=spiffe://prod/ann,Hash=1f"], None);
        check(&["URI=spiffe://prod/ann;URI=spiffe://prod/bob"], None);
        check(&["URI="], None);
        check(&["Subject=\"URI=spiffe://prod/eve"], None);
        check(&[""], None);
        check(&[], None);
    }
}
