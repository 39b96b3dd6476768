//! Running a program with its output kept, and with an end.

use crate::place::Place;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left.
pub struct Ran {
    /// How it ended; `None` if it was killed because its time ran out.
    pub status: Option<ExitStatus>,
    /// Everything that it printed.
    pub output: String,
}

impl Ran {
    /// Whether it said that all was well.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Whether it ended by a signal.
    pub fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.signal().is_some())
    }
}

/// Runs a command to its end; what it prints goes through a file, so that no pipe can fill up.
pub fn capture(place: &Place, name: &str, command: &mut Command) -> io::Result<Ran> {
    capture_for(place, name, command, Duration::MAX)
}

/// As [`capture`], but kills the program after a while.
pub fn capture_for(
    place: &Place,
    name: &str,
    command: &mut Command,
    time: Duration,
) -> io::Result<Ran> {
    let dir = place.target("xtask");
    fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{name}.log"));
    let file = File::create(&path)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn()?;
    let begin = Instant::now();
    let status = if time == Duration::MAX {
        Some(child.wait()?)
    } else {
        loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if begin.elapsed() > time => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
    };
    let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    Ok(Ran { status, output })
}

/// Ticks of the kernel's accounts in a second (USER_HZ).
const TICKS: f64 = 100.0;

/// Seconds of processor time of this process and of all programs that it has run to their ends; 0 where
/// the kernel does not tell.
pub fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&stat) as f64 / TICKS
}

/// The four fields of proc_pid_stat(5) from `utime` on, which stand behind a name that may hold anything.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// So many programs run side by side: most keep one core busy.
const AT_A_TIME: usize = 2;

/// Does the work for each item, a few at a time; the results in order.
pub fn some_at_a_time<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let next = Mutex::new(items.iter().enumerate());
    let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || -> io::Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        while let Some((at, item)) = take() {
            done.push((at, work(item)?));
        }
        Ok(done)
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            done.extend(worker.join().expect("a worker does not panic")?);
        }
        io::Result::Ok(())
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str, time: Duration) -> Ran {
        let place = Place::find();
        let name = format!("self-test-{name}");
        capture_for(&place, &name, place.command("sh").args(["-c", script]), time).unwrap()
    }

    #[test]
    fn both_outputs_are_kept_in_order() {
        let ran = shell("order", "echo a; echo b >&2; echo c; exit 3", Duration::from_secs(60));
        assert_eq!(
            (ran.output.as_str(), ran.success(), ran.was_killed()),
            ("a\nb\nc\n", false, false)
        );
        assert_eq!(ran.status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let ran = shell("time", "echo a; exec sleep 1000", Duration::from_millis(200));
        assert!(ran.status.is_none() && !ran.success());
    }

    #[test]
    fn what_is_done_a_few_at_a_time_comes_in_order() {
        let done = some_at_a_time(&[1, 2, 3, 4, 5], |&n| Ok(n * n)).unwrap();
        assert_eq!(done, [1, 4, 9, 16, 25]);
        assert!(
            some_at_a_time(&[1, 2], |_| io::Result::<()>::Err(io::ErrorKind::Other.into()))
                .is_err()
        );
    }

    #[test]
    fn programs_that_have_ended_count_as_processor_time() {
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 50 60"), 127);
        assert_eq!(ticks(""), 0);
        let before = processor_seconds();
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(shell("busy", busy, Duration::from_secs(60)).success());
        assert!(processor_seconds() > before);
    }

    #[test]
    fn a_death_by_signal_is_told_from_an_exit() {
        assert!(shell("signal", "kill -ABRT $$", Duration::from_secs(60)).was_killed());
    }
}
