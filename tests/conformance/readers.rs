//! `put_reader`: readers that give little at a time, stop, are interrupted, fail or lie.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes, each_hash, read};
use drystone::ErrorKind;
use std::io::{self, Read};

/// What a reader does next.
#[derive(Clone, Copy)]
enum Step {
    /// Gives so many bytes at most.
    Give(usize),
    Interrupted,
    Fail,
    /// Says that it has given more than there was room for.
    Lie,
}

/// Yields `bytes` as `steps` say, again and again.
struct Fitful<'a> {
    bytes: &'a [u8],
    steps: std::iter::Cycle<std::vec::IntoIter<Step>>,
}

impl<'a> Fitful<'a> {
    #[allow(clippy::unnecessary_to_owned, reason = "the cycle owns its steps")]
    fn new(bytes: &'a [u8], steps: &[Step]) -> Self {
        Self { bytes, steps: steps.to_vec().into_iter().cycle() }
    }
}

impl Read for Fitful<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.steps.next() {
            Some(Step::Give(most)) => {
                let most = buffer.len().min(most);
                self.bytes.read(&mut buffer[..most])
            }
            Some(Step::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
            Some(Step::Lie) => Ok(buffer.len() + 1),
            Some(Step::Fail) | None => Err(io::Error::other("the tape broke")),
        }
    }
}

/// One size of every class that a reader meets: small, one chunk, some chunks, and their edges.
const SIZES: [usize; 10] = [
    0,
    1,
    64 * KIB,
    64 * KIB + 1,
    2 * MIB - 1,
    2 * MIB,
    2 * MIB + 1,
    4 * MIB,
    4 * MIB + 1,
    9 * MIB,
];

#[test]
fn short_reads_and_interruptions_do_not_matter() {
    each_hash(|store| {
        for len in SIZES {
            let content = bytes(len, 1);
            let steps = [Step::Give(1), Step::Interrupted, Step::Give(99_991), Step::Give(4 * MIB)];
            let id = store.put_reader(Fitful::new(&content, &steps)).unwrap();
            assert!(read(store, &id) == content, "{len} bytes");
            assert_eq!(store.put(&content).unwrap(), id, "{len} bytes");
        }
    });
}

#[test]
fn a_reader_that_fails_leaves_nothing() {
    each_hash(|store| {
        let before = store.stats().unwrap();
        for len in SIZES {
            let content = bytes(len, 2);
            let mut steps = vec![Step::Give(100_003); len / 100_003];
            steps.push(Step::Fail);
            let error = store.put_reader(Fitful::new(&content, &steps)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            assert!(error.to_string().contains("the tape broke"), "{error}");
        }
        let after = store.stats().unwrap();
        assert_eq!((after.blobs, after.segments), (before.blobs, before.segments));
        assert!(read(store, &store.put(&bytes(3 * MIB, 2)).unwrap()) == bytes(3 * MIB, 2));
    });
}

#[test]
fn a_reader_that_lies_is_refused() {
    each_hash(|store| {
        for len in [0, 100, 3 * MIB, 7 * MIB] {
            let content = bytes(len, 3);
            let mut steps = vec![Step::Give(MIB); len.div_ceil(MIB)];
            steps.push(Step::Lie);
            let error = store.put_reader(Fitful::new(&content, &steps)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert_eq!(store.stats().unwrap().blobs, 0);
    });
}

#[test]
fn a_reader_may_use_the_store_itself() {
    let scratch = Scratch::new();
    let store = scratch.store();
    struct Inner<'a>(&'a drystone::Store, u64);
    impl Read for Inner<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let id = self.0.put(&self.1.to_le_bytes()).map_err(io::Error::other)?;
            let blob = self.0.get(&id).map_err(io::Error::other)?.expect("it was put");
            self.1 += 1;
            let wanted = if self.1 > 600 { 0 } else { buffer.len().min(8 * KIB) };
            buffer[..wanted].fill(blob[0]);
            Ok(wanted)
        }
    }
    let id = store.put_reader(Inner(&store, 0)).unwrap();
    assert_eq!(read(&store, &id).len(), 600 * 8 * KIB);
}
