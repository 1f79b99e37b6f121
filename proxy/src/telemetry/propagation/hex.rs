//! Fixed-width hex, without allocation.

/// The two digits of every byte: three formats are written into every request.
static PAIRS: [[u8; 2]; 256] = pairs();

const fn pairs() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
}

/// Which digits count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// `0-9a-f` only.
    Lower,
    /// `A-F` too.
    Any,
}

/// The number written in 1 to 32 hex digits.
pub(super) fn decode(digits: &[u8], case: Case) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' if case == Case::Any => digit - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The number written in 1 to 16 hex digits.
pub(super) fn decode_u64(digits: &[u8], case: Case) -> Option<u64> {
    u64::try_from(decode(digits, case)?).ok()
}

/// 32 digits.
pub(super) fn encode_u128(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&encode_u8(byte));
    }
    digits
}

/// 16 digits.
pub(super) fn encode_u64(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&encode_u8(byte));
    }
    digits
}

/// 2 digits.
pub(super) fn encode_u8(byte: u8) -> [u8; 2] {
    PAIRS[usize::from(byte)]
}

/// The digits of a trace id as B3 and Jaeger write it: 16 of them if it fits, else 32. Returns the used part.
pub(super) fn encode_trace_id(trace_id: u128, digits: &mut [u8; 32]) -> &[u8] {
    *digits = encode_u128(trace_id);
    if u64::try_from(trace_id).is_ok() { &digits[16..] } else { digits }
}
