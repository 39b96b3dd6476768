//! libFuzzer's way into `drystone_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::record::run(data));
