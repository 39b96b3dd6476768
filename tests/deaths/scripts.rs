//! The scripted operations: what is there before, what the one who is to die does.
#![forbid(unsafe_code)]

use crate::content::{Bound, Content, Op, content};
use crate::support::KIB;
use drystone::Durability;

/// How the one who is to die meets the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It has it open.
    Opened,
    /// It opens it; the others have it open.
    Opening,
    /// It makes it; nobody else is there.
    Making,
    /// It opens it after the run was lost; nobody else is there.
    Recovering,
    /// It mends it after a blob was damaged; nobody else is there.
    Repairing,
}

/// What is tested together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Opens,
    Puts,
    Changes,
    Space,
    Repair,
}

/// See the head of this file.
pub struct Script {
    pub name: &'static str,
    pub group: Group,
    pub begin: Begin,
    pub durability: Durability,
    /// What others have done before.
    pub before: Vec<Op>,
    /// What it has done itself before its steps are counted.
    pub prepared: Vec<Op>,
    /// What it is doing.
    pub ops: Vec<Op>,
}

const SMALL: Content = content(900, 1);
const KNOWN: Content = content(5 * KIB, 2);
const NAMED: Content = content(3000, 3);
const LARGE: Content = content(150 * KIB, 4);

fn many(len: usize, seeds: std::ops::Range<u64>) -> Vec<Content> {
    seeds.map(|seed| content(len + seed as usize, seed)).collect()
}

/// What is there in most scripts.
fn furniture() -> Vec<Op> {
    vec![
        Op::Put(KNOWN),
        Op::Put(NAMED),
        Op::Set("blob", Bound::Blob(NAMED)),
        Op::Set("number", Bound::Number(1)),
    ]
}

fn script(group: Group, name: &'static str, ops: Vec<Op>) -> Script {
    Script {
        name,
        group,
        begin: Begin::Opened,
        durability: Durability::Buffered,
        before: furniture(),
        prepared: Vec::new(),
        ops,
    }
}

fn synced(script: Script) -> Script {
    Script { durability: Durability::Synced, ..script }
}

/// All of them, each with its group, the longest of a group first.
pub fn scripts() -> Vec<Script> {
    [opens(), puts(), changes(), spaces(), repairs()].into_iter().flatten().collect()
}

fn puts() -> Vec<Script> {
    let script = |name, ops| script(Group::Puts, name, ops);
    let first = || vec![Op::Put(content(10, 90))];
    let own = |script: Script| Script { prepared: first(), ..script };
    vec![
        Script {
            before: [furniture(), vec![Op::PutMany(many(60, 200..216))]].concat(),
            ..script("grow", vec![Op::PutMany(many(60, 216..240))])
        },
        script("put new", vec![Op::Put(SMALL)]),
        own(script("put more", vec![Op::Put(SMALL), Op::Put(content(70 * KIB, 5))])),
        synced(script("put new, synced", vec![Op::Put(SMALL)])),
        script("put a duplicate", vec![Op::Put(KNOWN)]),
        synced(script("put a duplicate, synced", vec![Op::Put(KNOWN), Op::Put(NAMED)])),
        Script {
            prepared: vec![Op::Put(LARGE)],
            ..script("roll over", vec![Op::Put(content(140 * KIB, 6))])
        },
        script("put large", vec![Op::Put(content(700 * KIB, 7))]),
        synced(script("put large, synced", vec![Op::PutReader(content(600 * KIB, 8))])),
        script("put many", vec![Op::PutMany(many(100, 100..112))]),
        own(script("draft", vec![Op::Draft(content(90 * KIB, 9)), Op::Draft(content(800, 10))])),
        script("draft with a name", vec![Op::DraftAs("draft", content(100 * KIB, 11))]),
    ]
}

