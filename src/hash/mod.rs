//! Digests of blobs and of their chunks (spec/FORMAT.md, section 1): pure functions of bytes.
//!
//! A blob is hashed chunk by chunk, 2 MiB each, so that any number of threads can share the work and
//! a part can be verified without the rest. Both algorithms are two steps: a digest of each chunk,
//! then one digest of those.
//!
//! I1. The digest depends on the algorithm and the bytes alone: not on how they were cut into pieces,
//!     nor on which thread hashed which chunk, nor on the features of the processor.
//! I2. A blob of one chunk (`len <= CHUNK_BYTES`) has no chunk digests: its XXH3 digest is the plain
//!     XXH3-128 of its bytes (`xxh128sum`).
//! I3. The BLAKE3 digest is the standard one (`b3sum`) at every length; a chunk's digest is the
//!     chaining value of its subtree, which 2 MiB, a power of two, always is.
//! I4. Nothing here panics on bytes; only on a chunk asked for what it is not (see [`ChunkHasher`]).
#![forbid(unsafe_code)]

mod blob;
mod chunk;

pub use blob::{BlobHasher, XXH3_BLOB_SEED, blob_digest, decode_chunks, digest, encode_chunks};
pub use chunk::{ChunkDigest, ChunkHasher, chunk_digest};

#[cfg(test)]
mod tests;
