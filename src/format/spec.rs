//! spec/FORMAT.md against the code: every structure, constant and code is in both, and the same.
#![forbid(unsafe_code)]

mod document;

use super::record::{Kind, RawHeader, RawPin, State};
use super::refs::{RawNamed, RawRef};
use super::segment::{Entry, Head, Trailer};
use super::superblock::RawSuperblock;
use super::word::{Location, Root, Word};
use super::{control, record, refs, segment, superblock};
use crate::id::HashAlgorithm;
use crate::{hash, units};
use document::{Document, Field, number, unquoted};
use std::collections::BTreeMap;
use std::mem::offset_of;

fn document() -> Document {
    Document::parse(include_str!("../../spec/FORMAT.md"))
}

/// A structure of the code, field by field.
struct Layout {
    name: &'static str,
    bytes: usize,
    fields: Vec<Field>,
}

fn size_of_field<S, T>(_: impl Fn(&S) -> &T) -> usize {
    size_of::<T>()
}

/// Lists structures; one that is left out of the list of its fields does not compile.
macro_rules! layouts {
    ($($structure:ident { $($field:ident),* $(,)? })*) => {
        vec![$({
            fn complete(value: &$structure) {
                let $structure { $($field: _),* } = value;
            }
            let _ = complete;
            Layout {
                name: stringify!($structure),
                bytes: size_of::<$structure>(),
                fields: vec![$(Field {
                    offset: offset_of!($structure, $field),
                    size: size_of_field(|value: &$structure| &value.$field),
                    name: stringify!($field).to_owned(),
                }),*],
            }
        }),*]
    };
}

fn layouts() -> Vec<Layout> {
    layouts! {
        RawSuperblock {
            magic, version, hash, reserved, uuid, segment_bytes, chunk_bytes, created_ns, checksum,
        }
        Head { magic, version, flags, uuid, segment, created_ns, reserved, checksum }
        RawHeader {
            magic, kind, state, align_log2, encoding, body_len, sequence, digest, checksum,
        }
        RawRef {
            flags, namespace_len, key_len, blob_count, tags_len, metadata_len, inline_len,
            created_ns, expires_ns,
        }
        RawNamed { digest, held }
        RawPin { held, created_ns, checksum }
        Entry { kind, state, align_log2, encoding, step, body_len, sequence, digest, held }
        Trailer {
            magic, segment, entries_offset, entry_count, entries_checksum, sequence_max,
            durable_bytes, checksum,
        }
    }
}

#[test]
fn every_structure_is_documented_as_it_is() {
    let document = document();
    let mut documented: BTreeMap<_, _> =
        document.structures().into_iter().map(|found| (found.name.clone(), found)).collect();
    for layout in layouts() {
        let found = documented.remove(layout.name).unwrap_or_else(|| {
            panic!("spec/FORMAT.md has no heading with `{}` and its size", layout.name)
        });
        assert_eq!(found.bytes, layout.bytes, "bytes of {}", layout.name);
        assert_eq!(found.fields, layout.fields, "fields of {}", layout.name);
        let end: usize = layout.fields.iter().map(|field| field.size).sum();
        assert_eq!(end, layout.bytes, "{} has padding", layout.name);
    }
    assert!(documented.is_empty(), "documented, but not in the code: {:?}", documented.keys());
}

#[test]
fn every_structure_that_stands_in_a_file_is_looked_at() {
    let names: Vec<_> = layouts().iter().map(|layout| layout.name).collect();
    for (module, source) in SOURCES {
        for (at, _) in source.match_indices("#[repr(C)]\npub struct ") {
            let rest = &source[at + "#[repr(C)]\npub struct ".len()..];
            let name = rest.split([' ', '<', '(']).next().unwrap_or_default();
            assert!(names.contains(&name), "{module}::{name} is in no table of the test");
        }
    }
}

#[test]
fn diagrams_show_the_tables() {
    for structure in document().structures() {
        let expected = document::diagram(&structure.fields);
        assert_eq!(
            structure.diagram.trim_end(),
            expected,
            "{} should be\n{expected}",
            structure.name
        );
    }
}

