//! The target of a status query, from its template.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::OPERATION;

/// Everything but the unreserved characters (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The target of a status query for this key and these path parameters, each as it stands in the path (percent-encoded as
/// it came). `{operation}` stays in its place until the query is made.
///
/// `None` if a parameter is unknown, or if a value would be a dot segment, which no encoding keeps from climbing the path.
pub fn target(template: &str, key: &str, path_params: &[(&str, &str)]) -> Option<String> {
    let mut out = String::with_capacity(template.len() + key.len());
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Value("operation") => out.push_str(OPERATION),
            Piece::Value("key") => push_segment(&mut out, key)?,
            Piece::Value(name) => {
                let name = name.strip_prefix("path.")?;
                let (_, value) = path_params.iter().find(|(known, _)| *known == name)?;
                push_segment(&mut out, &percent_decode_str(value).decode_utf8().ok()?)?;
            }
        }
    }
    Some(out)
}

/// The key in a target that was made of this template; `None` if it was made of another one, or holds no key.
pub fn key_in(template: &str, target: &str) -> Option<String> {
    let mut rest = target;
    let mut key = None;
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text)?,
            Piece::Value(name) => {
                // No value holds a character that is not encoded.
                let is_of_value = |c: char| c.is_ascii_alphanumeric() || "-._~%{}".contains(c);
                let end = rest.find(|c| !is_of_value(c)).unwrap_or(rest.len());
                let (value, after) = rest.split_at(end);
                if name == "key" {
                    key = Some(percent_decode_str(value).decode_utf8().ok()?.into_owned());
                }
                rest = after;
            }
        }
    }
    key.filter(|_| rest.is_empty())
}

/// The placeholders of a template, without braces, for checking it when it is read.
pub fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    pieces(template).filter_map(|piece| match piece {
        Piece::Value(name) => Some(name),
        Piece::Text(_) => None,
    })
}

enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
}

/// A brace without its partner is text.
fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('{')
            && let Some((name, after)) = inner.split_once('}')
        {
            rest = after;
            return Some(Piece::Value(name));
        }
        let end = rest[1..].find('{').map_or(rest.len(), |at| at + 1);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

fn push_segment(out: &mut String, value: &str) -> Option<()> {
    if matches!(value, "" | "." | "..") {
        return None;
    }
    out.extend(utf8_percent_encode(value, SEGMENT));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{super::with_operation, *};

    #[test]
    fn a_key_is_read_back_from_the_target_that_was_made_of_it() {
        for (template, key) in [
            ("/by-ref/{key}", "abc"),
            ("/by-ref/{key}", "a/b?c#d%2F"),
            ("/orders/{path.order}/by-ref/{key}?op={operation}", "k 1"),
            ("/by-ref?key={key}&x=1", "=&"),
        ] {
            let target = target(template, key, &[("order", "7%20x")]).expect("a target");
            assert_eq!(key_in(template, &target).as_deref(), Some(key), "{target}");
        }
        for (template, target) in [("/by-ref/{key}", "/other/abc"), ("/all", "/all"), ("/by-ref/{key}", "/by-ref/a/b")]
        {
            assert_eq!(key_in(template, target), None, "{target}");
        }
    }

    #[test]
    fn each_value_becomes_one_segment() {
        for (key, expected) in [
            ("abc-1.2_3~", Some("/by-ref/abc-1.2_3~")),
            ("a/b?c#d%2F", Some("/by-ref/a%2Fb%3Fc%23d%252F")),
            ("{operation}", Some("/by-ref/%7Boperation%7D")),
            ("a b", Some("/by-ref/a%20b")),
            ("..a", Some("/by-ref/..a")),
            ("..", None),
            (".", None),
        ] {
            assert_eq!(target("/by-ref/{key}", key, &[]).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn path_parameters_are_not_encoded_twice() {
        let params = [("tenant", "a%2Fb%20c"), ("id", "7")];
        let target = target("/t/{path.tenant}/p/{path.id}?ref={key}", "k", &params);
        assert_eq!(target.as_deref(), Some("/t/a%2Fb%20c/p/7?ref=k"));
    }

    #[test]
    fn an_unknown_placeholder_gives_no_target() {
        assert_eq!(target("/p/{path.other}", "k", &[("id", "7")]), None);
        assert_eq!(target("/p/{nonsense}", "k", &[]), None);
    }

    #[test]
    fn the_operation_is_put_in_later() {
        let target = target("/p/{key}/{operation}", "{operation}", &[]).unwrap();
        assert_eq!(with_operation(&target, 7), "/p/%7Boperation%7D/7");
    }

    #[test]
    fn placeholders_are_listed() {
        assert_eq!(placeholders("/p/{key}/{path.id}/{open").collect::<Vec<_>>(), ["key", "path.id"]);
    }
}
