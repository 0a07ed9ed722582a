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

/// Whether this process is about to store a change that another server has published.
///
/// Not while it runs code of the table's owner: triggers, and functions in defaults and constraints,
/// could otherwise bring in what they like. User and security context do not tell the two apart: since
/// version 16 PostgreSQL acts as the table's owner from the conversion of the first value on.
pub fn applies_changes() -> bool {
    // SAFETY: reads the state of this process.
    unsafe { pg_sys::IsLogicalWorker() && !in_trigger() && handles_published_row() }
}

/// # Safety
/// In a session or a worker.
unsafe fn in_trigger() -> bool {
    // SAFETY: the function takes no argument and reads a counter.
    let depth = unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::pg_trigger_depth, &[])
            .map_or(0, |depth| depth.value() as i32)
    };
    depth > 0
}

/// Whether nothing was called since the worker took up a row: each function in SQL or a procedural
/// language, and each query, adds what it does to the context of errors.
///
/// # Safety
/// In a session or a worker.
#[cfg(not(feature = "pg15"))]
unsafe fn handles_published_row() -> bool {
    type Callback = unsafe extern "C-unwind" fn(*mut std::ffi::c_void);
    unsafe extern "C-unwind" {
        /// Declared in replication/worker_internal.h: of the worker that applies changes.
        fn apply_error_callback(arg: *mut std::ffi::c_void);
        /// Declared in commands/copy.h: of COPY, with which a worker fetches a table at first.
        fn CopyFromErrorCallback(arg: *mut std::ffi::c_void);
    }
    let rows: [Callback; 2] = [apply_error_callback, CopyFromErrorCallback];
    // SAFETY: the list is of this process, and NULL or valid at any time.
    let innermost = unsafe { pg_sys::error_context_stack.as_ref() };
    let innermost = innermost.and_then(|context| context.callback);
    innermost.is_some_and(|called| {
        rows.iter()
            .any(|row| std::ptr::fn_addr_eq::<Callback, Callback>(*row, called))
    })
}

/// Version 15 keeps its callback to itself. There a worker acts as the subscription's owner, who is a
/// superuser unless that was taken from him later.
///
/// # Safety
/// None needed.
#[cfg(feature = "pg15")]
unsafe fn handles_published_row() -> bool {
    true
}
