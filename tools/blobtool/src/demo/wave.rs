//! The physics: the wave equation in a layered medium, by the leapfrog scheme.
//!
//! `u'' = c(z)^2 (u_xx + u_yy + u_zz)`, zero outside of the cube. One step needs the two before it:
//! `u[t+1] = 2 u[t] - u[t-1] + k(z) L u[t]`, where `L` is the seven-point Laplacian and
//! `k = (c dt / dx)^2` must stay below 1/3.
//!
//! The scheme keeps a quantity exactly, but for rounding:
//! `E = sum (u[t+1] - u[t])^2 / k - <L u[t], u[t+1]>`,
//! because `L` is symmetric. So a reader that sums E over a field put together from the slabs of many
//! processes has checked every byte of it: one wrong plane, and E jumps.

use super::plan::{EDGE_UNIT, Grid};

const LANES: usize = EDGE_UNIT as usize;

/// `(c dt / dx)^2` of a plane: fast above, slow below, so that the wave bends and is thrown back.
pub fn courant(grid: &Grid, plane: usize) -> f64 {
    if plane < grid.edge * 3 / 5 { 0.30 } else { 0.08 }
}

/// The field at rest: a round pulse in the upper layer.
pub fn pulse(grid: &Grid, slab: u32, out: &mut [f64]) {
    let edge = grid.edge as f64;
    let width = (edge / 24.0).max(2.0);
    let square = |at: usize, center: f64| ((at as f64 - center * edge) / width).powi(2);
    for (plane, cells) in grid.planes(slab).zip(out.chunks_exact_mut(grid.plane_cells())) {
        for (y, row) in cells.chunks_exact_mut(grid.edge).enumerate() {
            for (x, cell) in row.iter_mut().enumerate() {
                let distance = square(plane, 0.3) + square(y, 0.5) + square(x, 0.45);
                *cell = (-distance / 2.0).exp();
            }
        }
    }
}

/// A slab of the field and the planes beside it; `None` is the edge of the cube.
pub struct Slab<'a> {
    /// Its cells.
    pub cells: &'a [f64],
    /// The last plane of the slab below.
    pub below: Option<&'a [f64]>,
    /// The first plane of the slab above.
    pub above: Option<&'a [f64]>,
}

/// A row of cells and the four rows beside it.
struct Row<'a> {
    here: &'a [f64],
    beside: [&'a [f64]; 4],
}

impl Row<'_> {
    /// The Laplacian of the row's cells.
    fn laplacian(&self, out: &mut [f64]) {
        let n = self.here.len();
        let [a, b, c, d] = self.beside.map(|row| &row[..n]);
        let (here, out) = (&self.here[..n], &mut out[..n]);
        for i in 0..n {
            out[i] = a[i] + b[i] + c[i] + d[i] - 6.0 * here[i];
        }
        // The neighbours in the row itself; none outside of the cube.
        for (cell, left) in out[1..].iter_mut().zip(here) {
            *cell += left;
        }
        for (cell, right) in out.iter_mut().zip(&here[1..]) {
            *cell += right;
        }
    }
}

/// The wave on a grid, and the scratch that a step needs: a few rows.
pub struct Wave {
    grid: Grid,
    /// A plane outside of the cube.
    outside: Vec<f64>,
    laplacian: Vec<f64>,
}

impl Wave {
    /// The wave on this grid.
    pub fn new(grid: Grid) -> Self {
        let outside = vec![0.0; grid.plane_cells()];
        Self { grid, outside, laplacian: vec![0.0; grid.edge] }
    }

    /// Computes a slab's next step into `out`: `now` is `u[t]`, `before` `u[t-1]`.
    pub fn advance(&mut self, slab: u32, now: &Slab, before: &[f64], out: &mut [f64]) {
        let Self { grid, outside, laplacian } = self;
        let (edge, plane_cells) = (grid.edge, grid.plane_cells());
        for (local, plane) in grid.planes(slab).enumerate() {
            let k = courant(grid, plane);
            let planes = |at: isize| now.plane(at, plane_cells).unwrap_or(outside);
            let near = [-1, 0, 1].map(|offset| planes(local as isize + offset));
            let span = local * plane_cells..(local + 1) * plane_cells;
            let (before, out) = (&before[span.clone()], &mut out[span]);
            for y in 0..edge {
                let row = row_of(near, y, edge, outside);
                row.laplacian(laplacian);
                let span = y * edge..(y + 1) * edge;
                let (before, out) = (&before[span.clone()], &mut out[span]);
                for (((out, now), before), laplacian) in
                    out.iter_mut().zip(row.here).zip(before).zip(&*laplacian)
                {
                    *out = 2.0 * now - before + k * laplacian;
                }
            }
        }
    }

    /// The quantity that stays: `now` is `u[t]`, `next` `u[t+1]`, slab by slab.
    pub fn energy(&mut self, now: &[&[f64]], next: &[&[f64]]) -> f64 {
        let mut sums = [0.0; LANES];
        for slab in 0..self.grid.slabs as usize {
            let around = Slab {
                cells: now[slab],
                below: slab.checked_sub(1).map(|below| last_plane(now[below], &self.grid)),
                above: now.get(slab + 1).map(|above| &above[..self.grid.plane_cells()]),
            };
            self.add_energy(slab as u32, &around, next[slab], &mut sums);
        }
        sums.iter().sum()
    }