fn changes() -> Vec<Script> {
    let script = |name, ops| script(Group::Changes, name, ops);
    vec![
        script(
            "set",
            vec![Op::Set("fresh", Bound::Number(2)), Op::Set("number", Bound::Number(3))],
        ),
        script(
            "set to a blob",
            vec![Op::Set("fresh", Bound::Blob(KNOWN)), Op::Set("blob", Bound::Blob(KNOWN))],
        ),
        synced(script("set, synced", vec![Op::Set("number", Bound::Blob(NAMED))])),
        script("set bytes", vec![Op::SetBytes("bytes", content(9 * KIB, 12))]),
        script(
            "compare and set",
            vec![
                Op::CompareAndSet("number", Bound::Number(4)),
                Op::CompareAndSet("number", Bound::Number(5)),
            ],
        ),
        script("remove a ref", vec![Op::RemoveRef("number"), Op::RemoveRef("blob")]),
        script("unpin", vec![Op::Unpin(KNOWN), Op::Unpin(NAMED)]),
        script("remove", vec![Op::Remove(KNOWN), Op::Put(KNOWN), Op::Remove(NAMED)]),
        synced(script("remove, synced", vec![Op::Remove(NAMED), Op::RemoveRef("number")])),
        script("get and hold", vec![Op::Hold(KNOWN), Op::Get(NAMED), Op::Remove(KNOWN)]),
        script("walk", vec![Op::Walk]),
        script("sync", vec![Op::Put(SMALL), Op::Sync]),
    ]
}

fn opens() -> Vec<Script> {
    let script = |name, ops| script(Group::Opens, name, ops);
    let put = || vec![Op::Put(SMALL)];
    vec![
        Script { begin: Begin::Making, before: Vec::new(), ..script("make", put()) },
        Script { begin: Begin::Recovering, ..script("recover", put()) },
        Script { begin: Begin::Opening, ..script("open", put()) },
    ]
}

/// What is there before space is gained: sealed segments of which this and that is garbage.
fn littered() -> Vec<Op> {
    littered_among(9)
}

fn littered_among(count: usize) -> Vec<Op> {
    let filling: Vec<Content> = (0..count).map(|i| content(60 * KIB + i, 300 + i as u64)).collect();
    let put = filling.iter().map(|content| Op::Put(*content));
    let small = many(90, 320..326);
    let mut ops: Vec<Op> = furniture().into_iter().chain([Op::PutMany(small.clone())]).collect();
    ops.push(Op::SetBytes("old", content(9 * KIB, 330)));
    ops.extend(put);
    ops.extend(filling.iter().step_by(2).map(|content| Op::Unpin(*content)));
    ops.extend([
        Op::Unpin(NAMED),
        Op::Unpin(small[0]),
        Op::Remove(small[1]),
        Op::Remove(filling[1]),
        Op::Set("kept", Bound::Blob(filling[2])),
        Op::SetBytes("old", content(9 * KIB, 331)),
        Op::RemoveRef("number"),
    ]);
    ops
}

fn spaces() -> Vec<Script> {
    let script = |name, ops| script(Group::Space, name, ops);
    vec![
        // Segments for each lane, with garbage in each that the other lane has moved what superseded it.
        Script {
            before: littered_among(18),
            ..script("compact in two lanes", vec![Op::CompactInLanes])
        },
        Script { before: littered(), ..script("compact", vec![Op::Compact]) },
        Script {
            before: littered(),
            prepared: vec![Op::Put(LARGE), Op::Put(content(140 * KIB, 13)), Op::Unpin(LARGE)],
            ..script("compact again", vec![Op::Compact, Op::Unpin(KNOWN), Op::Compact])
        },
        Script {
            before: furniture(),
            ..script("collect", vec![Op::Unpin(KNOWN), Op::Put(SMALL), Op::Compact])
        },
    ]
}

/// What is damaged where something is to be mended: it is lost.
pub const HURT: Content = content(4 * KIB, 400);

fn repairs() -> Vec<Script> {
    let before = [vec![Op::Put(HURT)], littered()].concat();
    let script = script(Group::Repair, "repair", Vec::new());
    vec![Script { begin: Begin::Repairing, before, ..script }]
}
