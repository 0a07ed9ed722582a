//! The process itself: its environment, its configuration, the commands it starts.

use pgrx::pg_sys;
use std::ffi::CStr;
use zeroize::{Zeroize, Zeroizing};

/// Takes a variable out of the environment, so that no child process has it. What the kernel shows of
/// the postmaster's first environment, to its own user and root, stays.
///
/// Only for `_PG_init`, which runs in the postmaster before it has children or threads.
pub fn take_environment(name: &CStr) -> Option<Zeroizing<Vec<u8>>> {
    // SAFETY: the postmaster has one thread, so nobody changes the environment meanwhile. The
    // pointer is NULL or a NUL-terminated string that belongs to the environment and is writable;
    // it is wiped before unsetenv forgets it, and not used afterwards.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            return None;
        }
        let len = libc::strlen(value);
        let bytes = std::slice::from_raw_parts_mut(value.cast::<u8>(), len);
        let taken = Zeroizing::new(bytes.to_vec());
        bytes.zeroize();
        libc::unsetenv(name.as_ptr());
        Some(taken)
    }
}

/// Kills a process group that this process started and has not yet waited for.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        // SAFETY: takes numbers only. The leader has not been waited for, so its id is not reused.
        unsafe { libc::killpg(leader, libc::SIGKILL) };
    }
}

/// Whether this process was told to end, and has not looked at that yet.
pub fn told_to_end() -> bool {
    // SAFETY: a plain global, set by the handler of SIGTERM; the read must not be moved out of a loop.
    unsafe { std::ptr::read_volatile(&raw const pg_sys::ProcDiePending) != 0 }
}

/// The user this process acts as.
pub fn user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// When this process, or the postmaster before forking it, last read its configuration.
pub fn configuration_read_at() -> i64 {
    // SAFETY: a plain global of this process, written only by this thread.
    unsafe { pg_sys::PgReloadTime }
}

/// The id of this process as PostgreSQL keeps it, without a system call.
pub fn id() -> i32 {
    // SAFETY: a plain global, set right after the fork and constant afterwards.
    unsafe { pg_sys::MyProcPid }
}

/// Whether this server is a standby, where nothing can be written.
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state that is set up before any session starts.
    unsafe { pg_sys::RecoveryInProgress() }
}
