//! Bodies of refs and pins: what is read is the same when it is written and read again.

use super::Input;
use drystone::fuzzing::{pin_of, refs::RefBody};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Any bytes as they are, a body whose lengths add up, one that is cut or too long, and a pin.
pub fn run(data: &[u8]) {
    look(data);
    let mut input = Input::new(data);
    let body = body(&mut input);
    look(&body);
    let cut = input.edge(body.len() as u64) as usize;
    look(&body[..cut.min(body.len())]);
    look(&[&body[..], &[0]].concat());
    pin(&mut input);
}

fn look(bytes: &[u8]) {
    if let Some(body) = RefBody::decode(bytes) {
        let again = RefBody::decode(&body.encode());
        assert_eq!(again.as_ref(), Some(&body));
    }
}

fn body(input: &mut Input<'_>) -> Vec<u8> {
    let [flags, namespace, key, blobs, tags, metadata, inline] =
        std::array::from_fn(|_| input.byte());
    let lengths = [
        u32::from(key),
        u32::from(blobs % 4),
        u32::from(tags % 40),
        u32::from(metadata),
        u32::from(inline),
    ];
    let mut body = u16::from(flags % 8).to_le_bytes().to_vec();
    body.extend(u16::from(namespace).to_le_bytes());
    body.extend(lengths.iter().flat_map(|len| len.to_le_bytes()));
    body.extend(input.bytes(16));
    let len =
        u32::from(namespace) + lengths[0] + 40 * lengths[1] + lengths[2..].iter().sum::<u32>();
    let mut parts = input.bytes(len as usize);
    if flags & 0x10 == 0 {
        // Text that is text.
        parts.iter_mut().take(usize::from(namespace)).for_each(|byte| *byte &= 0x7F);
    }
    body.append(&mut parts);
    if flags & 0x20 != 0 {
        let at = usize::from(input.byte() % 6) * 4;
        let len = input.edge(u64::from(len)) as u32;
        body[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
    body
}

fn pin(input: &mut Input<'_>) {
    let digest: [u8; 32] = input.bytes(32).try_into().expect("32 bytes");
    let mut body = input.bytes(24);
    assert!(pin_of(&body[..23], &digest).is_none());
    let seed = u64::from_le_bytes(digest[..8].try_into().expect("8 bytes"));
    let checksum = xxh3_64_with_seed(&body[..16], seed).to_le_bytes();
    let is_right = body[16..] == checksum;
    assert_eq!(pin_of(&body, &digest).is_some(), is_right);
    body[16..].copy_from_slice(&checksum);
    assert!(pin_of(&body, &digest).is_some());
}
