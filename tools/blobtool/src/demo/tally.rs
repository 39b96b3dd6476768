//! What the processes reported, added up.

use super::events::{Event, Role};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A process that was killed, and what came of it.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Who.
    pub role: Role,
    /// At which step.
    pub step: u32,
    /// When.
    pub at: Instant,
    /// Until its replacement had done its first step.
    pub back_after: Option<Duration>,
    /// Steps that the others stored or saw meanwhile.
    pub others_meanwhile: u32,
}

/// The sums.
#[derive(Debug, Default)]
pub struct Tally {
    /// From the first start to the last end.
    pub wall: Duration,
    /// Bytes that writers reported as stored.
    pub stored_bytes: u64,
    /// Steps stored: one for each writer and step.
    pub stored_steps: u32,
    /// Time in the store's calls, over all writers.
    pub store_time: Duration,
    /// Time of the steps, over all writers.
    pub write_time: Duration,
    /// Time of each step in the store's calls.
    pub store_calls: Vec<Duration>,
    /// Bytes that readers looked at, over all readers.
    pub seen_bytes: u64,
    /// Time of looking, over all readers.
    pub read_time: Duration,
    /// Nanoseconds of a `get`.
    pub get_ns: Vec<f64>,
    /// The most memory that a reader had of its own.
    pub own_bytes_max: u64,
    /// What each reader computed, by step.
    pub values: HashMap<(u32, u32), u64>,
    /// The next step of each reader.
    pub next_step: HashMap<u32, u32>,
    /// Who was killed.
    pub kills: Vec<Kill>,
}

impl Tally {
    /// Adds what a process said in this life.
    pub fn add(&mut self, role: Role, life: u32, event: &Event) {
        match (event, role) {
            (Event::Begun { .. }, _) => return,
            (Event::Stored { bytes, store_ns, busy_ns, .. }, _) => {
                self.stored_bytes += bytes;
                self.stored_steps += 1;
                self.store_time += Duration::from_nanos(*store_ns);
                self.write_time += Duration::from_nanos(*busy_ns);
                self.store_calls.push(Duration::from_nanos(*store_ns));
            }
            (
                Event::Seen { step, bytes, value, busy_ns, get_ns, own_bytes },
                Role::Reader(reader),
            ) => {
                self.seen_bytes += bytes;
                self.read_time += Duration::from_nanos(*busy_ns);
                self.get_ns.extend(get_ns);
                self.own_bytes_max = self.own_bytes_max.max(*own_bytes);
                self.values.insert((reader, *step), *value);
                self.next_step.insert(reader, step + 1);
            }
            (Event::Seen { .. }, Role::Writer(_)) => return,
        }
        for kill in self.kills.iter_mut().filter(|kill| kill.back_after.is_none()) {
            if kill.role == role && life > 0 {
                kill.back_after = Some(kill.at.elapsed());
            } else if kill.role != role {
                kill.others_meanwhile += 1;
            }
        }
    }
}

/// The value below which a share of the samples lies; 0 if there are none.
pub fn quantile<T: Copy + PartialOrd + Default>(samples: &[T], share: f64) -> T {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let at = (share * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_samples() {
        let samples: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!((quantile(&samples, 0.5), quantile(&samples, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&samples, 1.0), quantile::<f64>(&[], 0.5)), (99.0, 0.0));
    }

    #[test]
    fn a_kill_is_over_when_the_next_life_has_done_a_step() {
        let (victim, other) = (Role::Writer(1), Role::Writer(0));
        let kill = Kill {
            role: victim,
            step: 3,
            at: Instant::now(),
            back_after: None,
            others_meanwhile: 0,
        };
        let mut tally = Tally { kills: vec![kill], ..Tally::default() };
        let stored = Event::Stored { step: 2, bytes: 10, store_ns: 1, busy_ns: 2 };
        tally.add(victim, 0, &stored);
        tally.add(other, 0, &stored);
        assert!(tally.kills[0].back_after.is_none());
        tally.add(victim, 1, &stored);
        tally.add(other, 0, &stored);
        assert!(tally.kills[0].back_after.is_some());
        assert_eq!((tally.kills[0].others_meanwhile, tally.stored_bytes), (1, 40));
    }
}
