//! Whether the body of a record is the one that was written.
#![forbid(unsafe_code)]

use super::finding::FindingKind;
use crate::disk::Map;
use crate::format::record::{HEADER_BYTES, Header, Kind, chunk_count, chunk_digests_offset};
use crate::format::refs::{RefBody, ref_digest, ref_key};
use crate::hash::{ChunkDigest, blob_digest, chunk_digest, decode_chunks, digest, encode_chunks};
use crate::id::{BlobId, HashAlgorithm, Key};
use crate::segment::pin_of;
use crate::units::CHUNK_BYTES;
use rayon::prelude::*;

/// What is wrong with a body.
#[derive(Debug)]
pub struct Fault {
    /// What it is about.
    pub kind: FindingKind,
    /// What is wrong.
    pub message: &'static str,
    /// Byte offset behind the header.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Fault {
    fn new(kind: FindingKind, message: &'static str) -> Self {
        Self { kind, message, offset: 0, expected: String::new(), found: String::new() }
    }
}

/// The digests that a blob's record should have.
pub struct Digests<'a> {
    /// The record's header.
    pub header: &'a Header,
    /// The hash algorithm of the store.
    pub hash: HashAlgorithm,
}

impl Digests<'_> {
    /// Where the chunk digests stand behind the header, and their bytes.
    pub fn chunks_at(&self) -> (u64, usize) {
        let bytes = chunk_count(self.header.body_len) as usize * self.hash.digest_bytes();
        (HEADER_BYTES + chunk_digests_offset(self.header.body_len), bytes)
    }

    /// What is wrong with a blob of one chunk of this digest.
    pub fn sole(&self, hashed: [u8; 32]) -> Option<Fault> {
        if hashed == self.header.digest || bug!("fsck-hash-unread") {
            return None;
        }
        Some(Fault {
            expected: BlobId::from_padded(self.hash, self.header.digest).to_string(),
            found: BlobId::from_padded(self.hash, hashed).to_string(),
            ..Fault::new(FindingKind::Digest, "the stored blob is not what its id says")
        })
    }

    /// What is wrong with a blob whose chunks have these digests, and which lists others perhaps.
    pub fn chunked(&self, hashed: &[ChunkDigest], stored: &[u8]) -> Option<Fault> {
        let whole = blob_digest(self.hash, self.header.body_len, hashed);
        let is_listed = encode_chunks(self.hash, hashed) == stored;
        let fault = self.sole(whole).map(|fault| self.narrowed(fault, stored, hashed));
        fault.or_else(|| (!is_listed).then(|| self.chunks_fault()))
    }

    /// What is wrong with the list of its chunks' digests.
    pub fn listed(&self, stored: &[u8]) -> Option<Fault> {
        (!self.is_list_whole(stored)).then(|| self.chunks_fault())
    }

    fn is_list_whole(&self, stored: &[u8]) -> bool {
        let listed = decode_chunks(self.hash, stored);
        listed.len() as u64 == chunk_count(self.header.body_len)
            && blob_digest(self.hash, self.header.body_len, &listed) == self.header.digest
    }

    /// Says in which chunk it is, if the stored digests of the chunks are whole.
    fn narrowed(&self, fault: Fault, stored: &[u8], hashed: &[ChunkDigest]) -> Fault {
        let listed = decode_chunks(self.hash, stored);
        let differs = listed.iter().zip(hashed).position(|(listed, hashed)| listed != hashed);
        match differs {
            Some(chunk) if self.is_list_whole(stored) => {
                Fault { offset: HEADER_BYTES + chunk as u64 * CHUNK_BYTES, ..fault }
            }
            _ => fault,
        }
    }

    fn chunks_fault(&self) -> Fault {
        Fault {
            offset: self.chunks_at().0,
            expected: "digests whose hash is the blob's".into(),
            found: "others".into(),
            ..Fault::new(FindingKind::Chunks, "the chunk digests of a blob are damaged")
        }
    }
}

/// What is wrong with a blob that stands in a mapping; without `deep`, with what can be told without
/// reading it.
pub fn mapped_fault(
    map: &Map,
    offset: u64,
    body: &[u8],
    digests: &Digests<'_>,
    deep: bool,
) -> Option<Fault> {
    let hash = digests.hash;
    let (at, bytes) = digests.chunks_at();
    if bytes == 0 {
        return deep.then(|| digests.sole(digest(hash, body))).flatten();
    }
    let mut stored = vec![0; bytes];
    if !map.copy_to(offset + at, &mut stored) {
        stored.clear();
    }
    if !deep {
        return digests.listed(&stored);
    }
    let one = |(index, part)| chunk_digest(hash, index as u64, part);
    let chunks = body.par_chunks(CHUNK_BYTES as usize).enumerate().with_max_len(1);
    digests.chunked(&chunks.map(one).collect::<Vec<_>>(), &stored)
}

/// What is wrong with the body of a ref, pin or tombstone.
pub fn ref_fault(
    header: &Header,
    body: &[u8],
    held: u64,
    uuid: &[u8; 16],
    is_listed: bool,
) -> Option<Fault> {
    let fault = |message| Some(Fault::new(FindingKind::Ref, message));
    match header.kind {
        Kind::Pin => match pin_of(body, &header.digest) {
            None => fault("the body of a pin does not check"),
            Some(pin) if is_listed && pin.held.get() != held => {
                fault("a footer lists a pin that holds another number")
            }
            Some(_) => None,
        },
        Kind::Ref | Kind::RefTomb => {
            let key = Key::from_digest(&header.digest);
            if ref_digest(key, body) != header.digest {
                return fault("the body of a ref does not check");
            }
            match RefBody::decode(body) {
                None => fault("the body of a ref makes no sense"),
                Some(body) if ref_key(uuid, &body.namespace, &body.key) != key => {
                    fault("the body of a ref names another ref")
                }
                Some(_) => None,
            }
        }
        Kind::BlobTomb if header.body_len != 0 => fault("the tombstone of a blob has a body"),
        _ => None,
    }
}