/// A constant as the document may write it: as a number, or as text.
trait Shown {
    fn is_shown_as(&self, cell: &str) -> bool;
}

macro_rules! shown_integers {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            fn is_shown_as(&self, cell: &str) -> bool {
                match unquoted(cell) {
                    Some(text) => self.to_le_bytes()[..] == text[..],
                    None => number(cell) == Some(*self as u64),
                }
            }
        }
    )*};
}
shown_integers!(u32, u64, usize);

impl Shown for [u8; 8] {
    fn is_shown_as(&self, cell: &str) -> bool {
        unquoted(cell).is_some_and(|text| text == self)
    }
}

impl Shown for &str {
    fn is_shown_as(&self, cell: &str) -> bool {
        unquoted(cell).is_some_and(|text| text == self.as_bytes())
    }
}

/// Where a constant stands and what it is.
type Constant = (String, Box<dyn Shown>);

macro_rules! constants {
    ($($module:ident { $($name:ident $(= $value:expr)?),* $(,)? })*) => {
        vec![$($(
            (format!("{}::{}", stringify!($module), stringify!($name)),
             Box::new(constants!(@ $module $name $($value)?)) as Box<dyn Shown>)
        ),*),*]
    };
    (@ $module:ident $name:ident) => { $module::$name };
    (@ $module:ident $name:ident $value:expr) => { $value };
}

fn constants() -> Vec<Constant> {
    constants! {
        units {
            CHUNK_BYTES, STEP_BYTES, PAGE_ALIGNED_BYTES_MIN, PAGE_BYTES, SEGMENT_BYTES_MIN,
            SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
        }
        hash { XXH3_BLOB_SEED }
        superblock { MAGIC, VERSION, COPY_BYTES, FILE_BYTES }
        segment { HEAD_MAGIC, TRAILER_MAGIC, VERSION, HEAD_BYTES, TRAILER_BYTES, ENTRY_BYTES }
        record { MAGIC, HEADER_BYTES, STATE_OFFSET, BODY_BYTES_MAX, SEQUENCE_MAX, PIN_BYTES }
        refs {
            PINS, NAMESPACE_BYTES_MAX, KEY_BYTES_MAX, BLOBS_MAX, TAGS_MAX,
            TAG_BYTES_MAX, METADATA_BYTES_MAX,
        }
        control {
            MAGIC, PROTOCOL, BYTES, MAGIC_WORD, PROTOCOL_WORD, UUID_WORD, MOUNT_WORD, LIMIT_WORD,
            FIRST_SEQUENCE_WORD, FIRST_SEGMENT_WORD, ROOT_WORD, UNLINK_EPOCH_WORD, NEXT_SEGMENT_WORD,
            SEQUENCE_WORD, CHANGE_WORD,
            BYTES_APPENDED_WORD, POISON_COUNT_WORD, LOST_RECORDS_WORD, LOST_REFS_WORD,
            DAMAGED_SEGMENTS_WORD, BURIAL_WORD, OPEN_WORD, OPEN_SLOTS, POISON_WORD,
            POISON_SLOTS,
        }
        word {
            SEGMENT_MAX = Location::SEGMENT_MAX, NONE = Word::NONE.0, FROZEN = Word::FROZEN,
            VISITED = Word::VISITED, CONDEMNED = Word::CONDEMNED, REF = Word::REF, HOT = Word::HOT,
        }
    }
}

/// The sources whose public constants must all be documented.
const SOURCES: [(&str, &str); 8] = [
    ("units", include_str!("../units.rs")),
    ("hash", include_str!("../hash/blob.rs")),
    ("superblock", include_str!("superblock.rs")),
    ("segment", include_str!("segment.rs")),
    ("record", include_str!("record.rs")),
    ("refs", include_str!("refs.rs")),
    ("control", include_str!("control.rs")),
    ("word", include_str!("word.rs")),
];

