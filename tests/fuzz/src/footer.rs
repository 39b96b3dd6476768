//! The footer of a sealed segment: whatever it says, what it lists lies before it.

use super::Input;
use super::image::{Image, NUMBER, files, header, segment};
use drystone::HashAlgorithm;
use drystone::fuzzing::{Blocks, end_of, read_footer};
use xxhash_rust::xxh3::xxh3_64;

const ENTRIES_MAX: u8 = 24;

/// Records, entries that list them or something else, a trailer, and perhaps a durable point.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let files =
        files(if input.byte() & 1 == 0 { HashAlgorithm::Xxh3 } else { HashAlgorithm::Blake3 });
    let Image(mut bytes) = segment(&mut input);
    let entries = entries(&mut input, &bytes);
    let trailer = trailer(&mut input, &entries, bytes.len() as u64);
    bytes.extend_from_slice(&entries);
    bytes.extend_from_slice(&trailer);
    if input.byte() & 1 == 1 {
        let point = header(&mut input, bytes.len() as u64, 64);
        bytes.extend_from_slice(&point);
    }
    bytes.extend(input.rest());
    let image = Image(bytes);
    let Some(end) = end_of(&image, &files, NUMBER) else { return };
    assert!(end.durable <= image.len());
    let Some(listed) = read_footer(&image, &files, NUMBER, &end.trailer) else { return };
    let entries_offset = end.trailer.entries_offset.get();
    for entry in listed {
        assert!(entry.header().is_some(), "an entry that lists nothing");
        assert!(entry.end(files.digest_bytes()).is_some_and(|end| end <= entries_offset));
    }
}

fn entries(input: &mut Input<'_>, records: &[u8]) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..input.byte() % ENTRIES_MAX {
        let mut entry = input.bytes(64);
        let (how, step) = (input.byte(), usize::from(input.byte()));
        // Of a step that is there what its header says, in part.
        if let Some(header) = records.get(64 * step..64 * step + 64).filter(|_| how & 1 == 0) {
            entry[..4].copy_from_slice(&header[4..8]);
            entry[4..8].copy_from_slice(&(step as u32).to_le_bytes());
            entry[8..56].copy_from_slice(&header[8..56]);
        }
        if how & 2 != 0 {
            let len = input.edge(records.len() as u64);
            entry[8..16].copy_from_slice(&len.to_le_bytes());
        }
        if how & 4 != 0 {
            entry[..4].copy_from_slice(&[1 + how % 6, 0xA7, 6, 0]);
        }
        entries.append(&mut entry);
    }
    entries
}

fn trailer(input: &mut Input<'_>, entries: &[u8], offset: u64) -> Vec<u8> {
    let how = input.byte();
    let mut words = [0; 7];
    words[0] = u64::from_le_bytes(*b"DRYEND\r\n");
    words[1] = u64::from(NUMBER);
    words[2] = if how & 1 == 0 { offset } else { input.edge(offset) };
    words[3] =
        if how & 2 == 0 { entries.len() as u64 / 64 } else { input.edge(entries.len() as u64) };
    words[4] = if how & 4 == 0 { xxh3_64(entries) } else { input.number() };
    words[5] = input.number();
    words[6] = input.edge(offset);
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let checksum = if how & 8 == 0 { xxh3_64(&bytes) } else { input.number() };
    bytes.extend(checksum.to_le_bytes());
    bytes
}
