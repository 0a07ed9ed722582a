//! Keeps the text of the running statement, which may hold a token, out of the server's log.

use pgrx::prelude::*;
use std::cell::UnsafeCell;
use std::ffi::c_void;

struct Callback(UnsafeCell<pg_sys::ErrorContextCallback>);

// SAFETY: used by the one thread of a backend only.
unsafe impl Sync for Callback {}

static CALLBACK: Callback = Callback(UnsafeCell::new(pg_sys::ErrorContextCallback {
    previous: std::ptr::null_mut(),
    callback: Some(hide),
    arg: std::ptr::null_mut(),
}));

/// Runs `work`, and hides the statement from the log entry of an error it ends with.
///
/// The callback is removed when `work` succeeds. When it fails, the error removes it: the list is
/// restored to where the error's handler was entered. A frame of Rust cannot hold it, because pgrx
/// raises what `work` returns only after all such frames are gone.
pub fn hiding_statement<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let callback = CALLBACK.0.get();
    // SAFETY: the callback is static, so it outlives every error; it is linked once only.
    unsafe {
        if pg_sys::error_context_stack == callback {
            return work();
        }
        (*callback).previous = pg_sys::error_context_stack;
        pg_sys::error_context_stack = callback;
    }
    let result = work();
    if result.is_ok() {
        // SAFETY: what `work` has linked it has unlinked, so the callback is the first again.
        unsafe { pg_sys::error_context_stack = (*callback).previous };
    }
    result
}

unsafe extern "C-unwind" fn hide(_argument: *mut c_void) {
    // SAFETY: called by errfinish while an error is being built; both only set a flag of it.
    unsafe {
        pg_sys::errhidestmt(true);
        pg_sys::errhidecontext(true);
    }
}
