use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PathPattern {
    text.parse().unwrap()
}

#[test]
fn paths_are_split_into_segments() {
    let literal = |text: &str| Segment::Literal(text.to_owned());
    let param = |name: &str| Segment::Param(name.to_owned());
    for (text, segments, rest) in [
        ("/", vec![literal("")], false),
        ("/a", vec![literal("a")], false),
        ("/a/", vec![literal("a"), literal("")], false),
        ("/a/{id}/b", vec![literal("a"), param("id"), literal("b")], false),
        ("/**", vec![], true),
        ("/a/**", vec![literal("a")], true),
        ("/{x}/**", vec![param("x")], true),
    ] {
        let expected = PathPattern { text: text.to_owned(), segments, rest };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_pattern_is_told_with_its_cure() {
    for (text, problem) in [
        ("a", "does not start with a slash"),
        ("/a?b", "holds `?`, which no path holds"),
        ("/ä", "holds `\\u{e4}`, which no path holds"),
        ("/**/a", "has `**` before its end"),
        ("/a*", "has a `*` that is not a last `/**`"),
        ("/a{b}", "has a brace inside a segment"),
        ("/{7}", "has `{7}`, which is not a name"),
        ("/{a}/{a}", "has `{a}` twice"),
        ("/a//b", "has an empty segment"),
        (&"/a".repeat(MAX_SEGMENTS + 1), "has too many segments"),
    ] {
        let wrong = text.parse::<PathPattern>().unwrap_err();
        assert_eq!(wrong.problem, problem, "{text}");
        assert!(!wrong.help.is_empty(), "{text}");
    }
}

#[test]
fn paths_have_the_patterns_of_the_routes() {
    for (text, path, expected) in [
        ("/payments", "/payments", Some(vec![])),
        ("/payments", "/payments/7", None),
        ("/payments", "/payments/", None),
        ("/payments/**", "/payments", Some(vec![])),
        ("/payments/**", "/payments/7/x", Some(vec![])),
        ("/payments/**", "/paymentsystems", None),
        ("/p/{id}", "/p/a%2Fb", Some(vec![("id", "a%2Fb")])),
        ("/p/{id}", "/p/", None),
        ("/p/{id}", "/p", None),
        ("/p/{id}/c/{other}", "/p/1/c/2", Some(vec![("id", "1"), ("other", "2")])),
        ("/{a}/c", "/1/d", None),
        ("/**", "/anything", Some(vec![])),
        ("/**", "/", Some(vec![])),
        ("/**", "*", Some(vec![])),
        ("/", "/", Some(vec![])),
        ("/", "/x", None),
    ] {
        assert_eq!(pattern(text).captures(path), expected, "{text} {path}");
    }
}

#[test]
fn params_are_found_by_name_in_a_path_as_it_came() {
    let pattern = pattern("/a/{x}/c/{y}");
    assert_eq!(params(&pattern, "/a/1%2f2/./c/%33"), [("x", "1%2F2".to_owned()), ("y", "3".to_owned())]);
    assert_eq!(params(&pattern, "/a/1"), []);
}

#[test]
fn a_pattern_means_one_path_where_the_route_names_all_of_its_segments() {
    let route = pattern("/accounts/{id}/payments");
    for (text, path) in [
        ("/accounts/{id}", Some("/accounts/7")),
        ("/totals", Some("/totals")),
        ("/accounts/{other}", None),
        ("/accounts/{id}/**", None),
    ] {
        let pattern = pattern(text);
        let filled = filled(&pattern, &route, "/accounts/%37/payments");
        assert_eq!(filled, (pattern.rule(), path.map(str::to_owned)), "{text}");
    }
}

proptest! {
    #[test]
    fn a_pattern_and_its_rule_agree(text in "(/(a|b|\\{x\\}|\\{y\\})){1,3}(/\\*\\*)?", path in "(/(a|b|c|)){1,4}") {
        if let Ok(pattern) = text.parse::<PathPattern>() {
            prop_assert_eq!(pattern.captures(&path).is_some(), pattern.rule().matches(&path));
        }
    }
}
