//! Lies under valid checksums: whoever can write the files can also make the checksums of
//! spec/FORMAT.md. What they say is bounded all the same, and blobs that are verified have their bytes.

use super::furnished::Furnished;
use super::rig::patch;
use super::stage::{Blow, rarely, try_all};
use drystone::{Error, HashAlgorithm, Store};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

const HEADER_BYTES: usize = 64;

/// Bytes of a file that say something else, with all that vouches for them.
struct Forged {
    file: usize,
    what: String,
    patches: Vec<(u64, Vec<u8>)>,
}

impl Blow for Forged {
    fn strike(&self, made: &Furnished) {
        let path = made.path().join(&made.files[self.file].path);
        self.patches.iter().for_each(|(at, bytes)| patch(&path, *at, bytes));
    }

    fn describe(&self, made: &Furnished) -> String {
        format!("{} in {}", self.what, made.files[self.file].path)
    }

    fn is_of_run(&self, made: &Furnished) -> bool {
        made.files[self.file].path.starts_with("run/")
    }

    fn may_shut(&self, _: &Furnished, error: &Error) -> bool {
        // Numbers that are used up, a size that cannot be had: it says so.
        error.advice_text().is_some()
    }

    fn check(&self, made: &Furnished, store: &Store, _: bool, when: &str) {
        made.look(store, when);
    }
}

/// Numbers at the edges of what can be, of a length that is `len` and a file that is `end`.
fn edges(len: u64, end: u64) -> Vec<u64> {
    let mut edges =
        vec![0, 1, 63, 64, 65, 4096, 1 << 20, (1 << 30) - 64, 1 << 30, 1 << 32, 1 << 40];
    edges.extend([(1 << 56) - 1, 1 << 56, (1 << 56) + 1, (1 << 63) - 1, 1 << 63]);
    edges.extend([u64::MAX - 127, u64::MAX - 63, u64::MAX - 1, u64::MAX]);
    let near = |number: u64| [-64, -1, 0, 1, 64].map(|by: i64| number.wrapping_add_signed(by));
    edges.extend(near(len));
    edges.extend(near(end));
    edges.push(end.wrapping_sub(len));
    edges
}

/// Where fields of a structure stand, and what they may say.
fn fields(numbers: &[usize], codes: &[usize], len: u64, end: u64) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    for &at in numbers {
        found.extend(edges(len, end).into_iter().map(|n| (at, n.to_le_bytes().to_vec())));
    }
    for &at in codes {
        let known = [0, 1, 2, 3, 4, 5, 6, 7, 12, 16, 17, 63, 64, 0x50, 0xA7, 255];
        found.extend(known.into_iter().map(|code: u8| (at, vec![code])));
    }
    found
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// One segment, and how its checksums are made.
struct Segment<'a> {
    file: usize,
    bytes: &'a [u8],
    place: u64,
}

impl<'a> Segment<'a> {
    fn all(made: &'a Furnished) -> Vec<Self> {
        let all = made.files.iter().enumerate();
        let segments = all.filter(|(_, file)| file.path.starts_with("segments/"));
        let segment = |(file, saved): (usize, &'a super::furnished::Saved)| {
            let number = word(&saved.bytes, 32);
            let place = xxh3_64_with_seed(&saved.bytes[16..32], number);
            Self { file, bytes: &saved.bytes, place }
        };
        segments.map(segment).collect()
    }

    fn records(&self) -> Vec<usize> {
        let steps = (64..self.bytes.len() - 63).step_by(64);
        steps.filter(|&at| self.bytes[at..].starts_with(b"DRYR")).collect()
    }

    fn trailer(&self) -> Option<usize> {
        let mut steps = (64..self.bytes.len() - 63).step_by(64);
        steps.find(|&at| self.bytes[at..].starts_with(b"DRYEND\r\n"))
    }

    /// The header at an offset, its checksum made anew.
    fn sealed(&self, at: usize, mut header: Vec<u8>) -> (u64, Vec<u8>) {
        let state = header[5];
        header[5] = 0;
        header[56..].fill(0);
        let seed = self.place ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let checksum = xxh3_64_with_seed(&header, seed);
        header[56..].copy_from_slice(&checksum.to_le_bytes());
        header[5] = state;
        (at as u64, header)
    }

    fn header(&self, at: usize) -> Vec<u8> {
        self.bytes[at..at + HEADER_BYTES].to_vec()
    }

    fn forged(&self, what: String, patches: Vec<(u64, Vec<u8>)>) -> Forged {
        Forged { file: self.file, what, patches }
    }

    /// The headers of records say something else.
    fn headers(&self) -> Vec<Forged> {
        let mut cases = Vec::new();
        for at in self.records() {
            let (len, end) = (word(self.bytes, at + 8), (self.bytes.len() - at) as u64);
            for (field, new) in fields(&[8, 16, 24], &[4, 5, 6, 7], len, end) {
                let mut header = self.header(at);
                header[field..field + new.len()].copy_from_slice(&new);
                let what = format!("{new:?} at {field} of the header at {at}");
                cases.push(self.forged(what, vec![self.sealed(at, header)]));
            }
        }
        // Each record is about what the one before it is about.
        for pair in self.records().windows(2) {
            let mut header = self.header(pair[1]);
            header[24..56].copy_from_slice(&self.bytes[pair[0] + 24..pair[0] + 56]);
            let what = format!("the digest at {} in the header at {}", pair[0], pair[1]);
            cases.push(self.forged(what, vec![self.sealed(pair[1], header)]));
        }
        cases
    }

