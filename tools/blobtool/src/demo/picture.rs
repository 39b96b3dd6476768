//! The wave as a picture: a cut through the middle of the cube, depth downwards.

use super::plan::Grid;

const COLUMNS: usize = 64;
const ROWS: usize = 24;
/// From still to strong.
const SHADES: &[u8] = b" .:-=+*#%@";

/// Draws the field; `plane` gives the cells of a plane.
pub fn draw<'a>(grid: &Grid, plane: impl Fn(usize) -> Option<&'a [f64]>) -> Vec<String> {
    let cut = |row: usize| {
        let cells = plane(row * grid.edge / ROWS)?;
        let middle = grid.edge / 2 * grid.edge;
        Some(&cells[middle..middle + grid.edge])
    };
    let rows: Vec<&[f64]> = (0..ROWS).filter_map(cut).collect();
    let strongest =
        rows.iter().flat_map(|row| row.iter()).fold(0.0, |max: f64, u| max.max(u.abs()));
    let shade = |u: f64| {
        // The root lifts what is faint.
        let share = if strongest > 0.0 { (u.abs() / strongest).sqrt() } else { 0.0 };
        char::from(SHADES[((share * SHADES.len() as f64) as usize).min(SHADES.len() - 1)])
    };
    let line = |row: &&[f64]| (0..COLUMNS).map(|x| shade(row[x * grid.edge / COLUMNS])).collect();
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_strong_is_dark_and_where_it_is() {
        let grid = Grid { edge: 64, steps: 0, slabs: 1 };
        let mut plane = vec![0.0; grid.plane_cells()];
        plane[32 * 64 + 10] = -2.0;
        let lines = draw(&grid, |at| (at < 40).then_some(plane.as_slice()));
        assert_eq!((lines.len(), lines[0].len(), lines[0].find('@')), (15, COLUMNS, Some(10)));
        assert_eq!(lines[0].trim(), "@");
    }
}
