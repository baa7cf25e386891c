//! Arbitrary JSON in the place of the pod; bytes that are none are not looked at.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use target::Target;

#[path = "../../webhook/tests/fuzz/target.rs"]
#[allow(dead_code, reason = "each fuzz target uses a part of it")]
mod target;

thread_local! {
    static TARGET: Target = Target::new();
}

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(object) = serde_json::from_slice(text) else {
        return Corpus::Reject;
    };
    TARGET.with(|target| target.create(&object));
    Corpus::Keep
});