    /// The bodies of refs and pins say something else.
    fn bodies(&self) -> Vec<Forged> {
        let mut cases = Vec::new();
        for at in self.records() {
            let (kind, len) = (self.bytes[at + 4], word(self.bytes, at + 8) as usize);
            let body = &self.bytes[at + 64..at + 64 + len];
            let found = match kind {
                2 | 5 => (0..10).map(|field| field * 4).collect::<Vec<_>>(),
                3 => vec![0, 8],
                _ => continue,
            };
            for field in found {
                for number in edges(len as u64, body.len() as u64) {
                    let mut body = body.to_vec();
                    body[field..field + 4].copy_from_slice(&number.to_le_bytes()[..4]);
                    let what = format!("{number} at {field} of the body at {at}");
                    cases.push(self.forged(what, self.vouched(at, kind, body)));
                }
            }
        }
        cases
    }

    /// A body of a ref or a pin, with all that vouches for it.
    fn vouched(&self, at: usize, kind: u8, mut body: Vec<u8>) -> Vec<(u64, Vec<u8>)> {
        let mut header = self.header(at);
        if kind == 3 {
            let seed = word(&header, 24);
            let checksum = xxh3_64_with_seed(&body[..16], seed);
            body[16..24].copy_from_slice(&checksum.to_le_bytes());
        } else {
            header[40..56].copy_from_slice(&xxh3_128(&body).to_be_bytes());
        }
        vec![self.sealed(at, header), (at as u64 + 64, body)]
    }

    /// The footer says something else.
    fn footer(&self) -> Vec<Forged> {
        let mut cases = Vec::new();
        let Some(at) = self.trailer() else { return cases };
        let entries = word(self.bytes, at + 16) as usize;
        let end = self.bytes.len() as u64;
        for (field, new) in fields(&[8, 16, 24, 40, 48], &[], at as u64, end) {
            let mut footer = self.bytes[entries..at + 64].to_vec();
            let trailer = footer.len() - 64;
            footer[trailer + field..trailer + field + 8].copy_from_slice(&new);
            let what = format!("{new:?} at {field} of the trailer");
            cases.push(self.forged(what, vec![(entries as u64, sealed_footer(footer))]));
        }
        for entry in (entries..at).step_by(64) {
            let len = word(self.bytes, entry + 8);
            for (field, new) in fields(&[4, 8, 16, 24, 56], &[0, 1, 2, 3], len, end) {
                let mut footer = self.bytes[entries..at + 64].to_vec();
                // A step has four bytes.
                let new = if field == 4 { &new[..4] } else { &new[..] };
                let from = entry - entries + field;
                footer[from..from + new.len()].copy_from_slice(new);
                let what = format!("{new:?} at {field} of the entry at {entry}");
                cases.push(self.forged(what, vec![(entries as u64, sealed_footer(footer))]));
            }
        }
        cases
    }
}

fn sealed_footer(mut footer: Vec<u8>) -> Vec<u8> {
    let trailer = footer.len() - 64;
    let entries = xxh3_64(&footer[..trailer]);
    footer[trailer + 32..trailer + 40].copy_from_slice(&entries.to_le_bytes());
    let checksum = xxh3_64(&footer[trailer..trailer + 56]);
    footer[trailer + 56..].copy_from_slice(&checksum.to_le_bytes());
    footer
}

fn records(made: &Furnished) -> Vec<Forged> {
    let segments = Segment::all(made);
    segments.iter().flat_map(|s| [s.headers(), s.bodies()].into_iter().flatten()).collect()
}

fn footers(made: &Furnished) -> Vec<Forged> {
    Segment::all(made).iter().flat_map(Segment::footer).collect()
}

/// Words of the control page and of the table, which nothing vouches for, at the edges.
fn words(made: &Furnished) -> Vec<Forged> {
    let mut cases = Vec::new();
    for (file, saved) in made.files.iter().enumerate().filter(|(_, f)| f.path.starts_with("run/")) {
        let is_used = |at: &usize| word(&saved.bytes, *at) != 0 || *at < 64 * 8 && at % 64 == 0;
        for at in (0..saved.bytes.len()).step_by(8).filter(is_used) {
            for new in edges(word(&saved.bytes, at), saved.bytes.len() as u64) {
                let what = format!("{new:#x} in word {}", at / 8);
                let patches = vec![(at as u64, new.to_le_bytes().to_vec())];
                cases.push(Forged { file, what, patches });
            }
        }
    }
    cases
}

#[test]
fn records_may_lie_under_valid_checksums() {
    try_all("forged records", HashAlgorithm::Xxh3, rarely(), records);
}

#[test]
fn footers_may_lie_under_valid_checksums() {
    try_all("forged footers", HashAlgorithm::Blake3, rarely(), footers);
}

#[test]
fn shared_words_may_say_anything() {
    try_all("forged words", HashAlgorithm::Xxh3, rarely(), words);
}
