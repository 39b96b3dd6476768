//! libFuzzer's way into `drystone_fuzz::footer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::footer::run(data));
