//! libFuzzer's way into `drystone_fuzz::refs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::refs::run(data));
