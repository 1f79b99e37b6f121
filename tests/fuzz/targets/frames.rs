//! Frames of HTTP/2 as anybody may send them: the guard says the same however they arrive, and has nothing against what it lets
//! pass.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mainstay::{
    listener::http2::guard::{Guard, Refusals},
    wire::http1::HeadLimits,
};
use tokio::io::ReadBuf;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    let whole = guarded(data, data.len().max(1));
    assert!(guarded(data, 1) == whole);
    assert!(guarded(data, 10) == whole);
    assert!(guarded(&whole, whole.len().max(1)) == whole);
});

/// What goes on to `h2` if the bytes arrive in pieces of this length.
fn guarded(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut guard = Guard::new(HeadLimits { bytes: 256, fields: 16 }, Arc::new(Refusals::default()));
    assert_eq!(guard.look(PREFACE), PREFACE.len());
    let mut out = Vec::new();
    for piece in bytes.chunks(piece) {
        let passed = guard.look(piece);
        out.extend_from_slice(&piece[..passed]);
        let mut room = [0; 300];
        loop {
            let mut room = ReadBuf::new(&mut room);
            if !guard.give(&mut room) {
                break;
            }
            out.extend_from_slice(room.filled());
        }
    }
    out
}
