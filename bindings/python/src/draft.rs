//! A blob that is filled in place: writable memory of a segment, until it is committed.

use crate::errors::{checked, invalid};
use crate::refs::Refs;
use drystone::{Draft, DraftMemory};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

enum State {
    /// Being filled.
    Open(Draft),
    /// Committed, or failed to be: its memory is this process's own.
    Kept(DraftMemory),
    /// While it changes from one to the other.
    Moving,
}

/// Memory to be filled, and then committed.
#[pyclass(frozen, module = "drystone")]
pub struct RawDraft {
    state: Mutex<State>,
    /// Where the memory stands: at one place as long as this lives.
    pointer: usize,
    len: usize,
}

impl RawDraft {
    /// Memory for a header and so many bytes.
    pub fn new(store: &drystone::Store, header: &[u8], len: u64) -> drystone::Result<Self> {
        let mut draft = store.reserve(len.saturating_add(header.len() as u64))?;
        draft[..header.len()].copy_from_slice(header);
        let (pointer, len) = (draft.as_mut_ptr() as usize, draft.len());
        Ok(Self { state: Mutex::new(State::Open(draft)), pointer, len })
    }
}

#[pymethods]
impl RawDraft {
    fn __len__(&self) -> usize {
        self.len
    }

    /// Publishes what stands in the memory, pinned or named by a ref; the id.
    #[pyo3(signature = (refs=None, key=None))]
    fn commit(
        &self,
        py: Python<'_>,
        refs: Option<&Bound<'_, Refs>>,
        key: Option<crate::refs::Key>,
    ) -> PyResult<String> {
        let refs = refs.map(|refs| refs.get().inner().clone());
        let named = match (&refs, &key) {
            (Some(refs), Some(key)) => Some((refs, key.as_ref())),
            (None, None) => None,
            _ => return Err(invalid(py, "refs and a key go together")),
        };
        let committed = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match std::mem::replace(&mut *state, State::Moving) {
                State::Open(draft) => {
                    let (memory, committed) = draft.commit_kept(named);
                    *state = State::Kept(memory);
                    committed
                }
                State::Kept(memory) => {
                    // What failed, or was committed before, is put as it stands there now.
                    let committed = memory.commit(named);
                    *state = State::Kept(memory);
                    committed
                }
                State::Moving => unreachable!("the state is locked"),
            }
        });
        Ok(checked(py, committed)?.to_string())
    }

    /// SAFETY: Python calls this with a view to be filled, and releases the view before the draft.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let draft = slf.get();
        // SAFETY: `view` is the caller's; the memory stands there, writable, as long as the draft, of which
        // `PyBuffer_FillInfo` takes a reference: a commit keeps it, as this process's own.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                draft.pointer as *mut _,
                draft.len.cast_signed(),
                0,
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
