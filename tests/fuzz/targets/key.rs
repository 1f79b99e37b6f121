//! Idempotency keys. What is accepted has one reading: written back it is read as the same key, and the two syntaxes
//! never disagree about a text that both take. Nor is a key that is made by a template ever one that a client can send:
//! with a line feed in it, the input is a template and then a JSON body.

#![no_main]

use bytes::Bytes;
use http::Request;
use libfuzzer_sys::fuzz_target;
use mainstay_policies::idempotency::{Incoming, Key, KeySyntax, KeyTemplate, MAX_KEY_OCTETS};

fn made(template: &str, body: &[u8]) {
    let Ok(template) = KeyTemplate::parse(template) else { return };
    assert_eq!(KeyTemplate::parse(template.as_str()).as_ref(), Ok(&template));
    let request = Request::post("/p?q=a%20b&r=1").header("x-id", "a:b").body(()).expect("it is a request");
    let (parts, ()) = request.into_parts();
    let incoming = Incoming { parts: &parts, principal: Some(b"acme"), path_params: &[("id", "a%2Fb")] };
    let Ok(text) = template.render(&incoming, &Bytes::copy_from_slice(body), 1 << 20) else { return };
    let derived = Key::derived(text.clone()).expect("what a template makes is a key");
    let sent = Key::from_text(text).expect("and so it is one that a client could send");
    assert_ne!(derived.hash(None, "a"), sent.hash(None, "a"));
    // Anybody else makes a key of its own, if its name counts at all.
    let names_principal = template.as_str().contains("{principal}");
    let other =
        template.render(&Incoming { principal: Some(b"acme:7"), ..incoming }, &Bytes::copy_from_slice(body), 1 << 20);
    assert_eq!(other.is_ok_and(|other| other == derived.as_str()), !names_principal);
}

fuzz_target!(|value: &[u8]| {
    if let Some(at) = value.iter().position(|byte| *byte == b'\n')
        && let Ok(template) = std::str::from_utf8(&value[..at])
    {
        return made(template, &value[at + 1..]);
    }
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
