//! Who sends a value.

use pgrx::prelude::*;

/// Whether this session restores data: a superuser's, or a worker that applies replicated changes.
///
/// Session and current role both count: a SECURITY DEFINER function of a superuser handles what
/// others send.
pub fn restores() -> bool {
    // SAFETY: read the state of this process; look up roles, in a transaction.
    let superuser = unsafe {
        pg_sys::superuser_arg(pg_sys::GetUserId())
            && pg_sys::superuser_arg(pg_sys::GetSessionUserId())
    };
    superuser || applies_changes()
}

/// Whether this process applies changes that another server has published.
pub fn applies_changes() -> bool {
    // SAFETY: reads the state of this process.
    unsafe { pg_sys::IsLogicalWorker() }
}
