//! Trace headers in every format at once, as anybody may send them. Whatever is accepted survives being written and read.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| mainstay::telemetry::propagation::fuzz(data));
