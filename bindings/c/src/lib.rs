//! C bindings of drystone; `include/drystone.h` is their documentation.
//!
//! No panic crosses into C: every function that can fail catches it and returns `DRY_IO`.
mod status;

use drystone::{Blob, BlobId, Draft, Durability, Error, HashAlgorithm, PutOptions, Refs, Store};
use status::{MISSING, OK, TIMED_OUT, attempt, invalid, report};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

const ID_BYTES: usize = 72;

/// An opened store.
pub struct DryStore(Store);
/// A view of a blob.
pub struct DryBlob(Blob);
/// A blob that is being computed.
pub struct DryDraft(Draft);

/// # Safety
/// `text` is null or a NUL-terminated string that lives as long as the call.
unsafe fn bytes_of<'a>(text: *const c_char, what: &str) -> Result<&'a [u8], c_int> {
    if text.is_null() {
        return Err(invalid(&format!("{what} is a null pointer")));
    }
    // SAFETY: not null, and NUL-terminated by the caller's contract.
    Ok(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// # Safety
/// As [`bytes_of`].
unsafe fn text_of<'a>(text: *const c_char, what: &str) -> Result<&'a str, c_int> {
    // SAFETY: the caller of this function keeps the same contract as the one called asks for.
    let bytes = unsafe { bytes_of(text, what) }?;
    std::str::from_utf8(bytes).map_err(|_| invalid(&format!("{what} is not UTF-8")))
}

/// # Safety
/// As [`bytes_of`].
unsafe fn id_of(text: *const c_char) -> Result<BlobId, c_int> {
    // SAFETY: the caller of this function keeps the same contract as the one called asks for.
    unsafe { text_of(text, "the id") }?.parse().map_err(|error| report(&error))
}

/// # Safety
/// `pointer` is null or valid for reads of `len` bytes that nobody writes during the call.
unsafe fn slice_of<'a>(pointer: *const c_void, len: usize) -> Result<&'a [u8], c_int> {
    match (pointer.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(invalid("the key is a null pointer")),
        // SAFETY: not null here, and valid for the call by what the caller keeps.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), len) }),
    }
}

/// # Safety
/// `pointer` is null or a live handle of this library.
unsafe fn handle<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, c_int> {
    // SAFETY: not null here, and valid for the call by what the caller keeps.
    unsafe { pointer.as_ref() }.ok_or_else(|| invalid(&format!("{what} is a null pointer")))
}

/// # Safety
/// `into` is null or valid for a write.
unsafe fn give<T>(into: *mut *mut T, value: T) -> Result<c_int, c_int> {
    if into.is_null() {
        return Err(invalid("there is no place for the result"));
    }
    // SAFETY: not null, and valid by the caller's contract.
    unsafe { into.write(Box::into_raw(Box::new(value))) };
    Ok(OK)
}

/// # Safety
/// `into` is null or valid for writes of `ID_BYTES` bytes.
unsafe fn give_id(into: *mut c_char, id: &BlobId) -> Result<c_int, c_int> {
    if into.is_null() {
        return Ok(OK);
    }
    let text = id.to_string();
    debug_assert!(text.len() < ID_BYTES, "the text of an id and its NUL fit");
    // SAFETY: the buffer holds `ID_BYTES` bytes, more than the text and its NUL.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), into.cast::<u8>(), text.len());
        into.add(text.len()).write(0);
    }
    Ok(OK)
}

/// # Safety
/// As [`handle`] and [`text_of`].
unsafe fn refs_of(store: *const DryStore, space: *const c_char) -> Result<Refs, c_int> {
    // SAFETY: the caller of this function keeps the same contract as the one called asks for.
    unsafe { Ok(handle(store, "the store")?.0.refs(text_of(space, "the namespace")?)) }
}

fn failed(error: Error) -> c_int {
    report(&error)
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_open(
    path: *const c_char,
    flags: c_uint,
    into: *mut *mut DryStore,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let path = unsafe { bytes_of(path, "the path") }?;
        let mut options = Store::options().create(flags & 1 != 0).read_only(flags & 2 != 0);
        if flags & 4 != 0 {
            options = options.hash(HashAlgorithm::Blake3);
        }
        if flags & 8 != 0 {
            options = options.durability(Durability::Synced);
        }
        let store = options.open(Path::new(std::ffi::OsStr::from_bytes(path))).map_err(failed)?;
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        unsafe { give(into, DryStore(store)) }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_close(store: *mut DryStore) {
    if !store.is_null() {
        // SAFETY: made by `dry_open`, and given up by the caller.
        drop(unsafe { Box::from_raw(store) });
    }
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_put(
    store: *mut DryStore,
    bytes: *const c_void,
    len: usize,
    id: *mut c_char,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let store = unsafe { handle(store, "the store") }?;
        if bytes.is_null() && len != 0 {
            return Err(invalid("the bytes are a null pointer"));
        }
        let bytes = if len == 0 { std::ptr::NonNull::dangling().as_ptr() } else { bytes.cast() };
        // SAFETY: the header asks for `len` readable bytes; they may change meanwhile.
        let put = unsafe { store.0.put_raw(bytes, len, &PutOptions::new()) }.map_err(failed)?;
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        unsafe { give_id(id, &put) }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_get(
    store: *mut DryStore,
    id: *const c_char,
    into: *mut *mut DryBlob,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (store, id) = unsafe { (handle(store, "the store")?, id_of(id)?) };
        match store.0.get(&id).map_err(failed)? {
            // SAFETY: the header asks the caller for pointers that are valid during the call.
            Some(blob) => unsafe { give(into, DryBlob(blob)) },
            None => Err(status::tell(MISSING, &format!("the blob {id} is not in the store"))),
        }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_blob_data(blob: *const DryBlob) -> *const c_void {
    // SAFETY: the header asks the caller for pointers that are valid during the call.
    unsafe { blob.as_ref() }.map_or(std::ptr::null(), |blob| blob.0.as_ptr().cast())
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_blob_len(blob: *const DryBlob) -> usize {
    // SAFETY: the header asks the caller for pointers that are valid during the call.
    unsafe { blob.as_ref() }.map_or(0, |blob| blob.0.len())
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_blob_release(blob: *mut DryBlob) {
    if !blob.is_null() {
        // SAFETY: made by `dry_get`, and given up by the caller.
        drop(unsafe { Box::from_raw(blob) });
    }
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_unpin(store: *mut DryStore, id: *const c_char) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (store, id) = unsafe { (handle(store, "the store")?, id_of(id)?) };
        status::found(store.0.unpin(&id).map_err(failed)?, "the blob has no pin")
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_remove(store: *mut DryStore, id: *const c_char) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (store, id) = unsafe { (handle(store, "the store")?, id_of(id)?) };
        status::found(store.0.remove(&id).map_err(failed)?, "the blob is not in the store")
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_reserve(
    store: *mut DryStore,
    len: u64,
    into: *mut *mut DryDraft,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let store = unsafe { handle(store, "the store") }?;
        let draft = store.0.reserve(len).map_err(failed)?;
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        unsafe { give(into, DryDraft(draft)) }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_draft_data(draft: *mut DryDraft) -> *mut c_void {
    // SAFETY: the header's contract: a live draft, used by one thread at a time.
    unsafe { draft.as_mut() }.map_or(std::ptr::null_mut(), |draft| draft.0.as_mut_ptr().cast())
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_draft_commit(draft: *mut *mut DryDraft, id: *mut c_char) -> c_int {
    attempt(|| {
        // SAFETY: the header's contract: null, or a place that holds null or a live draft.
        let place = unsafe { draft.as_mut() }.filter(|draft| !draft.is_null());
        let place = place.ok_or_else(|| invalid("the draft is a null pointer"))?;
        // SAFETY: a live draft, made by `dry_reserve`; the place is emptied before anything else.
        let draft = unsafe { Box::from_raw(std::mem::replace(place, std::ptr::null_mut())) };
        match draft.0.commit() {
            // SAFETY: the header asks the caller for pointers that are valid during the call.
            Ok(committed) => unsafe { give_id(id, &committed) },
            Err(failure) => {
                *place = Box::into_raw(Box::new(DryDraft(failure.draft)));
                Err(failed(failure.error))
            }
        }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_draft_abort(draft: *mut DryDraft) {
    if !draft.is_null() {
        // SAFETY: made by `dry_reserve`, and given up by the caller.
        drop(unsafe { Box::from_raw(draft) });
    }
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_ref_set(
    store: *mut DryStore,
    space: *const c_char,
    key: *const c_void,
    key_len: usize,
    id: *const c_char,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (refs, key, id) =
            unsafe { (refs_of(store, space)?, slice_of(key, key_len)?, id_of(id)?) };
        refs.set(key, id).map(|_| OK).map_err(failed)
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_ref_get(
    store: *mut DryStore,
    space: *const c_char,
    key: *const c_void,
    key_len: usize,
    id: *mut c_char,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (refs, key) = unsafe { (refs_of(store, space)?, slice_of(key, key_len)?) };
        let entry = refs.get(key).map_err(failed)?;
        match entry.as_ref().and_then(|entry| entry.blob()) {
            // SAFETY: the header asks the caller for pointers that are valid during the call.
            Some(blob) => unsafe { give_id(id, blob) },
            None => {
                Err(status::tell(MISSING, "there is no such ref, or it does not name one blob"))
            }
        }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_ref_wait(
    store: *mut DryStore,
    space: *const c_char,
    key: *const c_void,
    key_len: usize,
    milliseconds: u64,
    id: *mut c_char,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (refs, key) = unsafe { (refs_of(store, space)?, slice_of(key, key_len)?) };
        let entry = refs.wait(key, Duration::from_millis(milliseconds)).map_err(failed)?;
        let Some(entry) = entry else {
            return Err(status::tell(TIMED_OUT, "the ref was not bound in the time given"));
        };
        match entry.blob() {
            // SAFETY: the header asks the caller for pointers that are valid during the call.
            Some(blob) => unsafe { give_id(id, blob) },
            None => Err(status::tell(MISSING, "the ref does not name one blob")),
        }
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_ref_remove(
    store: *mut DryStore,
    space: *const c_char,
    key: *const c_void,
    key_len: usize,
) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        let (refs, key) = unsafe { (refs_of(store, space)?, slice_of(key, key_len)?) };
        status::found(refs.remove(key).map_err(failed)?, "there is no such ref")
    })
}

/// See the header.
///
/// # Safety
/// Every pointer is null or as the header asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dry_sync(store: *mut DryStore) -> c_int {
    attempt(|| {
        // SAFETY: the header asks the caller for pointers that are valid during the call.
        unsafe { handle(store, "the store") }?.0.sync().map(|()| OK).map_err(failed)
    })
}
