//! Samples of one quantity, and sides measured in turn.

use anyhow::Result;

/// What one side gave, round by round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds the value of a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle value: half of the rounds gave no more.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
        }
    }

    /// The least.
    pub fn min(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    /// The greatest.
    pub fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// This side over another, round by round: what disturbs both in one round cancels out.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Measures `N` sides in turn for `rounds` rounds, after one that is not counted. Every second round
/// goes through the sides backwards, so that none always has the same one before it.
pub fn in_turn<const N: usize>(
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<[Samples; N]> {
    let mut sides = std::array::from_fn(|_| Samples::default());
    for round in 0..=rounds {
        for step in 0..N {
            let side = if round % 2 == 0 { step } else { N - 1 - step };
            let value = measure(side)?;
            if round > 0 {
                sides[side].push(value);
            }
        }
    }
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Samples::from_iter([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples::from_iter([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    }

    #[test]
    fn sides_take_turns_and_the_first_round_does_not_count() {
        let mut order = Vec::new();
        let [a, b] = in_turn(2, |side| {
            order.push(side);
            Ok(order.len() as f64)
        })
        .unwrap();
        assert_eq!(order, [0, 1, 1, 0, 0, 1]);
        assert_eq!((a.0, b.0), (vec![4.0, 5.0], vec![3.0, 6.0]));
    }
}
