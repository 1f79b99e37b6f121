//! `Location` and `Content-Location` in the answer to a write name what it changed or made (RFC 9111 section 4.4).

use http::Uri;

/// The path that `reference` names, if it is one of the same origin: another one's answers are not this service's to forget.
pub fn same_origin_path(reference: &str, host: &str, path: &str) -> Option<String> {
    let reference = reference.trim();
    let reference = reference.split('#').next()?;
    let has_scheme = reference.split(['/', '?']).next().is_some_and(|start| start.contains(':'));
    if has_scheme || reference.starts_with("//") {
        // The scheme is that of the way to the front, which this proxy does not see.
        let after = reference.split_once("//")?.1;
        let (authority, _) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        let is_same = authority.eq_ignore_ascii_case(host);
        let uri: Uri = format!("http://{after}").parse().ok().filter(|_| is_same)?;
        return Some(uri.path().to_owned());
    }
    let named = reference.split('?').next()?;
    Some(match named {
        "" => path.to_owned(),
        named if named.starts_with('/') => named.to_owned(),
        named => format!("{}/{named}", path.rsplit_once('/').map_or("", |(directory, _)| directory)),
    })
}

#[cfg(test)]
mod tests {
    use super::same_origin_path;

    #[test]
    fn a_reference_names_a_path_of_its_own_origin_only() {
        for (reference, named) in [
            ("/posts/7", Some("/posts/7")),
            ("/posts/7?draft#top", Some("/posts/7")),
            ("7", Some("/posts/7")),
            ("./7", Some("/posts/./7")),
            ("../users", Some("/posts/../users")),
            ("", Some("/posts/new")),
            ("?page=2", Some("/posts/new")),
            ("http://shop:8080/a/b?c", Some("/a/b")),
            ("https://SHOP:8080/a", Some("/a")),
            ("https://shop:8080", Some("/")),
            ("//shop:8080/a", Some("/a")),
            ("http://shop/a", None),
            ("http://other/a", None),
            ("//other/a", None),
            ("http://shop:8080@other/a", None),
            ("mailto:a@shop", None),
            ("/a:b", Some("/a:b")),
        ] {
            let found = same_origin_path(reference, "shop:8080", "/posts/new");
            assert_eq!(found.as_deref(), named, "{reference}");
        }
    }
}
