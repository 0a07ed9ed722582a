//! A plan that may start parallel workers binds the transaction first: what a worker reads, its
//! leader would not know.

use crate::context::state;
use crate::error;
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

mod plain {
    use pgrx::pg_sys;
    use std::ffi::c_int;

    // Without pgrx's guard: an error that passes the guard is raised anew and loses what it says of
    // constraint, table, column and place.
    unsafe extern "C-unwind" {
        pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    }
}

// Not guarded: an ERROR raised inside jumps over this frame, which holds nothing that would have to
// be dropped, and in which nothing panics.
unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: the executor passes a valid query with its plan; the arguments are handed on as they
    // came.
    unsafe {
        if (*(*query).plannedstmt).parallelModeNeeded {
            enter_parallel();
        }
        match PREVIOUS.get() {
            Some(Some(previous)) => previous(query, flags),
            _ => plain::standard_ExecutorStart(query, flags),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn enter_parallel() {
    if let Err(report) = state::enter_parallel() {
        error::raise(report);
    }
}
