//! Every structure against spec/vectors/structures.txt, which another implementation made.
#![forbid(unsafe_code)]

use super::record::{Header, Kind, Place, RawPin, State, alignment, header_offset, record_bytes};
use super::refs::{RefBody, pin_key, ref_digest, ref_key};
use super::segment::{Entry, Head, Trailer};
use super::superblock::Superblock;
use crate::id::{BlobId, HashAlgorithm, Key};
use std::collections::HashMap;
use zerocopy::{FromBytes, IntoBytes};

/// A line: `name argument=value ... -> answer`.
struct Vector<'t> {
    name: &'t str,
    arguments: HashMap<&'t str, &'t str>,
    answer: &'t str,
}

impl<'t> Vector<'t> {
    fn new(line: &'t str) -> Self {
        let (question, answer) = line.split_once(" -> ").expect("an answer");
        let (name, arguments) = question.split_once(' ').expect("arguments");
        let arguments = arguments.split(' ').map(|word| word.split_once('=').expect("a value"));
        Self { name, arguments: arguments.collect(), answer }
    }

    fn text(&self, name: &str) -> &'t str {
        self.arguments.get(name).unwrap_or_else(|| panic!("{} needs {name}", self.name))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }

    fn small<T: TryFrom<u64, Error: std::fmt::Debug>>(&self, name: &str) -> T {
        T::try_from(self.number(name)).unwrap()
    }

    fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
        unhex(self.text(name)).try_into().unwrap()
    }

    fn hash(&self) -> HashAlgorithm {
        HashAlgorithm::from_code(self.small("hash")).unwrap()
    }

    fn header(&self) -> Header {
        Header {
            kind: Kind::from_code(self.small("kind")).unwrap(),
            state: State::from_code(self.small("state")).unwrap(),
            align_log2: self.small("align_log2"),
            body_len: self.number("body_len"),
            sequence: self.number("sequence"),
            digest: self.bytes("digest"),
        }
    }

    fn ref_body(&self) -> RefBody {
        let blob = |item: &str| {
            let (digest, held) = item.split_once('@').unwrap();
            (unhex(digest).try_into().unwrap(), held.parse().unwrap())
        };
        RefBody {
            namespace: String::from_utf8(unhex(self.text("namespace"))).unwrap(),
            key: unhex(self.text("key")),
            blobs: items(self.text("blobs")).map(blob).collect(),
            inline: self.arguments.get("inline").map(|hex| unhex(hex)),
            tags: items(self.text("tags")).map(|t| String::from_utf8(unhex(t)).unwrap()).collect(),
            metadata: unhex(self.text("metadata")),
            created_ns: self.number("created_ns"),
            expires_ns: self.number("expires_ns"),
            is_single: self.number("single") == 1,
        }
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(move |_| !list.is_empty())
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_of_key(key: Key) -> String {
    format!("{:016x}{:016x}", key.hi, key.lo)
}

/// What this crate answers; each structure that can be read is read back, too.
fn answer(v: &Vector<'_>) -> String {
    match v.name {
        "superblock" => superblock(v),
        "head" => {
            let head = Head::new(v.bytes("uuid"), v.small("segment"), v.number("created_ns"));
            assert_eq!(head.fault(&v.bytes("uuid"), v.small("segment")), None);
            hex(head.as_bytes())
        }
        "header" => {
            let place = Place::new(&v.bytes("uuid"), v.small("segment"));
            let bytes = v.header().encode(place, v.number("offset"));
            assert_eq!(Header::decode(&bytes, place, v.number("offset")), Some(v.header()));
            hex(&bytes)
        }
        "pin" => {
            let digest = v.bytes("digest");
            let pin = RawPin::new(&digest, v.number("held"), v.number("created_ns"));
            assert!(pin.is_valid(&digest));
            hex(pin.as_bytes())
        }
        "ref_key" => {
            let namespace = String::from_utf8(unhex(v.text("namespace"))).unwrap();
            hex_of_key(ref_key(&v.bytes("uuid"), &namespace, &unhex(v.text("key"))))
        }
        "pin_key" => {
            let id = BlobId::from_padded(v.hash(), v.bytes("digest"));
            hex_of_key(pin_key(&v.bytes("uuid"), &id))
        }
        "ref_body" => {
            let bytes = v.ref_body().encode();
            assert_eq!(RefBody::decode(&bytes), Some(v.ref_body()));
            hex(&bytes)
        }
        "ref_digest" => {
            let key = u128::from_be_bytes(v.bytes("key"));
            hex(&ref_digest(Key::from_u128(key), &unhex(v.text("body"))))
        }
        "entry" => {
            let entry = Entry::new(&v.header(), v.number("offset"), v.number("held"));
            assert_eq!((entry.header(), entry.offset()), (Some(v.header()), v.number("offset")));
            hex(entry.as_bytes())
        }
        "trailer" => trailer(v),
        "record_bytes" => {
            let kind = Kind::from_code(v.small("kind")).unwrap();
            record_bytes(kind, v.number("body_len"), v.number("digest_bytes")).to_string()
        }
        "header_offset" => {
            let align = alignment(v.number("body_len"));
            header_offset(v.number("tail"), align).unwrap().to_string()
        }
        name => panic!("nothing here answers {name}"),
    }
}

fn superblock(v: &Vector<'_>) -> String {
    let block = Superblock {
        hash: v.hash(),
        uuid: v.bytes("uuid"),
        segment_bytes: v.number("segment_bytes"),
        created_ns: v.number("created_ns"),
    };
    let file = block.encode();
    assert_eq!(Superblock::decode(&file).unwrap(), block);
    assert_eq!(file[..64], file[4096..4160]);
    hex(&file[..64])
}

fn trailer(v: &Vector<'_>) -> String {
    let bytes = unhex(v.text("entries"));
    let entries = <[Entry]>::ref_from_bytes(&bytes).unwrap();
    let (segment, offset) = (v.small("segment"), v.number("entries_offset"));
    let trailer = Trailer::new(segment, offset, entries, v.number("durable_bytes"));
    assert!(trailer.is_valid(segment, offset + bytes.len() as u64) && trailer.vouches_for(&bytes));
    hex(trailer.as_bytes())
}

#[test]
fn structures_are_those_of_the_vectors() {
    let text = include_str!("../../spec/vectors/structures.txt");
    let mut counts = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let vector = Vector::new(line);
        assert_eq!(answer(&vector), vector.answer, "{line}");
        *counts.entry(vector.name).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 12, "{counts:?}");
    assert_eq!(counts["header"], 9);
}