    fn add_energy(&mut self, slab: u32, now: &Slab, next: &[f64], sums: &mut [f64; LANES]) {
        let Self { grid, outside, laplacian } = self;
        let (edge, plane_cells) = (grid.edge, grid.plane_cells());
        for (local, plane) in grid.planes(slab).enumerate() {
            let scale = 1.0 / courant(grid, plane);
            let planes = |at: isize| now.plane(at, plane_cells).unwrap_or(outside);
            let near = [-1, 0, 1].map(|offset| planes(local as isize + offset));
            let next = &next[local * plane_cells..(local + 1) * plane_cells];
            for y in 0..edge {
                let row = row_of(near, y, edge, outside);
                row.laplacian(laplacian);
                add_row(scale, row.here, &next[y * edge..(y + 1) * edge], laplacian, sums);
            }
        }
    }
}

impl<'a> Slab<'a> {
    /// A plane of the slab, or one beside it; `None` outside of the cube.
    fn plane(&self, at: isize, plane_cells: usize) -> Option<&'a [f64]> {
        if at < 0 {
            return self.below;
        }
        let begin = at as usize * plane_cells;
        self.cells.get(begin..begin + plane_cells).or(self.above)
    }
}

/// The last plane of a slab.
pub fn last_plane<'a>(cells: &'a [f64], grid: &Grid) -> &'a [f64] {
    &cells[cells.len() - grid.plane_cells()..]
}

fn row_of<'a>(near: [&'a [f64]; 3], y: usize, edge: usize, outside: &'a [f64]) -> Row<'a> {
    let [below, plane, above] = near;
    let row = |plane: &'a [f64], y: usize| &plane[y * edge..(y + 1) * edge];
    let north = if y > 0 { row(plane, y - 1) } else { &outside[..edge] };
    let south = if y + 1 < edge { row(plane, y + 1) } else { &outside[..edge] };
    Row { here: row(plane, y), beside: [north, south, row(below, y), row(above, y)] }
}

/// Adds in lanes, in a fixed order: every process gets the same sum, bit for bit.
fn add_row(scale: f64, now: &[f64], next: &[f64], laplacian: &[f64], sums: &mut [f64; LANES]) {
    let rows = now.chunks_exact(LANES).zip(next.chunks_exact(LANES));
    for ((now, next), laplacian) in rows.zip(laplacian.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let change = next[lane] - now[lane];
            sums[lane] += scale * change * change - laplacian[lane] * next[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(grid: &Grid, slab: u32) -> usize {
        grid.planes(slab).len() * grid.plane_cells()
    }

    fn start(grid: &Grid) -> Vec<Vec<f64>> {
        let slab = |slab| {
            let mut out = vec![0.0; cells(grid, slab)];
            pulse(grid, slab, &mut out);
            out
        };
        (0..grid.slabs).map(slab).collect()
    }

    /// All slabs one step on.
    fn step(grid: &Grid, now: &[Vec<f64>], before: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut wave = Wave::new(*grid);
        let advance = |slab: u32| {
            let at = slab as usize;
            let around = Slab {
                cells: &now[at],
                below: at.checked_sub(1).map(|below| last_plane(&now[below], grid)),
                above: now.get(at + 1).map(|above| &above[..grid.plane_cells()]),
            };
            let mut out = vec![0.0; cells(grid, slab)];
            wave.advance(slab, &around, &before[at], &mut out);
            out
        };
        (0..grid.slabs).map(advance).collect()
    }

    fn run(grid: &Grid, steps: u32) -> (Vec<Vec<f64>>, Vec<f64>) {
        let (mut before, mut now) = (start(grid), start(grid));
        let mut energies = Vec::new();
        for _ in 0..steps {
            let next = step(grid, &now, &before);
            energies.push(energy_of(grid, &now, &next));
            (before, now) = (now, next);
        }
        (now, energies)
    }

    #[test]
    fn the_energy_stays_and_the_wave_moves() {
        let grid = Grid { edge: 32, steps: 0, slabs: 3 };
        let (field, energies) = run(&grid, 200);
        let first = energies[0];
        assert!(first > 1.0, "there is a wave: {first}");
        let drift = energies.iter().map(|e| (e - first).abs() / first).fold(0.0, f64::max);
        assert!(drift < 1e-11, "drift {drift:e}");
        let mut rest = vec![0.0; cells(&grid, 0)];
        pulse(&grid, 0, &mut rest);
        assert!(field[0].iter().zip(&rest).any(|(a, b)| (a - b).abs() > 0.1));
    }

    #[test]
    fn the_cut_into_slabs_changes_no_bit() {
        let (one, _) = run(&Grid { edge: 32, steps: 0, slabs: 1 }, 40);
        let (three, _) = run(&Grid { edge: 32, steps: 0, slabs: 3 }, 40);
        assert_eq!(one.concat(), three.concat());
    }

    #[test]
    fn a_wrong_plane_shows_in_the_energy() {
        let grid = Grid { edge: 32, steps: 0, slabs: 2 };
        let (before, now) = (start(&grid), start(&grid));
        let next = step(&grid, &now, &before);
        let right = energy_of(&grid, &now, &next);
        let mut wrong = next.clone();
        let middle = wrong[0].len() / 2;
        wrong[0][middle..middle + 32].fill(0.5);
        let off = (energy_of(&grid, &now, &wrong) - right).abs() / right;
        assert!(off > 1e-6, "only {off:e} off");
    }

    fn energy_of(grid: &Grid, now: &[Vec<f64>], next: &[Vec<f64>]) -> f64 {
        let now: Vec<&[f64]> = now.iter().map(Vec::as_slice).collect();
        let next: Vec<&[f64]> = next.iter().map(Vec::as_slice).collect();
        Wave::new(*grid).energy(&now, &next)
    }
}
