//! The performance: starts the processes, listens, kills one writer and one reader in the middle of
//! their work, starts others in their place, and waits for the end.

use super::crew::{Message, Worker};
use super::events::{Assignment, Event, Role};
use super::plan::{Plan, Work};
use super::tally::{Kill, Tally};
use crate::exit::{ERROR, Failure, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// As long as somebody says something in this time, all is well.
const SILENCE_MAX: Duration = Duration::from_secs(180);

/// Plays the plan to its end.
pub fn play(plan: &Plan) -> Outcome<Tally> {
    let (messages, heard) = mpsc::channel();
    let mut show = Show {
        plan,
        messages,
        workers: HashMap::new(),
        tally: Tally::default(),
        bar: bar(plan),
        victims: victims(plan),
    };
    let begin = Instant::now();
    let writers = (0..plan.writers).map(Role::Writer);
    for role in writers.chain((0..plan.readers).map(Role::Reader)) {
        show.start(role, 0)?;
    }
    show.listen(&heard)?;
    show.tally.wall = begin.elapsed();
    show.bar.finish_and_clear();
    Ok(show.tally)
}

struct Show<'a> {
    plan: &'a Plan,
    messages: Sender<Message>,
    workers: HashMap<Role, Worker>,
    tally: Tally,
    bar: ProgressBar,
    /// Who is to be killed, and at which step.
    victims: Vec<(Role, u32)>,
}

/// One writer, in the middle of filling a Draft; one reader, a little later.
fn victims(plan: &Plan) -> Vec<(Role, u32)> {
    let writer = match &plan.work {
        Work::Wave(grid) => (Role::Writer(grid.slabs / 2), grid.steps * 2 / 5),
        Work::Files(files) => {
            let share = (files.len() as u32).div_ceil(plan.writers);
            (Role::Writer(0), share / 2 * plan.writers)
        }
    };
    vec![writer, (Role::Reader(plan.readers - 1), plan.steps() * 3 / 5)]
}

impl Show<'_> {
    fn start(&mut self, role: Role, life: u32) -> Outcome {
        let from = match role {
            Role::Reader(reader) => self.tally.next_step.get(&reader).copied().unwrap_or(0),
            Role::Writer(_) => 0,
        };
        let assignment = Assignment { plan: self.plan.clone(), role, from };
        let worker = Worker::start(&assignment, life, self.messages.clone())?;
        self.workers.insert(role, worker);
        Ok(())
    }

    fn listen(&mut self, heard: &Receiver<Message>) -> Outcome {
        while !self.workers.is_empty() {
            let message = match heard.recv_timeout(SILENCE_MAX) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let silent = format!("no process has said anything for {SILENCE_MAX:?}");
                    return Err(Failure::new(ERROR, silent));
                }
            };
            match &message.event {
                Some(event) => self.hear(&message, event)?,
                None => self.part(&message)?,
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &Message, event: &Event) -> Outcome {
        self.tally.add(message.role, message.life, event);
        if matches!(event, Event::Stored { .. }) {
            self.bar.inc(1);
        }
        let (Event::Begun { step } | Event::Seen { step, .. }) = event else { return Ok(()) };
        let is_due = |victim: &(Role, u32)| victim.0 == message.role && *step >= victim.1;
        match self.victims.iter().position(is_due) {
            Some(at) => {
                self.victims.swap_remove(at);
                self.kill(message.role, *step)
            }
            None => Ok(()),
        }
    }

    fn kill(&mut self, role: Role, step: u32) -> Outcome {
        let Some(mut worker) = self.workers.remove(&role) else { return Ok(()) };
        worker.kill()?;
        self.bar.set_message(format!("kill -9 {}, and another in its place", name(role)));
        let at = Instant::now();
        self.tally.kills.push(Kill { role, step, at, back_after: None, others_meanwhile: 0 });
        self.start(role, worker.life + 1)
    }

    /// Somebody has said all: done, or dead by our hand, or a failure.
    fn part(&mut self, message: &Message) -> Outcome {
        let is_it = |worker: &Worker| worker.life == message.life;
        if !self.workers.get(&message.role).is_some_and(is_it) {
            return Ok(());
        }
        let Some(mut worker) = self.workers.remove(&message.role) else { return Ok(()) };
        let status = worker.wait()?;
        if status.success() {
            return Ok(());
        }
        let who = name(message.role);
        Err(Failure::new(ERROR, format!("{who} of the demonstration failed: {status}")))
    }
}

/// A process, for a person.
pub fn name(role: Role) -> String {
    match role {
        Role::Writer(index) => format!("writer {index}"),
        Role::Reader(index) => format!("reader {index}"),
    }
}

fn bar(plan: &Plan) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(plan.blobs()), ProgressDrawTarget::stderr());
    let template = "[{wide_bar}] {pos} of {len} arrays, {elapsed}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(format!("{} writers, {} readers", plan.writers, plan.readers));
    bar
}
