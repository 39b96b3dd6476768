//! libFuzzer's way into `drystone_fuzz::store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::store::run(data));
