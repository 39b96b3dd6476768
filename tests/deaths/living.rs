//! The living: processes that have the store open while something happens to another, and go on.
#![forbid(unsafe_code)]

use crate::content::{Bound, Content, Doer, Op, content};
use crate::peer::{listen, say};
use crate::scripts::scripts;
use crate::support::KIB;
use drystone::{Durability, FsckOptions, Store};
use std::path::Path;
use std::time::Instant;

/// The segments of the stores here.
pub const SEGMENT_BYTES: u64 = 256 * KIB as u64;
/// What the child of a dead victim puts.
pub const OF_ORPHANS: Content = content(2000, 77);

/// What the living do, each, once something has happened to the victim.
pub fn round(who: u64) -> Vec<Op> {
    let (small, gone) = (content(300, 1000 + who), content(400, 1100 + who));
    let keys = [["p0 name", "p0 number", "p0 draft"], ["p1 name", "p1 number", "p1 draft"]];
    let [name, number, draft] = keys[who as usize];
    let several = (0..5).map(|i| content(50, 1200 + 10 * who + i)).collect();
    vec![
        Op::Put(small),
        Op::Put(content(2 * KIB, 1300)),
        Op::Set(name, Bound::Blob(small)),
        Op::Get(small),
        Op::PutMany(several),
        Op::DraftAs(draft, content(70 * KIB, 1400 + who)),
        Op::CompareAndSet(number, Bound::Number(who)),
        Op::Put(gone),
        Op::Remove(gone),
        Op::RemoveRef(number),
    ]
}

/// The role of the living.
pub fn live(who: u64) {
    let scripts = scripts();
    let mut store = None;
    say("ready");
    loop {
        let line = listen();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let number = || -> usize { rest.parse().unwrap() };
        let answer = match (word, &store) {
            ("make" | "open", _) => {
                drop(store.take());
                store = Some(open(Path::new(rest), word == "make", Durability::Buffered));
                "done".to_owned()
            }
            ("before", Some(store)) => act(store, &scripts[number()].before),
            ("round", Some(store)) => {
                let start = Instant::now();
                act(store, &round(who));
                start.elapsed().as_micros().to_string()
            }
            ("finish", Some(store)) => {
                let (script, from) = rest.split_once(' ').unwrap();
                let (script, from): (usize, usize) =
                    (script.parse().unwrap(), from.parse().unwrap());
                let synced = open(store.path(), false, Durability::Synced);
                act(&synced, &scripts[script].ops[from..])
            }
            ("sync", Some(store)) => store.sync().map(|()| "done".to_owned()).unwrap(),
            ("repair", None) => {
                let options = FsckOptions::new().repair(true).threads(1);
                drystone::fsck(rest, &options).unwrap();
                "done".to_owned()
            }
            ("close", _) => {
                store = None;
                "done".to_owned()
            }
            ("", _) => return,
            (word, _) => panic!("no such word: {word}"),
        };
        say(answer);
    }
}

fn open(place: &Path, makes: bool, durability: Durability) -> Store {
    let options = Store::options().create(makes).segment_bytes(SEGMENT_BYTES).threads(2);
    options.durability(durability).open(place).unwrap()
}

fn act(store: &Store, ops: &[Op]) -> String {
    let mut doer = Doer::new(store);
    ops.iter().for_each(|op| doer.act(op).unwrap());
    doer.look_at_views();
    "done".to_owned()
}
