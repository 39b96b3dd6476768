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

/// A blob's record in its mapping.
pub struct Stored<'a> {
    /// Its segment.
    pub map: &'a Map,
    /// Where its header stands.
    pub offset: u64,
    /// The header.
    pub header: &'a Header,
    /// The body.
    pub body: &'a [u8],
    /// The hash algorithm of the store.
    pub hash: HashAlgorithm,
}

impl Stored<'_> {
    /// What is wrong with the blob; without `deep`, with what can be told without reading it.
    pub fn fault(&self, deep: bool) -> Option<Fault> {
        let chunks = chunk_count(self.header.body_len);
        if chunks == 0 {
            return deep.then(|| self.digest_fault(digest(self.hash, self.body))).flatten();
        }
        let mut stored = vec![0; chunks as usize * self.hash.digest_bytes()];
        let at = HEADER_BYTES + chunk_digests_offset(self.header.body_len);
        let is_there = self.map.copy_to(self.offset + at, &mut stored);
        let listed = decode_chunks(self.hash, &stored);
        if deep {
            let hashed = self.hash_chunks();
            let whole = blob_digest(self.hash, self.header.body_len, &hashed);
            let is_listed = is_there && encode_chunks(self.hash, &hashed) == stored;
            let fault =
                self.digest_fault(whole).map(|fault| self.narrowed(fault, &listed, &hashed));
            return fault.or_else(|| (!is_listed).then(|| self.chunks_fault(at)));
        }
        let holds = is_there && listed.len() as u64 == chunks && {
            blob_digest(self.hash, self.header.body_len, &listed) == self.header.digest
        };
        (!holds).then(|| self.chunks_fault(at))
    }

    fn hash_chunks(&self) -> Vec<ChunkDigest> {
        let body_at = self.offset + HEADER_BYTES;
        let one = |(index, part): (usize, &[u8])| {
            self.map.populate(body_at + index as u64 * CHUNK_BYTES, part.len() as u64);
            chunk_digest(self.hash, index as u64, part)
        };
        self.body.par_chunks(CHUNK_BYTES as usize).enumerate().with_max_len(1).map(one).collect()
    }

    fn digest_fault(&self, hashed: [u8; 32]) -> Option<Fault> {
        if hashed == self.header.digest || bug!("fsck-hash-unread") {
            return None;
        }
        Some(Fault {
            expected: BlobId::from_padded(self.hash, self.header.digest).to_string(),
            found: BlobId::from_padded(self.hash, hashed).to_string(),
            ..Fault::new(FindingKind::Digest, "the stored blob is not what its id says")
        })
    }

    /// Says in which chunk it is, if the stored digests of the chunks are whole.
    fn narrowed(&self, fault: Fault, listed: &[ChunkDigest], hashed: &[ChunkDigest]) -> Fault {
        let is_list_whole = listed.len() == hashed.len()
            && blob_digest(self.hash, self.header.body_len, listed) == self.header.digest;
        let differs = listed.iter().zip(hashed).position(|(listed, hashed)| listed != hashed);
        match differs {
            Some(chunk) if is_list_whole => {
                Fault { offset: HEADER_BYTES + chunk as u64 * CHUNK_BYTES, ..fault }
            }
            _ => fault,
        }
    }

    fn chunks_fault(&self, at: u64) -> Fault {
        Fault {
            offset: at,
            expected: "digests whose hash is the blob's".into(),
            found: "others".into(),
            ..Fault::new(FindingKind::Chunks, "the chunk digests of a blob are damaged")
        }
    }
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
