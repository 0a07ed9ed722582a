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

/// Hides the statement from the log entry of the error that the caller is about to raise. To be called
/// directly before that: the callback is removed with the error, as every callback above its handler.
pub fn hide_statement() {
    // SAFETY: the callback is static, so it outlives the error; it is linked only once, because an
    // error that is raised restores the list to where its handler was entered, and a second call
    // before that finds it first in the list.
    unsafe {
        let callback = CALLBACK.0.get();
        if pg_sys::error_context_stack != callback {
            (*callback).previous = pg_sys::error_context_stack;
            pg_sys::error_context_stack = callback;
        }
    }
}

unsafe extern "C-unwind" fn hide(_argument: *mut c_void) {
    // SAFETY: called by errfinish while an error is being built; both only set a flag of it.
    unsafe {
        pg_sys::errhidestmt(true);
        pg_sys::errhidecontext(true);
    }
}
