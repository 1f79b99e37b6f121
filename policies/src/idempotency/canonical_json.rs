//! The canonical form of a JSON text (RFC 8785).
//!
//! Only for I-JSON (RFC 7493): a text with a repeated name, or with a number beyond ±2⁵³, where two numbers share one
//! double, has no canonical form here. Then the exact bytes count, so that no two different requests are taken for one.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The canonical form, or `None` if the text has none.
pub(super) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let json: Json = serde_json::from_slice(text).ok()?;
    let mut out = Vec::with_capacity(text.len());
    json.write(&mut out);
    Some(out)
}

/// The largest integer below which every integer is a double of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Self>),
    /// Names in the order of their UTF-16 code units.
    Object(BTreeMap<Vec<u16>, (String, Self)>),
}

impl Json {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number_text(*number).as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                write_list(*b"[]", items, out, Self::write);
            }
            Self::Object(members) => {
                write_list(*b"{}", members.values(), out, |(name, value), out| {
                    write_string(name, out);
                    out.push(b':');
                    value.write(out);
                });
            }
        }
    }
}

fn write_list<T>(
    brackets: [u8; 2],
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(brackets[0]);
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(brackets[1]);
}

/// `serde_json` escapes exactly what RFC 8785 section 3.2.2.2 escapes, in the same way.
fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}

/// The number as ECMAScript writes it (ECMA-262, `Number::toString`).
pub(super) fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    // Rust, too, writes the shortest digits that read back as the same double.
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes an integer exponent");
    let count = i32::try_from(digits.len()).expect("a double has at most 17 digits");
    let point = exponent + 1;
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or_default());
    let text = if count <= point && point <= 21 {
        format!("{digits}{}", zeros(point - count))
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
        format!("{whole}.{fraction}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let (first, more) = digits.split_at(1);
        let dot = if more.is_empty() { "" } else { "." };
        format!("{first}{dot}{more}e{sign}{}", exponent.abs())
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("I-JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        if value.abs() < EXACT { Ok(Json::Number(value)) } else { Err(E::custom("a number beyond 2^53")) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if object.insert(name.encode_utf16().collect(), (name, value)).is_some() {
                return Err(A::Error::custom("a repeated name"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(canonical(text.as_bytes()).as_deref().map(String::from_utf8_lossy), Some(expected.into()), "{text}");
    }

    #[test]
    fn order_and_space_do_not_count() {
        check(r#" { "b" : [ 1 , 2 ] , "a" : null } "#, r#"{"a":null,"b":[1,2]}"#);
    }

    #[test]
    fn names_sort_by_utf16_code_units() {
        // RFC 8785 section 3.2.3: U+1F600 (surrogates D83D DE00) sorts before U+FB33.
        check(
            "{\"\u{fb33}\":1,\"\u{1f600}\":2,\"\u{20ac}\":3,\"\\r\":4,\"1\":5}",
            "{\"\\r\":4,\"1\":5,\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}",
        );
    }

    #[test]
    fn numbers_are_written_as_ecmascript_writes_them() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("10e1", "100"),
            ("4.50", "4.5"),
            ("2e-3", "0.002"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.5e-9", "1.5e-9"),
            ("9007199254740991", "9007199254740991"),
            ("-1.25", "-1.25"),
            ("333333333.33333329", "333333333.3333333"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn strings_are_escaped_as_little_as_possible() {
        check(r#""\u0041\/\u000a\u001f\"\\é""#, r#""A/\n\u001f\"\\é""#);
    }

    #[test]
    fn a_text_whose_parts_could_be_read_two_ways_has_no_canonical_form() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "9007199254740993",
            "-9007199254740992",
            "123456789012345678901234567890",
            "1e300",
            "[1,]",
            "{} x",
            "",
            "\u{feff}{}",
        ] {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_overflowing_the_stack() {
        assert_eq!(canonical("[".repeat(100_000).as_bytes()), None);
    }
}
