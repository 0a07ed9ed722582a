//! The end of a transaction releases its tenant, and refuses a context that was set for nothing.

use crate::context::state;
use crate::error;
use crate::pg::unguarded;
use pgrx::prelude::*;
use std::ffi::c_void;

/// Registers the callback. Backends inherit it from the postmaster.
pub fn register() {
    // SAFETY: the callback is guarded and lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_event), std::ptr::null_mut()) }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_event(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::*;
    match event {
        // A parallel worker commits a transaction of its own after it took over the settings.
        XACT_EVENT_PRE_COMMIT if !is_parallel_worker() => {
            if let Err(report) = state::before_commit(unguarded::is_in_block()) {
                error::raise(report);
            }
        }
        XACT_EVENT_COMMIT
        | XACT_EVENT_ABORT
        | XACT_EVENT_PREPARE
        | XACT_EVENT_PARALLEL_COMMIT
        | XACT_EVENT_PARALLEL_ABORT => state::end_transaction(),
        _ => {}
    }
}

fn is_parallel_worker() -> bool {
    // SAFETY: a plain global of the backend, read on its only thread.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}
