//! Fixed-width hex, without allocation.

/// The two digits of every byte.
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

/// The ids of one span, written once for all formats.
pub(super) struct Digits {
    pub(super) trace_id: [u8; 32],
    pub(super) span_id: [u8; 16],
    is_short: bool,
}

impl Digits {
    pub(super) fn of(trace_id: u128, span_id: u64) -> Self {
        Self {
            trace_id: encode_u128(trace_id),
            span_id: encode_u64(span_id),
            is_short: u64::try_from(trace_id).is_ok(),
        }
    }

    /// The trace id as B3 and Jaeger write it: with 16 digits if it fits, else with 32.
    pub(super) fn short_trace_id(&self) -> &[u8] {
        if self.is_short { &self.trace_id[16..] } else { &self.trace_id }
    }
}
