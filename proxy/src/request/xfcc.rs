//! `X-Forwarded-Client-Cert`, by which Envoy and Istio say whose certificate a caller has shown to them.
//!
//! ```text
//! By=spiffe://us;URI=spiffe://first,By=spiffe://us;Hash=…;Subject="CN=a,O=b";URI=spiffe://caller
//! ```
//!
//! One element for each proxy on the way, the last by the one that is nearest; what stands in quotes divides nothing. Whoever is
//! farther away may have written what stands before: Envoy appends to it as it came (`APPEND_FORWARD`, as Istio's sidecars do). So
//! a quote counts only where a value begins, and must end it: one that is left open before our neighbour's element would swallow
//! that, and its writer would be whom it likes. Such a header names nobody.

use http::{HeaderMap, HeaderName};

/// The URI of the last element, if it has exactly one.
pub(super) fn caller(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let element = last_element(last)?;
    let mut uris = element.into_iter().filter(|(key, _)| key.eq_ignore_ascii_case("uri")).map(|(_, value)| value);
    let (only, more) = (uris.next()?, uris.next());
    (more.is_none() && !only.is_empty()).then(|| only.replace("\\\"", "\""))
}

/// The keys and values of the last element; `None` if a quote stands where none may, anywhere.
fn last_element(text: &str) -> Option<Vec<(&str, &str)>> {
    let (mut pairs, mut rest) = (Vec::new(), text);
    loop {
        let (key, after) = rest.split_at(rest.find(['=', ';', ',', '"']).unwrap_or(rest.len()));
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => value(after.trim_start())?,
            None => ("", after),
        };
        pairs.push((key.trim(), value));
        rest = match after.split_at_checked(1) {
            None => return Some(pairs),
            Some((";", after)) => after,
            Some((",", after)) => {
                pairs.clear();
                after
            }
            Some(_) => return None,
        };
    }
}

/// The value that a text begins with, without its quotes, and what follows.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find([';', ',', '"']).unwrap_or(text.len()));
        return Some((value.trim_end(), after));
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    Some((&quoted[..end], quoted[end + 1..].trim_start()))
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
        // An element that is left open does not swallow the one of the nearest.
        let nearest = "By=spiffe://us;Hash=1f;Subject=\"CN=eve\";URI=spiffe://prod/eve";
        for opened in
            ["URI=spiffe://prod/ann;Subject=\"", "\"", "URI=spiffe://prod/ann;X=y\"", "URI=\"spiffe://prod/ann"]
        {
            check(&[&format!("{opened},{nearest}")], None);
        }
        let escaped = nearest.replace("CN=eve", "O=\\\"a");
        check(&[&format!("URI=spiffe://prod/ann;Subject=\",{escaped}")], None);
        check(&[&format!("URI=spiffe://prod/ann;X=\"\\\",{escaped}")], None);
        check(&[&format!("URI=spiffe://prod/ann;X=\"\\\\\",{escaped}")], Some("spiffe://prod/eve"));
        check(&["URI=\"spiffe://prod/ann\"x"], None);
        check(&["URI = \"spiffe://prod/ann\" ; Hash=1f"], ann);
        check(&[""], None);
        check(&[], None);
    }
}
