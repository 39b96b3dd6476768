//! libFuzzer's way into `drystone_fuzz::npy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::npy::run(data));
