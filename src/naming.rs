//! The refs that operations make: what they say, and what must hold for them to be made.
#![forbid(unsafe_code)]

use crate::engine::{Engine, Found, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Kind, PIN_BYTES, RawPin, record_bytes};
use crate::format::refs::{PINS, RefBody, pin_key, ref_digest, ref_key};
use crate::format::word::Word;
use crate::id::{BlobId, Key};
use crate::segment::pin_of;
use crate::sync::epoch::Guard;
use std::borrow::Cow;
use zerocopy::IntoBytes;

/// What must hold for a ref to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such ref.
    Absent,
    /// The ref has the version with this number.
    Version(u64),
}

/// A ref to be made.
#[derive(Clone, Debug)]
pub enum Naming<'a> {
    /// The pin of the one blob.
    Pin,
    /// A ref with this body (its blobs are filled in) under this condition.
    Ref(&'a RefBody, Expect),
}

/// A ref record, ready to be appended.
pub struct RefRecord<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its body.
    pub body: Cow<'a, [u8]>,
    /// Its digest.
    pub digest: [u8; 32],
}

impl Naming<'_> {
    /// The key in the index.
    pub fn key(&self, engine: &Engine, ids: &[BlobId]) -> Key {
        match (self, ids) {
            (Self::Pin, [id, ..]) => pin_key(&engine.superblock.uuid, id),
            (Self::Pin, []) => ref_key(&engine.superblock.uuid, PINS, b""),
            (Self::Ref(body, _), _) => ref_key(&engine.superblock.uuid, &body.namespace, &body.key),
        }
    }

    /// Bytes of the record when it names `blobs` blobs.
    pub fn record_bytes(&self, blobs: usize) -> u64 {
        match self {
            Self::Pin => record_bytes(Kind::Pin, PIN_BYTES, 0),
            Self::Ref(body, _) => {
                let named = 40 * blobs.saturating_sub(body.blobs.len());
                record_bytes(Kind::Ref, (body.encode().len() + named) as u64, 0)
            }
        }
    }

    /// The record that names these blobs and relies on their records of these numbers.
    pub fn record(&self, key: Key, ids: &[BlobId], held: &[u64]) -> RefRecord<'static> {
        match self {
            Self::Pin => {
                let digest = ids.first().map_or([0; 32], |id| *id.padded());
                let held = held.first().copied().unwrap_or(0);
                let pin = RawPin::new(&digest, held, crate::clock::now_ns());
                RefRecord { kind: Kind::Pin, body: Cow::Owned(pin.as_bytes().to_vec()), digest }
            }
            Self::Ref(body, _) => {
                let blobs = ids.iter().zip(held).map(|(id, &held)| (*id.padded(), held)).collect();
                let body = RefBody { blobs, ..(*body).clone() }.encode();
                let digest = ref_digest(key, &body);
                RefRecord { kind: Kind::Ref, body: Cow::Owned(body), digest }
            }
        }
    }

    /// Whether the ref may be set over what `word`, which was `at`'s, names; `None` if that has moved.
    pub fn accepts(&self, view: &View<'_>, at: Key, word: Word) -> Result<Option<bool>> {
        let Self::Ref(body, expect) = self else { return Ok(Some(true)) };
        if !word.is_live() {
            return Ok(Some(!matches!(expect, Expect::Version(_))));
        }
        let found = match view.record(at, word) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // A damaged ref is nobody's.
            Err(error) if error.kind() == ErrorKind::Damaged && *expect == Expect::Any => {
                return Ok(Some(true));
            }
            Err(error) => return Err(error),
        };
        let engine = view.engine;
        if *expect == Expect::Any {
            return engine.check_owner(&found, body, view.guard).map(|()| Some(true));
        }
        let present = engine.entry_of(&found, &body.namespace, &body.key, view.guard)?;
        Ok(Some(match expect {
            Expect::Any => true,
            Expect::Absent => present.is_none(),
            Expect::Version(number) => {
                present.is_some_and(|entry| entry.version.0 == *number || bug!("version-ignored"))
            }
        }))
    }
}

impl Engine {
    /// The body of a ref or pin record, its digest and its name checked.
    ///
    /// # Errors
    /// `Damaged`; `IdCollision` when the record belongs to another name with the same 128-bit key.
    pub fn ref_body(&self, found: &Found<'_>, guard: &Guard) -> Result<RefBody> {
        let location = found.location;
        let damaged = |what| Error::damaged(what, location.segment(), location.offset());
        let body = found.bytes(guard).ok_or_else(|| damaged("a ref's body is cut short"))?;
        match found.header.kind {
            Kind::Pin => {
                let digest = found.header.digest;
                let pin = pin_of(body, &digest)
                    .ok_or_else(|| damaged("the body of a pin does not check"))?;
                Ok(RefBody {
                    namespace: PINS.into(),
                    key: self.id_of(&found.header).text().as_bytes().to_vec(),
                    blobs: vec![(digest, pin.held.get())],
                    created_ns: pin.created_ns.get(),
                    ..RefBody::default()
                })
            }
            Kind::Ref => {
                let key = Key::from_digest(&found.header.digest);
                if ref_digest(key, body) != found.header.digest {
                    return Err(damaged("the body of a ref does not check"));
                }
                RefBody::decode(body).ok_or_else(|| damaged("the body of a ref makes no sense"))
            }
            _ => Err(damaged("a ref's word names a record of another kind")),
        }
    }

    /// Refuses to replace the record of another name, or a blob; a damaged ref is nobody's.
    fn check_owner(&self, found: &Found<'_>, body: &RefBody, guard: &Guard) -> Result<()> {
        if !found.header.kind.is_ref() {
            return Err(Error::new(
                ErrorKind::IdCollision,
                "the name of a ref and a blob have one 128-bit key",
            )
            .expected(format!("{:?} {:?}", body.namespace, String::from_utf8_lossy(&body.key)))
            .found(self.id_of(&found.header))
            .advice("choose another name"));
        }
        match self.ref_body(found, guard) {
            Ok(there) => self.check_name(&there, &body.namespace, &body.key),
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Refuses a body that another name left under the same key.
    pub fn check_name(&self, body: &RefBody, namespace: &str, key: &[u8]) -> Result<()> {
        if body.namespace == namespace && body.key == key {
            return Ok(());
        }
        Err(Error::new(ErrorKind::IdCollision, "two names of refs have one 128-bit key")
            .expected(format!("{namespace:?} {:?}", String::from_utf8_lossy(key)))
            .found(format!("{:?} {:?}", body.namespace, String::from_utf8_lossy(&body.key)))
            .advice("choose another name"))
    }
}
