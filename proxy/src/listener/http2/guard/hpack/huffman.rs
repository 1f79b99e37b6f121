//! The Huffman code of strings (RFC 7541 section 5.2 and appendix B). It is canonical: how many codes each length has, and the
//! symbols in the order of their codes, say all of it.

use super::Broken;

/// How many codes have so many bits.
const COUNT: [u16; LONGEST + 1] =
    [0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4];

/// Bits of the longest code.
const LONGEST: usize = 30;

/// Octets in the order of their codes; behind them comes the end of the string, which stands in none.
#[rustfmt::skip]
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102,
    103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84,
    85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35,
    62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167,
    172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173,
    178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151,
    152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171,
    206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255,
    203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11,
    12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
];

/// The codes of one length: the first of them, and where its symbol stands.
#[derive(Clone, Copy)]
struct Row {
    code: u32,
    symbol: u16,
}

const ROWS: [Row; LONGEST + 1] = rows();

const fn rows() -> [Row; LONGEST + 1] {
    let mut rows = [Row { code: 0, symbol: 0 }; LONGEST + 1];
    let (mut length, mut code, mut symbol) = (1, 0, 0);
    while length <= LONGEST {
        code <<= 1;
        rows[length] = Row { code, symbol };
        code += COUNT[length] as u32;
        symbol += COUNT[length];
        length += 1;
    }
    rows
}

/// Bits that are looked up at once: all codes of what fields are made of are shorter.
const SHORT_BITS: usize = 8;

/// The symbol that so many bits begin with, and the length of its code; no length, where the code is longer.
static SHORT: [(u8, u8); 1 << SHORT_BITS] = short();

const fn short() -> [(u8, u8); 1 << SHORT_BITS] {
    let mut table = [(0, 0); 1 << SHORT_BITS];
    let mut length = 1;
    while length <= SHORT_BITS {
        let mut nth = 0;
        while nth < COUNT[length] {
            let symbol = SYMBOLS[(ROWS[length].symbol + nth) as usize];
            let first = (ROWS[length].code as usize + nth as usize) << (SHORT_BITS - length);
            let mut behind = 0;
            while behind < 1 << (SHORT_BITS - length) {
                table[first + behind] = (symbol, length as u8);
                behind += 1;
            }
            nth += 1;
        }
        length += 1;
    }
    table
}

/// Appends what `coded` says.
///
/// # Errors
/// It is no such code, or not padded by the beginning of the end's code, less than a byte of it.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    out.reserve(coded.len() * 8 / 5);
    let mut rest = coded.iter();
    // The next bits, from the top, and how many they are.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        // As if the padding went on.
        let window = bits | u64::MAX.checked_shr(count).unwrap_or(0);
        if window == u64::MAX {
            return if count < 8 { Ok(()) } else { Err(Broken) };
        }
        let (symbol, length) = match SHORT[(window >> (64 - SHORT_BITS)) as usize] {
            (_, 0) => long(window),
            (symbol, length) => (Some(symbol), u32::from(length)),
        };
        if length > count {
            return Err(Broken);
        }
        out.push(symbol.ok_or(Broken)?);
        bits <<= length;
        count -= length;
    }
}

/// The symbol of a longer code and its length; no symbol at the end of the string.
#[cold]
fn long(window: u64) -> (Option<u8>, u32) {
    for length in SHORT_BITS + 1..=LONGEST {
        let code = (window >> (64 - length)) as u32;
        let nth = code.wrapping_sub(ROWS[length].code);
        if nth < u32::from(COUNT[length]) {
            return (SYMBOLS.get(ROWS[length].symbol as usize + nth as usize).copied(), length as u32);
        }
    }
    (None, LONGEST as u32)
}

/// The same the other way, for a peer of the tests.
#[cfg(test)]
pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u64, 0);
    for byte in text {
        let nth = SYMBOLS.iter().position(|symbol| symbol == byte).unwrap();
        let length = (1..=LONGEST).rfind(|&length| nth >= ROWS[length].symbol as usize && COUNT[length] > 0).unwrap();
        let code = u64::from(ROWS[length].code) + (nth - ROWS[length].symbol as usize) as u64;
        bits = bits << length | code;
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | (0xff >> count));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).ok().map(|()| out)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7541 appendix C.4 and C.6.
        for (coded, text) in [
            (&b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ] {
            assert_eq!(decoded(coded).as_deref(), Some(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn every_octet_has_a_code() {
        let all: Vec<u8> = (0..=255).collect();
        for text in all.chunks(7).chain([&all[..], b""]) {
            assert_eq!(decoded(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn padding_is_the_beginning_of_the_end_and_shorter_than_a_byte() {
        // "0" is five zeros.
        assert_eq!(decoded(b"\x07").as_deref(), Some(&b"0"[..]));
        for wrong in [&b"\x00\x06"[..], b"\x07\xff", b"\xff", b"\x06", b"\x3f\xff\xff\xff\xff", b"\xff\xff\xff\xff"] {
            assert_eq!(decoded(wrong), None, "{wrong:x?}");
        }
    }
}
