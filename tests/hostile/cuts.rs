//! Every file ends at every step of 64 bytes, or too late.

use super::furnished::Furnished;
use super::stage::{Damage, ToFile, try_all};
use drystone::HashAlgorithm;

const STEP: usize = 64;
/// What stands behind the end: parts of a step, steps, and more than any window of a reader.
const GROWN: [u64; 9] = [1, 8, 63, 64, 65, 128, 4096, 65_536, 300_001];

fn every_cut(made: &Furnished) -> Vec<ToFile> {
    let all = made.files.iter().enumerate();
    let cuts = |(file, saved): (usize, &super::furnished::Saved)| {
        let steps = (0..saved.bytes.len() as u64).step_by(STEP);
        // Also where only a part of the last step is left.
        let odd = [1, 63, 65, saved.bytes.len() as u64 / 2 + 7, saved.bytes.len() as u64 - 1];
        let odd = odd.into_iter().filter(|at| *at < saved.bytes.len() as u64);
        let cuts: Vec<_> =
            steps.chain(odd).map(|at| ToFile { file, damage: Damage::Cut(at) }).collect();
        cuts
    };
    all.filter(|(_, saved)| !saved.bytes.is_empty()).flat_map(cuts).collect()
}

fn every_growth(made: &Furnished) -> Vec<ToFile> {
    let grown = |file| GROWN.map(|len| ToFile { file, damage: Damage::Grow(len) });
    (0..made.files.len()).flat_map(grown).collect()
}

#[test]
fn every_file_may_be_cut_at_every_step() {
    try_all("cuts", HashAlgorithm::Xxh3, 1, every_cut);
}

#[test]
fn every_file_may_be_longer() {
    try_all("extensions", HashAlgorithm::Blake3, 1, every_growth);
}
