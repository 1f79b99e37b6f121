//! The parameters of a structured-field Item (RFC 9651 section 3.1.2): read, so that one knows where they end, and ignored.

/// Whether `rest`, what follows an Item, is nothing but parameters (RFC 9651 section 4.2.3.2).
pub(super) fn are_parameters(mut rest: &[u8]) -> bool {
    while let Some(parameter) = rest.strip_prefix(b";") {
        let name = skip_while(parameter, |byte| byte == b' ');
        let Some(after) = after_name(name) else { return false };
        rest = match after.strip_prefix(b"=") {
            None => after,
            Some(value) => match after_bare_item(value) {
                Some(after) => after,
                None => return false,
            },
        };
    }
    rest.trim_ascii_start().is_empty()
}

fn after_name(text: &[u8]) -> Option<&[u8]> {
    let begins = text.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*');
    let is_in =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*');
    begins.then(|| skip_while(text, is_in))
}

/// What follows a bare item (RFC 9651 section 4.2.3.1). What it says is not looked at, only where it ends.
fn after_bare_item(text: &[u8]) -> Option<&[u8]> {
    let (first, rest) = text.split_first()?;
    match first {
        b'"' => after_string(rest),
        b'%' => after_string(rest.strip_prefix(b"\"")?),
        b'?' => rest.strip_prefix(b"0").or_else(|| rest.strip_prefix(b"1")),
        b':' => {
            let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
            skip_while(rest, is_base64).strip_prefix(b":")
        }
        b'@' => after_number(rest),
        b'-' | b'0'..=b'9' => after_number(text),
        byte if byte.is_ascii_alphabetic() || *byte == b'*' => Some(skip_while(rest, is_in_token)),
        _ => None,
    }
}

fn after_string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        let (first, rest) = text.split_first()?;
        text = match first {
            b'"' => return Some(rest),
            b'\\' => rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"\\"))?,
            b' '..=b'~' => rest,
            _ => return None,
        };
    }
}

fn after_number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let begins = digits.first().is_some_and(u8::is_ascii_digit);
    begins.then(|| skip_while(digits, |byte| byte.is_ascii_digit() || byte == b'.'))
}

fn is_in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

fn skip_while(text: &[u8], skipped: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !skipped(*byte)).unwrap_or(text.len());
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_parameters_are_parameters() {
        for (rest, expected) in [
            ("", true),
            (";a", true),
            (";a=1;b", true),
            ("; a=1;  *b=?0 ", true),
            (";a=\"x, \\\" ; y\"", true),
            (";a=tok/en:1", true),
            (";a=:aGk=:", true),
            (";a=@1659578233", true),
            (";a=-1.5", true),
            (";a=%\"f%c3%bc\"", true),
            (";", false),
            (" ;a", false),
            (";A=1", false),
            (";a=", false),
            (";a=\"x", false),
            (";a=\"\\x\"", false),
            (";a=?2", false),
            (";a=:x", false),
            (";a=-", false),
            (";a=1, \"b\"", false),
            (";a b", false),
            ("x", false),
        ] {
            assert_eq!(are_parameters(rest.as_bytes()), expected, "{rest:?}");
        }
    }
}
