//! Text from outside, made harmless for a line of a log.

/// Appends `text` with control characters (C0, DEL, C1, line and paragraph separators) as `\u{..}` escapes.
pub(super) fn controls(text: &str, to: &mut Vec<u8>) {
    escape(text, to, false);
}

/// Appends `text` as a JSON string, quotes and all.
pub(super) fn json_string(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    escape(text, to, true);
    to.push(b'"');
}

fn escape(text: &str, to: &mut Vec<u8>, quoted: bool) {
    let mut clean = 0;
    for (at, character) in text.char_indices() {
        let quote = quoted && matches!(character, '"' | '\\');
        if !(quote || needs_escape(character)) {
            continue;
        }
        to.extend_from_slice(&text.as_bytes()[clean..at]);
        clean = at + character.len_utf8();
        if quote {
            to.extend_from_slice(&[b'\\', character as u8]);
        } else {
            to.extend_from_slice(b"\\u");
            to.extend([12, 8, 4, 0].map(|shift| b"0123456789abcdef"[(character as usize >> shift) & 0xf]));
        }
    }
    to.extend_from_slice(&text.as_bytes()[clean..]);
}

fn needs_escape(character: char) -> bool {
    // Every control character and both separators lie in the basic plane, so four digits do.
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}
