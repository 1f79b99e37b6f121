//! Idempotency keys. What is accepted has one reading: written back it is read as the same key, and the two syntaxes
//! never disagree about a text that both take.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_policies::idempotency::{Key, KeySyntax, MAX_KEY_OCTETS};

fuzz_target!(|value: &[u8]| {
    let lenient = Key::parse(value, KeySyntax::Lenient);
    let strict = Key::parse(value, KeySyntax::Strict);
    if let Ok(key) = &strict {
        assert_eq!(Ok(key), lenient.as_ref(), "strict is a part of lenient");
    }
    let Ok(key) = lenient else { return };
    let text = key.as_str();
    assert!((1..=MAX_KEY_OCTETS).contains(&text.len()));
    assert!(text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    let written = key.header_value();
    assert_eq!(Key::parse(written.as_bytes(), KeySyntax::Strict).as_ref(), Ok(&key));
    assert_eq!(Key::from_text(text).as_ref(), Ok(&key));
    assert_ne!(key.hash(None, "a"), key.hash(None, "b"));
});
