//! Functions of PostgreSQL that never raise. pgrx guards every call against errors, which costs as much
//! as a short value's encryption; what cannot raise needs no guard.

use pgrx::pg_sys;
use std::ffi::{c_int, c_void};

mod postgres {
    use super::{c_int, c_void, pg_sys};

    unsafe extern "C-unwind" {
        /// Declared in miscadmin.h: reads a variable.
        pub fn GetUserId() -> pg_sys::Oid;
        /// Declared in miscadmin.h: reads a variable.
        pub fn GetSessionUserId() -> pg_sys::Oid;
        /// Declared in access/xact.h: reads a variable.
        pub fn GetCurrentSubTransactionId() -> pg_sys::SubTransactionId;
        /// Declared in access/xact.h: reads a variable.
        pub fn IsTransactionBlock() -> bool;
        /// Declared in access/xact.h: reads a variable.
        pub fn GetTopFullTransactionIdIfAny() -> pg_sys::FullTransactionId;
        /// Declared in utils/timestamp.h: reads the clock.
        pub fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
        /// Declared in mb/pg_wchar.h: reads a variable.
        pub fn GetDatabaseEncoding() -> c_int;
        /// Declared in utils/palloc.h: gives memory back.
        pub fn pfree(pointer: *mut c_void);
        /// Declared in utils/palloc.h: raises for a size above `MaxAllocSize`, and for want of memory
        /// unless it is told not to.
        pub fn palloc_extended(size: usize, flags: c_int) -> *mut c_void;
    }
}

/// The longest allocation that PostgreSQL's allocator serves: `MaxAllocSize`.
const LONGEST: usize = 0x3fff_ffff;

/// The role whose rights count now.
pub fn user_id() -> pg_sys::Oid {
    // SAFETY: reads the state of this process.
    unsafe { postgres::GetUserId() }
}

/// Gives palloc'ed memory back.
///
/// # Safety
/// It was palloc'ed, and nobody uses it any more.
pub unsafe fn free(memory: *mut c_void) {
    // SAFETY: the caller's promise; what was palloc'ed is taken back without complaint.
    unsafe { postgres::pfree(memory) }
}

/// The role that the session acts for.
pub fn session_user_id() -> pg_sys::Oid {
    // SAFETY: reads the state of this process.
    unsafe { postgres::GetSessionUserId() }
}

/// The current subtransaction.
pub fn subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: reads the state of this process.
    unsafe { postgres::GetCurrentSubTransactionId() }
}

/// Whether the client has begun a transaction block.
pub fn is_in_block() -> bool {
    // SAFETY: reads the state of this process.
    unsafe { postgres::IsTransactionBlock() }
}

/// The full id of the top-level transaction, if it has one.
pub fn top_xid() -> Option<u64> {
    // SAFETY: reads the state of this process.
    let xid = unsafe { postgres::GetTopFullTransactionIdIfAny() }.value;
    (xid != 0).then_some(xid)
}

/// Now.
pub fn now() -> pg_sys::TimestampTz {
    // SAFETY: reads the clock.
    unsafe { postgres::GetCurrentTimestamp() }
}

/// The encoding of the database.
pub fn database_encoding() -> i32 {
    // SAFETY: reads the state of this process, which is set up before the first call.
    unsafe { postgres::GetDatabaseEncoding() }
}

/// Zeroed memory in the current context; `None` when there is not as much.
pub fn zeroed(len: usize) -> Option<*mut u8> {
    allocate(len, pg_sys::MCXT_ALLOC_ZERO)
}

/// Memory in the current context; `None` when there is not as much.
pub fn allocated(len: usize) -> Option<*mut u8> {
    allocate(len, 0)
}

fn allocate(len: usize, flags: u32) -> Option<*mut u8> {
    if len > LONGEST {
        return None;
    }
    let flags = flags | pg_sys::MCXT_ALLOC_NO_OOM;
    // SAFETY: the size is one that is served, and for want of memory the answer is NULL: nothing is
    // raised.
    let start = unsafe { postgres::palloc_extended(len, flags as c_int) };
    (!start.is_null()).then_some(start.cast())
}