#[test]
fn every_constant_is_documented_with_its_value() {
    let mut documented: BTreeMap<String, String> = BTreeMap::new();
    for row in document().rows(&["constant", "value", "meaning"]) {
        let before = documented.insert(row[0].trim_matches('`').to_owned(), row[1].clone());
        assert_eq!(before, None, "{} is documented twice", row[0]);
    }
    for (name, value) in constants() {
        let cell = documented.remove(&name).unwrap_or_else(|| panic!("{name} is not documented"));
        assert!(value.is_shown_as(&cell), "{name} is not {cell}");
    }
    assert!(documented.is_empty(), "documented, but not in the code: {documented:?}");
}

#[test]
fn no_public_constant_is_left_out() {
    let listed: Vec<String> = constants().into_iter().map(|(name, _)| name).collect();
    for (module, source) in SOURCES {
        let names = source.lines().filter_map(|line| {
            let rest = line.trim_start().strip_prefix("pub const ")?;
            Some(rest.split_once(':')?.0).filter(|name| !name.contains(' '))
        });
        for name in names.filter(|name| !matches!(*name, "KIB" | "MIB" | "GIB")) {
            let name = format!("{module}::{name}");
            assert!(listed.contains(&name), "{name} is in no table of the test");
        }
    }
}

fn codes_are<T: std::fmt::Debug>(name: &str, from_code: impl Fn(u8) -> Option<T>) {
    let mut documented = BTreeMap::new();
    for row in document().rows(&["code", &format!("`{name}`"), "meaning"]) {
        let code: u8 = row[0].parse().expect("a code");
        assert_eq!(documented.insert(code, row[1].clone()), None, "{name} {code} twice");
    }
    assert!(!documented.is_empty(), "no table of {name}");
    for code in 0..=u8::MAX {
        let expected = from_code(code).map(|value| format!("`{value:?}`"));
        let found = documented.get(&code).filter(|name| *name != "reserved").cloned();
        assert_eq!(found, expected, "{name} {code}");
    }
}

#[test]
fn codes_are_documented() {
    codes_are("Kind", Kind::from_code);
    codes_are("State", State::from_code);
    codes_are("HashAlgorithm", HashAlgorithm::from_code);
    let kinds = document().rows(&["code", "`Kind`", "meaning"]);
    let reserved = kinds.iter().filter(|row| row[1] == "reserved");
    assert_eq!(reserved.map(|row| row[0].as_str()).collect::<Vec<_>>(), ["16", "17"]);
}

#[test]
fn words_are_made_as_their_bits_are_documented() {
    let document = document();
    let bits = document.bits("Word");
    let [segment, offset] = [0xABC_DEF0, 0x3F_FFC0_u32];
    let location = Location::new(segment, u64::from(offset)).unwrap();
    // 4096 bytes are 64 steps: class 12.
    let parts = |kind, class| {
        bits.put("KIND", kind)
            | bits.put("CLASS", class)
            | bits.put("SEGMENT", u64::from(segment))
            | bits.put("STEP", u64::from(offset) / 64)
    };
    assert_eq!(Word::live(location, false, 4096).0, parts(1, 12));
    assert_eq!(Word::live(location, true, 6144).0, parts(1, 13) | bits.put("REF", 1));
    assert_eq!(Word::live(location, false, u64::MAX).0, parts(1, 31));
    assert_eq!(Word::tomb(location, false).0, parts(2, 0));
    assert_eq!(Word::live(location, false, 4096).dead().0, parts(3, 0));
    for (name, flag) in [
        ("FROZEN", Word::FROZEN),
        ("VISITED", Word::VISITED),
        ("CONDEMNED", Word::CONDEMNED),
        ("REF", Word::REF),
        ("HOT", Word::HOT),
    ] {
        assert_eq!(flag, bits.put(name, 1), "{name}");
    }
    assert_eq!(location.bits(), parts(0, 0));
}

#[test]
fn roots_are_made_as_their_bits_are_documented() {
    let document = document();
    let bits = document.bits("Root");
    let stable = bits.put("GENERATION", 0xDEAD_BEEF) | bits.put("LOG2", 17);
    assert_eq!(Root::stable(0xDEAD_BEEF, 17).0, stable);
    let growing = stable | bits.put("LOG2_NEXT", 18) | bits.put("MIGRATING", 1);
    assert_eq!(Root::stable(0xDEAD_BEEF, 17).migrating(18).0, growing);
}
