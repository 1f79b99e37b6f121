//! JSON for a person's eyes: `?pretty` on any address, and without being asked for where curl asks.

use http::{Uri, header, request::Parts, uri::PathAndQuery};

use crate::api::{Fault, query::Params};

/// Whether JSON is to be indented. The parameter is taken off the request, so that no address has to know it.
pub(super) fn take(parts: &mut Parts) -> Result<bool, Fault> {
    let is_curl = parts.headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"curl/"));
    let is_it = |pair: &&str| pair.split('=').next() == Some("pretty");
    let Some(query) = parts.uri.query() else { return Ok(is_curl) };
    let own = query.split('&').filter(is_it).collect::<Vec<_>>().join("&");
    if own.is_empty() {
        return Ok(is_curl);
    }
    let params = Params::read(Some(own.as_str()), &["pretty"])?;
    let wanted = match params.of("pretty") {
        Some("" | "true") => true,
        Some("false") => false,
        _ => return Err(Fault::bad("The parameter pretty is true or false.")),
    };
    let rest = query.split('&').filter(|pair| !is_it(pair)).collect::<Vec<_>>().join("&");
    parts.uri = without(&parts.uri, &rest);
    Ok(wanted)
}

/// The same address with another query.
fn without(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = uri.clone().into_parts();
    // A part of what was a query is one.
    parts.path_and_query = PathAndQuery::from_maybe_shared(target).ok().or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_parameter_is_taken_off_wherever_it_stands() {
        for (target, agent, expected, left) in [
            ("/status", "", Some(false), "/status"),
            ("/status", "curl/8.5.0", Some(true), "/status"),
            ("/status", "python-curl/8", Some(false), "/status"),
            ("/status?pretty", "", Some(true), "/status"),
            ("/audit?limit=2&pretty=true&cursor=a%3D", "", Some(true), "/audit?limit=2&cursor=a%3D"),
            ("/status?pretty=false", "curl/8.5.0", Some(false), "/status"),
            ("/status?prettyplease", "", Some(false), "/status?prettyplease"),
            ("/status?pretty=yes", "", None, "/status?pretty=yes"),
            ("/status?pretty&pretty", "", None, "/status?pretty&pretty"),
        ] {
            let request = Request::builder().uri(target).header("user-agent", agent).body(()).unwrap();
            let mut parts = request.into_parts().0;
            assert_eq!(take(&mut parts).ok(), expected, "{target} {agent}");
            assert_eq!(parts.uri.to_string(), left);
        }
    }
}
