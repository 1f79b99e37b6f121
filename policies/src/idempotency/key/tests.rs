use http::HeaderName;
use proptest::prelude::*;

use super::*;

fn lenient(value: &str) -> Result<String, KeyError> {
    Key::parse(value.as_bytes(), KeySyntax::Lenient).map(|key| key.as_str().to_owned())
}

#[test]
fn a_bare_and_a_quoted_value_are_one_key() {
    for (value, key) in [
        ("abc", "abc"),
        ("\"abc\"", "abc"),
        ("  abc ", "abc"),
        ("\t\"abc\"  ", "abc"),
        ("\"a b\"", "a b"),
        ("\"a,b\"", "a,b"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("user:1;order=2/+=_~", "user:1;order=2/+=_~"),
    ] {
        assert_eq!(lenient(value).as_deref(), Ok(key), "{value}");
    }
}

#[test]
fn what_is_no_key_is_refused_for_its_own_reason() {
    for (value, error) in [
        ("", KeyError::Empty),
        ("   ", KeyError::Empty),
        ("\"\"", KeyError::Empty),
        ("\"abc", KeyError::Unclosed),
        ("\"", KeyError::Unclosed),
        ("\"abc\\", KeyError::Unclosed),
        ("\"abc\\\"", KeyError::Unclosed),
        ("\"a\\bc\"", KeyError::Escape),
        ("\"abc\"; A=1", KeyError::Trailing),
        ("\"abc\"; a=1, \"def\"", KeyError::Trailing),
        ("\"abc\"def", KeyError::Trailing),
        ("\"abc\", \"def\"", KeyError::List),
        ("abc, def", KeyError::List),
        ("abc,", KeyError::List),
        ("a b", KeyError::NeedsQuotes),
        ("abc\"", KeyError::NeedsQuotes),
        ("a\\b", KeyError::NeedsQuotes),
        ("caf\u{e9}", KeyError::Character),
        ("\"caf\u{e9}\"", KeyError::Character),
        ("\"a\tb\"", KeyError::Character),
        ("a\u{7f}", KeyError::Character),
    ] {
        assert_eq!(lenient(value), Err(error), "{value}");
    }
}

#[test]
fn length_is_counted_after_unquoting() {
    let longest = "k".repeat(MAX_KEY_OCTETS);
    assert_eq!(lenient(&longest).as_deref(), Ok(&*longest));
    assert_eq!(lenient(&format!("\"{longest}\"")).as_deref(), Ok(&*longest));
    let escaped = format!("\"{}\"", "\\\"".repeat(MAX_KEY_OCTETS));
    assert_eq!(lenient(&escaped).as_deref(), Ok(&*"\"".repeat(MAX_KEY_OCTETS)));
    assert_eq!(lenient(&format!("{longest}k")), Err(KeyError::TooLong));
    assert_eq!(lenient(&format!("\"{longest}k\"")), Err(KeyError::TooLong));
}

#[test]
fn strict_syntax_takes_only_a_string() {
    assert_eq!(Key::parse(b"abc", KeySyntax::Strict), Err(KeyError::NotQuoted));
    assert_eq!(Key::parse(b"\"abc\"", KeySyntax::Strict).unwrap().as_str(), "abc");
    assert_eq!(Key::parse(b"", KeySyntax::Strict), Err(KeyError::Empty));
}

fn headers(values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(HeaderName::from_static("idempotency-key"), HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_repeated_header_is_refused_even_with_the_same_value() {
    let source = KeySource::default();
    assert_eq!(source.read(&headers(&["abc", "abc"])), Err(KeyError::Repeated));
    assert_eq!(source.read(&headers(&["abc", ""])), Err(KeyError::Repeated));
}

#[test]
fn an_empty_key_is_a_mistake_and_an_absent_one_is_not() {
    let source = KeySource::default();
    assert_eq!(source.read(&headers(&[])), Ok(KeyRead::Absent));
    assert_eq!(source.read(&headers(&[""])), Err(KeyError::Empty));
}

/// The key that a client was told comes back in its header.
#[test]
fn a_minted_key_is_the_one_that_the_client_sends_from_then_on() {
    let (minted, sent) = (Key::minted("k".into()), Key::from_text("k").unwrap());
    assert!(minted.is_minted() && !sent.is_minted());
    assert_eq!(minted.hash(None, "app"), sent.hash(None, "app"));
}

#[test]
fn the_hash_separates_its_parts() {
    let key = Key::from_text("k").unwrap();
    let hash = key.hash(Some(b"ab"), "c");
    assert_ne!(hash, key.hash(Some(b"a"), "bc"));
    assert_ne!(hash, key.hash(None, "c"));
    assert_ne!(hash, Key::from_text("kk").unwrap().hash(Some(b"ab"), "c"));
    assert_eq!(hash, key.hash(Some(b"ab"), "c"));
}

#[test]
fn a_key_is_not_shown_in_logs() {
    assert!(!format!("{:?}", Key::from_text("secret").unwrap()).contains("secret"));
}

proptest! {
    #[test]
    fn no_key_that_a_client_sends_is_one_that_was_made(
        principal in "[ -~]{0,12}", upstream in "[a-z]{0,8}", text in "[ -~]{1,64}", other in "[ -~]{1,64}",
        content in any::<[u8; 32]>(),
    ) {
        let principal = Some(principal.as_bytes());
        let sent = Key::from_text(text.clone()).unwrap().hash(principal, &upstream);
        let derived = Key::derived(other).unwrap().hash(principal, &upstream);
        let by_content = Key::of_content(content, text.clone()).hash(principal, &upstream);
        prop_assert!(sent != derived && sent != by_content && derived != by_content);
        prop_assert_ne!(sent, Key::derived(text.clone()).unwrap().hash(principal, &upstream));
        prop_assert_eq!(by_content, Key::of_content(content, "another text".into()).hash(principal, &upstream));
    }

    #[test]
    fn a_key_reads_back_as_it_is_written(text in "[ -~]{1,255}") {
        let key = Key::from_text(text).unwrap();
        prop_assert_eq!(Key::parse(key.header_value().as_bytes(), KeySyntax::Strict), Ok(key));
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for syntax in [KeySyntax::Lenient, KeySyntax::Strict] {
            if let Ok(key) = Key::parse(&bytes, syntax) {
                prop_assert!((1..=MAX_KEY_OCTETS).contains(&key.as_str().len()));
                prop_assert!(key.as_str().bytes().all(is_printable));
            }
        }
    }

    #[test]
    fn what_strict_takes_lenient_takes_too(value in "\"[ -~]{0,20}\"") {
        if let Ok(key) = Key::parse(value.as_bytes(), KeySyntax::Strict) {
            prop_assert_eq!(Key::parse(value.as_bytes(), KeySyntax::Lenient), Ok(key));
        }
    }
}
