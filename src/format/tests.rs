//! Round trips, and refusal of bytes that are nearly right.

use super::record::{Header, Kind, Place, State};
use super::refs::RefBody;
use super::segment::{Entry, Head, Trailer};
use super::superblock::Superblock;
use super::word::{Location, Root, Word, WordKind};
use crate::error::ErrorKind;
use crate::id::HashAlgorithm;
use zerocopy::IntoBytes;

const UUID: [u8; 16] = *b"0123456789abcdef";

#[test]
fn every_flipped_bit_of_a_header_is_refused_or_only_the_state() {
    let place = Place::new(&UUID, 3);
    let header = Header::pending(Kind::Blob, 100, 42, [7; 32]);
    let bytes = header.encode(place, 640);
    assert_eq!(Header::decode(&bytes, place, 640), Some(header));
    for bit in 0..512 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::decode(&flipped, place, 640), None, "bit {bit}");
    }
}

#[test]
fn a_header_is_valid_only_in_its_place() {
    let place = Place::new(&UUID, 3);
    let bytes = Header::pending(Kind::Ref, 1, 1, [1; 32]).encode(place, 640);
    assert_eq!(Header::decode(&bytes, place, 704), None);
    assert_eq!(Header::decode(&bytes, Place::new(&UUID, 4), 640), None);
    assert_eq!(Header::decode(&bytes, Place::new(b"another store...", 3), 640), None);
}

#[test]
fn publishing_changes_only_the_state_byte() {
    let place = Place::new(&UUID, 0);
    let mut header = Header::pending(Kind::Pin, 24, 9, [2; 32]);
    let mut pending = header.encode(place, 64);
    header.state = State::Published;
    pending[super::record::STATE_OFFSET as usize] = State::Published as u8;
    assert_eq!(pending, header.encode(place, 64));
}

#[test]
fn ref_bodies_round_trip_and_truncations_are_refused() {
    let body = RefBody {
        namespace: "steps".into(),
        key: vec![0, 255, 1],
        blobs: vec![([1; 32], 5), ([2; 32], 6)],
        inline: None,
        tags: vec!["a".into(), String::new(), "ünï".into()],
        metadata: vec![9; 10],
        created_ns: 1,
        expires_ns: 2,
        is_single: false,
    };
    let bytes = body.encode();
    assert_eq!(RefBody::decode(&bytes), Some(body.clone()));
    for len in 0..bytes.len() {
        assert_eq!(RefBody::decode(&bytes[..len]), None);
    }
    let inline = RefBody { inline: Some(vec![]), blobs: vec![], ..body };
    assert_eq!(RefBody::decode(&inline.encode()), Some(inline));
}

#[test]
fn superblocks_survive_the_loss_of_either_copy() {
    let block =
        Superblock { hash: HashAlgorithm::Blake3, uuid: UUID, segment_bytes: 0, created_ns: 5 };
    let file = block.encode();
    assert_eq!(Superblock::decode(&file).unwrap(), block);
    for copy in [0, 4096] {
        let mut damaged = file.clone();
        damaged[copy + 20] ^= 1;
        assert_eq!(Superblock::decode(&damaged).unwrap(), block);
        damaged[4096 - copy + 20] ^= 1;
        assert_eq!(Superblock::decode(&damaged).unwrap_err().kind(), ErrorKind::Damaged);
    }
    assert_eq!(Superblock::decode(&[0; 8192]).unwrap_err().kind(), ErrorKind::NotAStore);
    assert_eq!(Superblock::decode(b"").unwrap_err().kind(), ErrorKind::NotAStore);
}

#[test]
fn heads_and_trailers_are_bound_to_their_segment() {
    let head = Head::new(UUID, 7, 1);
    assert_eq!(head.fault(&UUID, 7), None);
    assert!(head.fault(&UUID, 8).is_some());
    assert!(head.fault(&[0; 16], 7).is_some());
    let entries = [Entry::new(&Header::pending(Kind::Blob, 5, 6, [1; 32]), 64, 0)];
    let trailer = Trailer::new(7, 192, &entries, 0);
    assert!(trailer.is_valid(7, 256) && trailer.vouches_for(entries.as_bytes()));
    assert!(!trailer.is_valid(8, 256) && !trailer.is_valid(7, 320));
}

#[test]
fn words_keep_their_parts() {
    let location = Location::new(Location::SEGMENT_MAX, (1 << 30) - 64).unwrap();
    let word = Word::live(location, true, 1024);
    assert_eq!((word.kind(), word.location(), word.is_ref()), (WordKind::Live, location, true));
    assert_eq!(word.bytes_hint(), 1024);
    assert_eq!(word.dead().kind(), WordKind::Dead);
    assert_eq!(word.dead().location(), location);
    assert_eq!(Word::tomb(location, false).kind(), WordKind::Tomb);
    assert_eq!(Location::new(1 << 28, 0), None);
    assert_eq!(Location::new(0, 1 << 30), None);
    assert_eq!(Location::new(0, 65), None);
}

#[test]
fn roots_go_from_stable_over_migrating_to_stable() {
    let root = Root::stable(4, 10);
    let migrating = root.migrating(11);
    assert!(!root.is_migrating() && migrating.is_migrating());
    assert_eq!((migrating.generation(), migrating.log2(), migrating.log2_next()), (4, 10, 11));
    assert_eq!(migrating.flipped(), Root::stable(5, 11));
}

#[test]
fn the_checksum_of_a_header_is_the_library_s_xxh3() {
    // `encode` sums by the library, `decode` by itself: they agree on any content.
    for seed in 0..200u64 {
        let digest = std::array::from_fn(|i| (seed.wrapping_mul(0x9E37_79B9) >> (i % 24)) as u8);
        let place = Place::new(&UUID, seed as u32 * 7919);
        let header =
            Header::pending(Kind::Blob, seed << (seed % 40), u64::MAX / (seed + 1), digest);
        let offset = (seed * seed) << 6;
        assert_eq!(Header::decode(&header.encode(place, offset), place, offset), Some(header));
    }
}
