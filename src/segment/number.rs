//! The numbers of new segments.
//!
//! They go up, and end at [`Location::SEGMENT_MAX`]. A file under the last number that did not come
//! there by counting must not use all of them up.
#![forbid(unsafe_code)]

use super::files::{Files, segment_path};
use crate::control::Control;
use crate::disk::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::format::word::Location;

/// Free numbers that a run has ahead of it, if there are so many in a row.
const AHEAD: u32 = 1 << 20;
/// Numbers that are taken, and passed over, before somebody gives up.
const TAKEN_MAX: u32 = 1000;

/// The first number of a new run, by those of the segments that are there, in order: behind the highest
/// that has room above it.
pub fn first_free(numbers: &[u32]) -> u32 {
    let mut end = Location::SEGMENT_MAX + 1;
    for &number in numbers.iter().rev() {
        if end.saturating_sub(number) > AHEAD {
            return number + 1;
        }
        end = number;
    }
    let is_room_below = numbers.is_empty() || end >= AHEAD;
    if is_room_below { 0 } else { numbers.last().map_or(0, |number| number + 1) }
}

/// Draws a number under which there is no file. One that somebody has put there is passed over.
pub fn draw_free(files: &Files, control: &Control) -> Result<u32> {
    for _ in 0..TAKEN_MAX {
        let number = control.draw_segment()?;
        match files.open(number, Access::Read) {
            Ok(None) => return Ok(number),
            Ok(Some(_)) => {}
            Err(error) if error.is_damage() || error.kind() == ErrorKind::Permission => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Damaged, "no free number for a new segment")
        .path(segment_path(control.draw_segment()?))
        .expected("a name that is not taken")
        .found(format!("{TAKEN_MAX} in a row that are"))
        .advice("move away the files in the directory of the segments that are not the store's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_behind_the_highest_that_has_room_above() {
        const MAX: u32 = Location::SEGMENT_MAX;
        assert_eq!(first_free(&[]), 0);
        assert_eq!(first_free(&[0]), 1);
        assert_eq!(first_free(&[3, 70]), 71);
        assert_eq!(first_free(&[3, 70, MAX]), 71);
        assert_eq!(first_free(&[3, 70, MAX - 9, MAX]), 71);
        assert_eq!(first_free(&[MAX]), 0);
        assert_eq!(first_free(&[MAX - AHEAD]), MAX - AHEAD + 1);
        assert_eq!(first_free(&[7, MAX - AHEAD + 1]), 8);
        let dense: Vec<u32> = (0..=MAX / AHEAD).map(|step| step * AHEAD + AHEAD - 1).collect();
        assert_eq!(first_free(&dense), MAX + 1, "used up");
    }
}
