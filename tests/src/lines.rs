//! Lines of a log in JSON, read more strictly than a parser does.

/// The first name that a line of JSON has twice at its top level. Parsers keep one of the two, and each another.
pub fn repeated_name(line: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let (mut depth, mut from, mut escaped, mut text) = (0, None, false, None);
    for (at, byte) in line.bytes().enumerate() {
        match (from, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => (from, text) = (None, Some(&line[start..at])),
            (None, b'"') => from = Some(at + 1),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth -= 1,
            (None, b':') if depth == 1 => {
                let name = text.take()?;
                if names.contains(&name) {
                    return Some(name.to_owned());
                }
                names.push(name);
            }
            (Some(_) | None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_found_and_one_in_a_value_is_none() {
        for (line, expected) in [
            (r#"{"a":1,"b":{"a":2},"c":"\"a\":"}"#, None),
            (r#"{"a":1,"b":[{"b":2}],"a":3}"#, Some("a")),
            (r#"{"target":"x","message":"m","target":"y"}"#, Some("target")),
        ] {
            assert_eq!(repeated_name(line).as_deref(), expected, "{line}");
        }
    }
}
