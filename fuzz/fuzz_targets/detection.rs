//! Any bytes as the first ones of a connection.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| netting_sidecar::fuzz::detection(bytes));
