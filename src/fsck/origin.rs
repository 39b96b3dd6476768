//! What the segments say of a store whose superblock is lost.
//!
//! The head of each carries the store's uuid and its own number under a checksum, and the digests of blobs
//! show their algorithm by their length; what else a superblock says has a default. Where heads of several
//! stores stand, the store is that of most of them: the others are then found as foreign.
#![forbid(unsafe_code)]

use crate::disk::{Access, Disk};
use crate::error::Result;
use crate::format::record::Kind;
use crate::format::segment::{HEAD_BYTES, Head};
use crate::format::superblock::Superblock;
use crate::id::HashAlgorithm;
use crate::segment::{FileBlocks, Files, walk};
use std::collections::BTreeMap;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// Size at which segments are sealed when nothing says it: they grow with the store.
const SEGMENT_BYTES: u64 = 0;

/// The superblock of the store that most segments belong to; `None` if no head is whole.
pub fn superblock_of_segments(disk: &Arc<dyn Disk>) -> Result<Option<Superblock>> {
    // Names and heads need neither uuid nor algorithm.
    let mut files = Files { disk: disk.clone(), uuid: [0; 16], hash: HashAlgorithm::Xxh3 };
    let mut stores: BTreeMap<[u8; 16], Vec<Head>> = BTreeMap::new();
    for number in files.list().unwrap_or_default() {
        let Some(file) = files.open(number, Access::Read)? else { continue };
        let mut head = Head::new_zeroed();
        let read = file.read_at(head.as_mut_bytes(), 0)?;
        if read == size_of::<Head>() && head.fault(&head.uuid, number).is_none() {
            stores.entry(head.uuid).or_default().push(head);
        }
    }
    let Some((uuid, heads)) = stores.into_iter().max_by_key(|(_, heads)| heads.len()) else {
        return Ok(None);
    };
    files.uuid = uuid;
    let created_ns = heads.iter().map(|head| head.created_ns.get()).min().unwrap_or(0);
    for head in &heads {
        if let Ok(number) = u32::try_from(head.segment.get())
            && let Some(hash) = hash_of(&files, number)?
        {
            files.hash = hash;
            break;
        }
    }
    Ok(Some(Superblock { hash: files.hash, uuid, segment_bytes: SEGMENT_BYTES, created_ns }))
}

/// The algorithm of the first blob in a segment.
fn hash_of(files: &Files, number: u32) -> Result<Option<HashAlgorithm>> {
    let Some(file) = files.open(number, Access::Read)? else { return Ok(None) };
    let blocks = FileBlocks::new(&*file)?;
    let (records, _) = walk(&blocks, files, number, HEAD_BYTES);
    let blob = records.iter().find(|record| record.kind == Kind::Blob as u8);
    // A digest of 16 bytes is followed by zeros (spec/FORMAT.md, section 4).
    let is_short = |digest: &[u8; 32]| {
        digest[HashAlgorithm::Xxh3.digest_bytes()..].iter().all(|&byte| byte == 0)
    };
    let algorithm = |is_short| {
        if is_short || bug!("hash-guessed") { HashAlgorithm::Xxh3 } else { HashAlgorithm::Blake3 }
    };
    Ok(blob.map(|blob| algorithm(is_short(&blob.digest))))
}
