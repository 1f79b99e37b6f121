use http::Request;
use proptest::prelude::*;

use super::*;

fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[track_caller]
fn check(template: &str, expected: &Result<&str, Underivable>) {
    let parts = parts("/likes/7?q=a%20b&twice=1&twice=2&empty=", &[("x-id", "r-1"), ("x-list", "1"), ("x-list", "2")]);
    let incoming =
        Incoming { parts: &parts, principal: Some(b"acme/ops"), path_params: &[("id", "a%2Fb"), ("plain", "7")] };
    let body = Bytes::from_static(
        br#"{"order":{"id":"A-1"},"n":12,"f":1.50,"big":18446744073709551615,"huge":1e300,"t":true,"x":null,"a/b":{"m~n":"p"},"list":[["q"]]}"#,
    );
    let rendered = KeyTemplate::parse(template).unwrap().render(&incoming, &body, 1 << 20);
    assert_eq!(rendered.as_deref(), expected.as_ref().copied(), "{template}");
}

fn missing<'a>(part: &str) -> Result<&'a str, Underivable> {
    Err(Underivable::Missing(part.into()))
}

#[test]
fn keys_are_made_of_the_parts_of_the_request() {
    check("{principal}:{path.id}", &Ok("acme%2Fops:a%2Fb"));
    check("like:{principal}:{path.plain}", &Ok("like:acme%2Fops:7"));
    check("{query.q}", &Ok("a%20b"));
    check("{header.X-Id}", &Ok("r-1"));
    check("{header.X-Id}-{path.plain}", &Ok("r%2D1-7"));
    check("{json:/order/id}", &Ok("A-1"));
    check("{json:/a~1b/m~0n}/{json:/list/0/0}", &Ok("p/q"));
    check("{json:/n} {json:/t}", &Ok("12 true"));
    check("{json:/f}", &Ok("1.5"));
    check("{json:/big}", &Ok("18446744073709551615"));
}

