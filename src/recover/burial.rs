//! Burying the refs that a recovery passed over.
//!
//! A ref whose blob was lost must not come back with the next put of that blob. So what counts instead,
//! or a tombstone, is appended with a new number, and lasts before anybody uses the run. It stands in a
//! segment that is part of the new run, in its directory, until the run has its name: what a recoverer
//! has buried who comes too late goes with that recoverer's directory.
#![forbid(unsafe_code)]

use super::fold::Buried;
use super::gather::key_of;
use super::parts::Item;
use super::rebuild::{Building, Source};
use crate::blob::published_body;
use crate::control::Control;
use crate::disk::Access;
use crate::error::{Error, ErrorKind, REMOVE_RUN, Result};
use crate::format::record::{Header, Kind};
use crate::format::refs::{PINS, RefBody, ref_digest};
use crate::format::word::{Location, Word, WordKind};
use crate::id::{BlobId, Key};
use crate::index::Index;
use crate::run::{Run, RunBuilder};
use crate::segment::{Appender, Files, Judge, map_all, segment_path, sync_name};

/// Appends what counts instead of the refs that were passed over, durably, with new numbers, to a
/// segment that has its name in the new run only.
pub fn bury(
    source: &Source<'_>,
    builder: &RunBuilder,
    control: &Control,
    index: &Index<Building<'_>>,
    buried: &[Buried],
) -> Result<()> {
    if buried.is_empty() || bug!("burial-left-out") {
        return Ok(());
    }
    let mut appender = Appender::create_unnamed(source.files, control)?;
    for buried in buried {
        let Some(record) = instead_of(source.files, buried)? else { continue };
        let mut batch = appender.batch();
        let sequence = control.draw_sequences(1);
        batch.push(record.kind, &record.body, sequence, record.digest);
        appender.append(&batch, control)?;
        let placed = batch.records()[0];
        let location = appender.location(placed.offset)?;
        let word = if record.kind.is_tomb() {
            Word::tomb(location, true)
        } else {
            Word::live(location, true, placed.bytes)
        };
        if index.publish(record.key, index.lookup(record.key)?, word)?.is_ok() {
            appender.publish(&mut batch, &[0])?;
        }
        appender.recycle(batch);
    }
    let judge = Judge {
        is_named: &|header, location| named(source.files, index, header, location),
        is_whole: &|_, _, _| true,
    };
    appender.seal(control, true, judge)?;
    if bug!("burial-beside") {
        return appender.link();
    }
    control.note_burial(Some(appender.number()));
    source.files.disk.link(&**appender.file(), &builder.burial_path())?;
    Ok(())
}

/// Gives the segment that the recovery of this run has buried in its name, unless somebody else has
/// done it; nobody may use the run before.
///
/// # Errors
/// `Damaged` if it is not there, `SyncFailed`.
pub fn place_burial(files: &Files, run: &Run) -> Result<()> {
    let Some(number) = run.control.burial() else { return Ok(()) };
    let path = segment_path(number);
    let is_there = || Ok::<_, Error>(files.disk.open(&path, Access::Read)?.is_some());
    if !is_there()? {
        // Who comes second finds nothing to rename.
        let moved = run.is_writable().then(|| files.disk.rename(&run.burial_path(), &path));
        // Placed by another one, it may have been compacted since.
        if !is_there()? && run.control.burial() == Some(number) {
            let error =
                Error::new(ErrorKind::Damaged, "the run has lost a segment of its recovery");
            let error = error.path(path).advice(REMOVE_RUN);
            return Err(match moved {
                Some(Err(why)) => error.found(why),
                _ => error,
            });
        }
    }
    if run.is_writable() {
        sync_name(files)?;
        run.control.note_burial(None);
    }
    Ok(())
}

struct Instead {
    kind: Kind,
    key: Key,
    body: Vec<u8>,
    digest: [u8; 32],
}

/// The record that buries a passed-over version: a copy of the one that counts, or a tombstone.
fn instead_of(files: &Files, buried: &Buried) -> Result<Option<Instead>> {
    if let Some(item) = buried.instead {
        return Ok(read_record(files, &item)?.map(|(header, body)| Instead {
            kind: header.kind,
            key: item.key,
            body,
            digest: header.digest,
        }));
    }
    let Some((header, body)) = read_record(files, &buried.passed)? else { return Ok(None) };
    let name = match header.kind {
        Kind::Pin => {
            let key = BlobId::from_padded(files.hash, header.digest).to_string().into_bytes();
            RefBody { namespace: PINS.into(), key, ..RefBody::default() }
        }
        _ => match RefBody::decode(&body) {
            Some(body) => {
                RefBody { namespace: body.namespace, key: body.key, ..RefBody::default() }
            }
            None => return Ok(None),
        },
    };
    let (key, body) = (buried.passed.key, name.encode());
    let digest = ref_digest(key, &body);
    Ok(Some(Instead { kind: Kind::RefTomb, key, body, digest }))
}

fn read_record(files: &Files, item: &Item) -> Result<Option<(Header, Vec<u8>)>> {
    let location = item.word.location();
    let Some(file) = files.open(location.segment(), Access::Read)? else { return Ok(None) };
    let map = map_all(&*file)?;
    let block = map.read_block(location.offset());
    let place = files.place(location.segment());
    let header = block.and_then(|block| Header::decode(&block, place, location.offset()));
    Ok(header.and_then(|header| {
        let body = published_body(&map, location.offset(), &header)?.to_vec();
        Some((header, body))
    }))
}

fn named(
    files: &Files,
    index: &Index<Building<'_>>,
    header: &Header,
    location: Location,
) -> Result<bool> {
    let word = index.lookup(key_of(files, header))?.word;
    Ok(matches!(word.kind(), WordKind::Live | WordKind::Tomb) && word.location() == location)
}
