//! A plan that may start parallel workers binds the transaction first: what a worker reads, its
//! leader would not know.

use crate::context::state;
use crate::error;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use std::ffi::c_int;
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::ExecutorStart_hook_type> = OnceLock::new();

/// Puts the hook before the one that is there.
pub fn register() {
    // SAFETY: hooks are plain globals, changed by the postmaster before it has children.
    unsafe {
        if PREVIOUS.set(pg_sys::ExecutorStart_hook).is_ok() {
            pg_sys::ExecutorStart_hook = Some(executor_start);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: the executor passes a valid query with its plan.
    let parallel = unsafe { (*(*query).plannedstmt).parallelModeNeeded };
    if parallel && let Err(report) = state::enter_parallel() {
        error::raise(report);
    }
    // SAFETY: the arguments are handed on as they came; the boundary turns an ERROR raised inside
    // into a panic, so that no Rust frame is jumped over.
    unsafe {
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query, flags)),
            None => pg_sys::standard_ExecutorStart(query, flags),
        }
    }
}
