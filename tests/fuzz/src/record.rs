//! Record headers, and the walk over a segment that has no footer.
//!
//! A header that is valid is the one that is written for what it says; records of a walk lie one behind the
//! other inside of the file, and a walk that begins at one of them meets the same ones.

use super::Input;
use super::image::{NUMBER, files, header, segment};
use drystone::HashAlgorithm;
use drystone::fuzzing::{Blocks, record::Header, walk};

/// A header, then a segment.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let files =
        files(if input.byte() & 1 == 0 { HashAlgorithm::Xxh3 } else { HashAlgorithm::Blake3 });
    let offset = input.edge(0) & !63;
    let bytes = header(&mut input, offset, 1 << 20);
    if let Some(header) = Header::decode(&bytes, files.place(NUMBER), offset) {
        assert_eq!(header.encode(files.place(NUMBER), offset), bytes);
        assert!(header.record_bytes(files.digest_bytes()) >= 64 + header.body_len);
        let _ = header.offset_after(offset);
    }
    let image = segment(&mut input);
    let (records, durable) = walk(&image, &files, NUMBER, 0);
    assert!(durable < image.len());
    let mut end = 64;
    for (at, entry) in records.iter().enumerate() {
        assert!(entry.offset() >= end, "records overlap");
        end = entry.end(files.digest_bytes()).expect("a record ends");
        assert!(end <= image.len(), "a record beyond the file");
        let (rest, _) = walk(&image, &files, NUMBER, entry.offset());
        assert_eq!(rest.len(), records.len() - at, "another walk from {}", entry.offset());
    }
}
