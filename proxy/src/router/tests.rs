use proptest::prelude::*;

use mainstay_policies::path::Segment;

use super::*;

fn pattern(text: &str) -> PathPattern {
    let (body, rest) = match text.strip_suffix("/**") {
        Some(body) => (body, true),
        None => (text, false),
    };
    let segments = body
        .split('/')
        .skip(1)
        .map(|segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => Segment::Param(name.to_owned()),
            None => Segment::Literal(segment.to_owned()),
        })
        .collect();
    PathPattern { text: text.to_owned(), segments, rest }
}

fn route(path: &str) -> Match {
    Match::of_path(pattern(path))
}

fn find<'a>(router: &'a Router<&'a str>, path: &str) -> Option<&'a str> {
    let target = Target { method: &Method::GET, host: "a", port: None, path, headers: &HeaderMap::new() };
    router.find(target).map(|(name, _)| *name)
}

fn check(patterns: &[&'static str], path: &str, expected: Option<&str>) {
    let router = Router::new(patterns.iter().map(|pattern| (route(pattern), *pattern)));
    assert_eq!(find(&router, path), expected, "{path} among {patterns:?}");
}

#[test]
fn the_first_route_in_file_order_wins() {
    check(&["/a/{x}", "/a/b"], "/a/b", Some("/a/{x}"));
    check(&["/a/b", "/a/{x}"], "/a/b", Some("/a/b"));
    check(&["/**", "/a/b"], "/a/b", Some("/**"));
    check(&["/a/**", "/**"], "/b", Some("/**"));
}

#[test]
fn a_rest_matches_the_bare_prefix_and_anything_below_but_no_sibling() {
    for path in ["/pay", "/pay/", "/pay/a", "/pay/a/b/"] {
        check(&["/pay/**"], path, Some("/pay/**"));
    }
    check(&["/pay/**"], "/payments", None);
    check(&["/**"], "/", Some("/**"));
    check(&["/**"], "*", Some("/**"));
}

#[test]
fn a_param_is_exactly_one_segment_that_is_not_empty() {
    check(&["/a/{x}/c"], "/a/b/c", Some("/a/{x}/c"));
    check(&["/a/{x}/c"], "/a//c", None);
    check(&["/a/{x}"], "/a/b/c", None);
    check(&["/a/{x}"], "/a/", None);
}

#[test]
fn encoded_or_dotted_paths_cannot_slip_past_a_route() {
    check(&["/pay/**", "/**"], "/%70ay/1", Some("/pay/**"));
    check(&["/pay/**", "/**"], "/x/../pay/1", Some("/pay/**"));
    check(&["/pay/**", "/**"], "/./pay", Some("/pay/**"));
}

#[test]
fn methods_hosts_and_headers_narrow_a_route() {
    let mut post = route("/a");
    post.methods = vec![Method::POST];
    let mut host = route("/a");
    host.host = Some("api.example".to_owned());
    let mut header = route("/a");
    header.headers = vec![("x-v".parse().unwrap(), "2".parse().unwrap())];
    let router = Router::new([(post, "post"), (host, "host"), (header, "header")]);
    let headers: HeaderMap = [("x-v".parse().unwrap(), "2".parse().unwrap())].into_iter().collect();
    let find = |method: &Method, host, headers: &HeaderMap| {
        router.find(Target { method, host, port: None, path: "/a", headers }).map(|(name, _)| *name)
    };
    assert_eq!(find(&Method::POST, "x", &HeaderMap::new()), Some("post"));
    assert_eq!(find(&Method::GET, "API.example", &HeaderMap::new()), Some("host"));
    assert_eq!(find(&Method::GET, "x", &headers), Some("header"));
    assert_eq!(find(&Method::GET, "x", &HeaderMap::new()), None);
}

/// The definition, without a tree.
fn naive(patterns: &[PathPattern], path: &str) -> Option<usize> {
    let given: Vec<&str> = path[1..].split('/').collect();
    patterns.iter().position(|pattern| {
        let length_fits =
            if pattern.rest { given.len() >= pattern.segments.len() } else { given.len() == pattern.segments.len() };
        length_fits
            && pattern.segments.iter().zip(&given).all(|(segment, value)| match segment {
                Segment::Literal(text) => text == value,
                Segment::Param(_) => !value.is_empty(),
            })
    })
}

proptest! {
    #[test]
    fn the_tree_agrees_with_a_linear_search(
        patterns in proptest::collection::vec("(/(a|b|\\{x\\})){1,3}(/\\*\\*)?", 1..8),
        path in "(/(a|b|c|)){1,4}",
    ) {
        let patterns: Vec<_> = patterns.iter().map(|text| pattern(text)).collect();
        let router = Router::new(patterns.iter().enumerate().map(|(index, pattern)| {
            (Match::of_path(pattern.clone()), index)
        }));
        let target = Target { method: &Method::GET, host: "", port: None, path: &path, headers: &HeaderMap::new() };
        prop_assert_eq!(router.find(target).map(|(index, _)| *index), naive(&patterns, &path));
    }
}
