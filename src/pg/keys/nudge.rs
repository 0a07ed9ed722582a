//! Has the other sessions of this database look at their caches at once, idle ones included: a key
//! that was taken away must not stay in the memory of a session that nobody uses.
//!
//! The signal is the one by which PostgreSQL itself tells an idle session to read the invalidations
//! that wait for it. It ends nothing and needs no lock; a session that is busy reads them anyway.

use pgrx::prelude::*;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Nudges the others once this transaction is committed.
pub fn after_commit() {
    ASKED.set(true);
}

/// Registers the callback, in the postmaster, for all its children.
pub fn init() {
    // SAFETY: a callback of the type asked for, in a library that is never unloaded.
    unsafe { pg_sys::RegisterResourceReleaseCallback(Some(at_release), ptr::null_mut()) }
}

/// The last phase of a commit: the invalidations have been sent by now.
#[pg_guard]
unsafe extern "C-unwind" fn at_release(
    phase: pg_sys::ResourceReleasePhase::Type,
    commit: bool,
    top: bool,
    _arg: *mut core::ffi::c_void,
) {
    if !top || !ASKED.get() || phase != pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_AFTER_LOCKS {
        return;
    }
    ASKED.set(false);
    if commit {
        all();
    }
}

fn all() {
    // SAFETY: the process array stays in shared memory for the server's life. An entry that changes
    // while it is read leads to a signal to a process that has no use for it, or to none: the call
    // looks the id up among this server's processes, and does not raise.
    unsafe {
        let header = &*pg_sys::ProcGlobal;
        for place in 0..header.allProcCount as usize {
            let process = header.allProcs.add(place);
            let pid = ptr::read_volatile(&raw const (*process).pid);
            let database = ptr::read_volatile(&raw const (*process).databaseId);
            if pid > 0 && pid != pg_sys::MyProcPid && database == pg_sys::MyDatabaseId {
                pg_sys::SendProcSignal(
                    pid,
                    pg_sys::ProcSignalReason::PROCSIG_CATCHUP_INTERRUPT,
                    // Not known: have it looked up.
                    -1,
                );
            }
        }
    }
}
