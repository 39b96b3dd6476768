//! libFuzzer's way into `drystone_fuzz::superblock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| drystone_fuzz::superblock::run(data));
