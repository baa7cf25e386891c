//! Arbitrary bytes as the body of an admission request. The recorded requests are a
//! good corpus to begin with: `jq -c .review < FILE > fuzz/corpus/admission/NAME` for
//! each of `webhook/tests/fixtures/admission`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use target::Target;

#[path = "../../webhook/tests/fuzz/target.rs"]
#[allow(dead_code, reason = "each fuzz target uses a part of it")]
mod target;

thread_local! {
    static TARGET: Target = Target::new();
}

fuzz_target!(|body: &[u8]| TARGET.with(|target| target.send(body)));
