//! Any bytes as requests of HTTP/1, in pieces of a size that the first byte says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((piece, bytes)) = bytes.split_first() {
        netting_sidecar::fuzz::http1(bytes, (*piece).into());
    }
});
