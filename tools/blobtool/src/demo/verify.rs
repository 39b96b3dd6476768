//! After the last process has ended: is everything there, and is it right?

use super::files::sum;
use super::plan::{Grid, Plan, Source, Work};
use super::tally::Tally;
use crate::cli::NAMES;
use crate::exit::{DAMAGED, ERROR, Failure, Outcome};
use drystone::{Blob, GetOptions, Store, Verify};
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// More than rounding: the energy of a wave whose bytes are right stays within this.
const DRIFT_MAX: f64 = 1e-9;

/// What was found right.
pub struct Checked {
    /// Blobs whose bytes have their digest.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// In this time.
    pub time: Duration,
    /// How far the energy moved over all steps, as a share of it; `None` for files, which were
    /// compared with their sources.
    pub drift: Option<f64>,
}

/// Checks everything, or says what is wrong.
pub fn check(store: &Store, plan: &Plan, tally: &Tally) -> Outcome<Checked> {
    let begin = Instant::now();
    let (mut blobs, mut bytes) = (0, 0);
    for key in keys(plan) {
        let blob = verified(store, &key)?;
        (blobs, bytes) = (blobs + 1, bytes + blob.len() as u64);
    }
    let time = begin.elapsed();
    agree(plan, tally)?;
    let drift = match &plan.work {
        Work::Wave(_) => Some(drift(plan, tally)?),
        Work::Files(files) => {
            compare(store, plan, files, tally)?;
            None
        }
    };
    Ok(Checked { blobs, bytes, time, drift })
}

fn keys(plan: &Plan) -> Vec<Vec<u8>> {
    match &plan.work {
        Work::Wave(grid) => (0..grid.steps)
            .flat_map(|step| (0..grid.slabs).map(move |slab| Grid::key(step, slab).into_bytes()))
            .collect(),
        Work::Files(_) => (0..plan.steps()).map(|index| plan.file_key(index)).collect(),
    }
}

/// The blob of a name, its digest checked.
fn verified(store: &Store, key: &[u8]) -> Outcome<Blob> {
    let lost = || {
        let name = String::from_utf8_lossy(key).into_owned();
        Failure::new(DAMAGED, format!("{name} was acknowledged and is not there"))
    };
    let entry = store.refs(NAMES).get(key)?.ok_or_else(lost)?;
    let id = entry.blob().ok_or_else(lost)?;
    store.get_with(id, &GetOptions::new().verify(Verify::Whole))?.ok_or_else(lost)
}

/// All readers have computed the same of every step, bit for bit.
fn agree(plan: &Plan, tally: &Tally) -> Outcome {
    for step in first_value(plan)..plan.steps() {
        let value = |reader: u32| tally.values.get(&(reader, step));
        if value(0).is_none() || (1..plan.readers).any(|reader| value(reader) != value(0)) {
            return Err(Failure::new(DAMAGED, format!("the readers do not agree on step {step}")));
        }
    }
    Ok(())
}

fn first_value(plan: &Plan) -> u32 {
    match plan.work {
        Work::Wave(_) => 1,
        Work::Files(_) => 0,
    }
}

fn drift(plan: &Plan, tally: &Tally) -> Outcome<f64> {
    let energy = |step: u32| tally.values.get(&(0, step)).map_or(f64::NAN, |v| f64::from_bits(*v));
    let first = energy(1);
    let drift = (1..plan.steps()).map(|step| ((energy(step) - first) / first).abs());
    let drift = drift.fold(0.0, |max: f64, d| if d.is_nan() { f64::NAN } else { max.max(d) });
    if drift < DRIFT_MAX {
        return Ok(drift);
    }
    Err(Failure::new(
        DAMAGED,
        format!("the energy of the wave moved by {drift:e}: bytes are wrong"),
    ))
}

/// Every file is what its blob is, and what the readers saw.
fn compare(store: &Store, plan: &Plan, files: &[Source], tally: &Tally) -> Outcome {
    for (index, file) in files.iter().enumerate() {
        let index = index as u32;
        let blob = verified(store, &plan.file_key(index))?;
        let path = file.path();
        let same = is_content(path, &blob).map_err(|error| Failure::file("read", path, &error))?;
        if !same {
            let changed = "is not what was stored: did it change meanwhile?";
            return Err(Failure::new(ERROR, format!("{} {changed}", path.display())));
        }
        if tally.values.get(&(0, index)) != Some(&sum(&blob)) {
            return Err(Failure::new(
                DAMAGED,
                format!("a reader saw other bytes of {}", path.display()),
            ));
        }
    }
    Ok(())
}

fn is_content(path: &std::path::Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    for expected in bytes.chunks(piece.len()) {
        let piece = &mut piece[..expected.len()];
        match file.read_exact(piece) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if piece != expected {
            return Ok(false);
        }
    }
    Ok(file.read(&mut [0])? == 0)
}