#[test]
fn a_part_that_the_request_lacks_is_named() {
    for part in ["path.other", "query.other", "query.empty", "header.x-other", "json:/other", "json:/x", "json:/list/1"]
    {
        check(&format!("a{{{part}}}"), &missing(part));
    }
    for part in ["query.twice", "header.x-list", "json:/order", "json:/list", "json:/huge"] {
        let template = KeyTemplate::parse(&format!("{{{part}}}")).unwrap();
        let parts = parts("/?twice=1&twice=2", &[("x-list", "1"), ("x-list", "2")]);
        let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
        let body = Bytes::from_static(br#"{"order":{},"list":[],"huge":1e300}"#);
        let rendered = template.render(&incoming, &body, 1 << 20);
        assert!(matches!(&rendered, Err(Underivable::Unusable(name, _)) if name == part), "{part}: {rendered:?}");
    }
}

#[test]
fn a_body_that_says_two_things_or_nothing_has_no_part() {
    let template = KeyTemplate::parse("{json:/id}").unwrap();
    for body in [r#"{"id":1,"id":2}"#, "[", ""] {
        let parts = parts("/", &[]);
        let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
        let rendered = template.render(&incoming, &Bytes::from_static(body.as_bytes()), 1 << 20);
        assert_eq!(rendered, Err(Underivable::Missing("json:/id".into())), "{body}");
    }
}

#[test]
fn a_body_is_looked_into_as_it_was_meant_or_its_part_is_named() {
    let template = KeyTemplate::parse("{json:/id}").unwrap();
    let render = |headers: &'static [(&'static str, &'static str)], body: &'static [u8]| {
        let parts = parts("/", headers);
        let incoming = Incoming { parts: &parts, principal: None, path_params: &[] };
        template.render(&incoming, &Bytes::from_static(body), 1 << 20)
    };
    assert_eq!(render(&[], b"\xef\xbb\xbf{\"id\":1}"), Ok("1".into()), "behind a byte order mark");
    assert_eq!(render(&[("content-encoding", "identity")], b"{\"id\":1}"), Ok("1".into()));
    for coding in [&[("content-encoding", "gzip")][..], &[("content-encoding", "compress")]] {
        let refused = render(coding, b"{\"id\":1}");
        assert!(matches!(&refused, Err(Underivable::Unusable(part, _)) if part == "json:/id"), "{refused:?}");
    }
}

#[test]
fn what_is_no_template_says_why() {
    for (text, expected) in [
        ("", TemplateError::Constant),
        ("order", TemplateError::Constant),
        ("{principal", TemplateError::Braces),
        ("principal}", TemplateError::Braces),
        ("{{principal}}", TemplateError::Braces),
        ("{}", TemplateError::Unknown(String::new())),
        ("{user}", TemplateError::Unknown("user".into())),
        ("{path.}", TemplateError::Unknown("path.".into())),
        ("{body.id}", TemplateError::Unknown("body.id".into())),
        ("{header.a b}", TemplateError::Header("a b".into())),
        ("{json:}", TemplateError::Pointer(String::new())),
        ("{json:id}", TemplateError::Pointer("id".into())),
        ("{json:/a~2}", TemplateError::Pointer("/a~2".into())),
        ("{principal}{path.id}", TemplateError::Adjacent("principal".into(), "path.id".into())),
        ("{principal}x%{path.id}", TemplateError::Adjacent("principal".into(), "path.id".into())),
        ("{principal}\u{b7}", TemplateError::Character),
    ] {
        assert_eq!(KeyTemplate::parse(text), Err(expected), "{text}");
    }
}

fn render(template: &str, values: &[&[u8]]) -> String {
    let parts = parts("/", &[]);
    let encoded: Vec<String> = values
        .iter()
        .map(|value| percent_encoding::percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string())
        .collect();
    let params: Vec<_> = ["a", "b", "c"].into_iter().zip(encoded.iter().map(String::as_str)).collect();
    let incoming = Incoming { parts: &parts, principal: None, path_params: &params };
    KeyTemplate::parse(template).unwrap().render(&incoming, &Bytes::new(), 0).unwrap()
}

#[test]
fn values_do_not_run_into_each_other() {
    for template in
        ["{path.a}:{path.b}", "{path.a}-{path.b}", "{path.a}.x{path.b}", "{path.a}x.{path.b}", "{path.a}~{path.b}-"]
    {
        let text = |a: &str, b: &str| render(template, &[a.as_bytes(), b.as_bytes()]);
        for separator in [":", "-", ".x", "x.", "~", "%3A", "%"] {
            let (joined, rejoined) = (format!("b{separator}c"), format!("a{separator}b"));
            assert_ne!(text("a", &joined), text(&rejoined, "c"), "{template} {separator}");
        }
    }
}

#[test]
fn a_long_key_is_hashed_and_none_looks_like_a_hash() {
    let long = render("{path.a}", &[&[b'x'; 256]]);
    assert!(long.starts_with("sha256:") && long.len() == 7 + 64);
    assert_eq!(render("{path.a}", &[&[b'x'; 255]]).len(), 255);
    assert_ne!(render("{path.a}", &[&[b'x'; 257]]), long);
    let forged = render("sha256:{path.a}", &[&long.as_bytes()[7..]]);
    assert_ne!(forged, long);
}

proptest! {
    /// The whole point of a key: different values, different keys.
    #[test]
    fn different_values_give_different_keys(
        first in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 1..6)),
        second in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 1..6)),
        separators in proptest::array::uniform2("[a-c]?[-:._~/ ][a-c-]{0,2}"),
        ends in proptest::array::uniform2("[a-z:-]{0,2}"),
    ) {
        let template = format!("{}{{path.a}}{}{{path.b}}{}{{path.c}}{}", ends[0], separators[0], separators[1], ends[1]);
        let text = |values: &[Vec<u8>; 3]| {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            render(&template, &values)
        };
        prop_assert_eq!(text(&first) == text(&second), first == second);
    }

    #[test]
    fn any_text_is_a_template_or_an_error(text in "\\PC{0,40}") {
        if let Ok(template) = KeyTemplate::parse(&text) {
            prop_assert_eq!(template.as_str(), text);
            prop_assert!(template.parts().count() > 0);
        }
    }
}
