//! libFuzzer's way into `drystone_fuzz::index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::index::run(data));
