//! The typed codec: Python values as a head and parts (spec/VALUES.md).
//!
//! What Python's own types hold is encoded here; what others hold is taken apart, and put together again, by
//! `drystone._types`, into such values and arrays. Nothing is executed in reading: only pickles do, and these are read
//! only where pickles are allowed.

mod decode;
mod encode;
mod tags;

pub use decode::{decode, is_bytes_part};
pub use encode::{Encoded, HeldPart, encode, encode_key, queue_key};
