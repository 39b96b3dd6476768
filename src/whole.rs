//! Whether the body of a record is what its header says, for who does not trust the medium.
#![forbid(unsafe_code)]

use crate::format::record::{Header, Kind};
use crate::format::refs::ref_digest;
use crate::id::{HashAlgorithm, Key};
use crate::segment::pin_of;
use crate::stream::hash_in_place;

/// Whether `body` is the one that was written with `header`.
pub fn is_whole(header: &Header, body: &[u8], hash: HashAlgorithm) -> bool {
    match header.kind {
        Kind::Blob => hash_in_place(body, hash, None).digest == header.digest,
        Kind::Pin => pin_of(body, &header.digest).is_some(),
        Kind::Ref | Kind::RefTomb => {
            ref_digest(Key::from_digest(&header.digest), body) == header.digest
        }
        Kind::BlobTomb | Kind::DurablePoint => true,
    }
}
