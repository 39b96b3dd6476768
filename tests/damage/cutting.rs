//! Whoever seals a segment cuts off what was reserved: also between a reader's look at the length of the
//! file and its mapping of it.

use super::rig::{bytes, in_memory, options, segment_file};
use drystone::disk::{
    Access, Disk, File, Identity, LockKind, Map, OpenOptions, RealDisk, Reserve, Space,
};
use drystone::{BlobId, Result};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A disk to read from, on which a segment is cut right after its length was first asked for.
#[derive(Debug)]
struct CuttingDisk {
    below: Arc<RealDisk>,
    /// Where the records of the segment end.
    end: u64,
    /// The length that its footer gives it once a mapping has failed.
    sealed_len: u64,
    is_cut: Arc<AtomicBool>,
}

#[derive(Debug)]
struct CuttingFile {
    below: Arc<dyn File>,
    /// The file to be written to, if it is the segment.
    writable: Option<Arc<dyn File>>,
    end: u64,
    sealed_len: u64,
    is_cut: Arc<AtomicBool>,
}

impl CuttingFile {
    fn cut(&self) {
        if let Some(file) = &self.writable
            && !self.is_cut.swap(true, Relaxed)
        {
            file.set_len(self.end).expect("a cut");
        }
    }
}

#[track_caller]
fn only_read<T>() -> T {
    panic!("a read-only opener writes")
}

impl Disk for CuttingDisk {
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        let Some(below) = self.below.open(path, access)? else { return Ok(None) };
        let is_segment = path.starts_with("segments/");
        let writable = if is_segment { self.below.open(path, Access::Write)? } else { None };
        let (end, sealed_len, is_cut) = (self.end, self.sealed_len, self.is_cut.clone());
        Ok(Some(Arc::new(CuttingFile { below, writable, end, sealed_len, is_cut })))
    }
    fn create(&self, _: &str) -> Result<Arc<dyn File>> {
        only_read()
    }
    fn link(&self, _: &dyn File, _: &str) -> Result<bool> {
        only_read()
    }
    fn unlink(&self, _: &str) -> Result<bool> {
        only_read()
    }
    fn rename(&self, _: &str, _: &str) -> Result<bool> {
        only_read()
    }
    fn make_dir(&self, _: &str) -> Result<bool> {
        only_read()
    }
    fn remove_dir(&self, _: &str) -> Result<bool> {
        only_read()
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.below.list(dir)
    }
    fn sync_dir(&self, _: &str) -> Result<()> {
        only_read()
    }
    fn file_system(&self) -> &'static str {
        self.below.file_system()
    }
    fn space(&self) -> Result<Space> {
        self.below.space()
    }
    fn identity(&self) -> Result<Identity> {
        self.below.identity()
    }
}

impl File for CuttingFile {
    fn len(&self) -> Result<u64> {
        let len = self.below.len();
        self.cut();
        len
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.below.read_at(buffer, offset)
    }
    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        only_read()
    }
    fn reserve(&self, _: u64, _: u64, _: Reserve) -> Result<()> {
        only_read()
    }
    fn set_len(&self, _: u64) -> Result<()> {
        only_read()
    }
    fn sync_data(&self) -> Result<()> {
        only_read()
    }
    fn set_mode(&self, _: u32) -> Result<()> {
        only_read()
    }
    fn is_owner_writable(&self) -> Result<bool> {
        self.below.is_owner_writable()
    }
    fn map(&self, len: u64, access: Access) -> Result<Map> {
        let mapped = self.below.map(len, access);
        if let (Err(_), Some(file)) = (&mapped, &self.writable) {
            file.set_len(self.sealed_len).expect("a footer");
        }
        mapped
    }
    fn try_lock(&self, _: u64, _: u64, _: LockKind) -> Result<bool> {
        only_read()
    }
    fn unlock(&self, _: u64, _: u64) -> Result<()> {
        only_read()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Puts a blob in and reads it where the segment is cut in between; `boot` is the reader's. The footer
/// that follows reaches `beyond` bytes further than what was cut off.
fn read_while_cut(path: &Path, boot: Option<&str>, beyond: Option<u64>) {
    let body = bytes(3000, 1);
    let writer = options().create(true).open(path).expect("a store");
    let id: BlobId = writer.put(&body).expect("a put");
    let stat = writer.stat(&id).expect("a stat").expect("it is there");
    let end = (stat.offset + 64 + stat.len).next_multiple_of(64);
    let file = segment_file(path, stat.segment);
    let reserved = std::fs::metadata(&file).expect("a segment").len();
    assert!(reserved > end, "nothing is reserved");
    let sealed_len = beyond.map_or(end, |beyond| reserved + beyond);
    let open =
        OpenOptions { writable: true, boot_id: boot.map(Into::into), ..OpenOptions::default() };
    let below = RealDisk::open(path, &open).expect("a directory");
    let is_cut = Arc::new(AtomicBool::new(false));
    let disk = Arc::new(CuttingDisk { below, end, sealed_len, is_cut: is_cut.clone() });
    let reader = options().read_only(true).disk(disk).open(path).expect("a reader");
    let blob = reader.get(&id).expect("a get").expect("it is there");
    assert!(*blob == body[..], "other bytes");
    assert!(is_cut.load(Relaxed), "nothing was cut");
    assert_eq!(std::fs::metadata(&file).expect("a segment").len(), sealed_len);
}

#[test]
fn a_segment_that_is_cut_while_it_is_mapped_is_read() {
    let dir = in_memory();
    read_while_cut(&dir.path().join("store"), None, None);
}

#[test]
fn a_segment_that_is_cut_while_a_recovery_maps_it_is_read() {
    let dir = in_memory();
    read_while_cut(&dir.path().join("store"), Some("another"), None);
}

#[test]
fn a_segment_whose_footer_reaches_beyond_what_was_cut_off_is_read() {
    let dir = in_memory();
    for (beyond, boot) in [(0, None), (64, None), (64, Some("another"))] {
        read_while_cut(&dir.path().join(format!("{beyond} {boot:?}")), boot, Some(beyond));
    }
}
