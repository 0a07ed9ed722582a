//! REASSIGN OWNED fires no event trigger: a hook tells when it begins and when it has ended.

use crate::audit::enable;
use crate::error;
use pgrx::prelude::*;
use std::ffi::c_char;
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

/// Puts the hook before the one that is there.
pub fn register() {
    // SAFETY: hooks are plain globals, changed by the postmaster before it has children.
    unsafe {
        if PREVIOUS.set(pg_sys::ProcessUtility_hook).is_ok() {
            pg_sys::ProcessUtility_hook = Some(utility);
        }
    }
}

mod plain {
    use pgrx::pg_sys;
    use std::ffi::c_char;

    // Without pgrx's guard: an error that passes the guard is raised anew and loses what it says of
    // constraint, table, column and place.
    unsafe extern "C-unwind" {
        pub fn standard_ProcessUtility(
            statement: *mut pg_sys::PlannedStmt,
            query: *const c_char,
            read_only: bool,
            context: pg_sys::ProcessUtilityContext::Type,
            params: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            destination: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        );
    }
}

// Not guarded: an ERROR raised inside jumps over this frame, which holds nothing that would have to
// be dropped, and in which nothing panics.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: a valid utility statement, whose tag says what it is; the arguments are handed on as they came.
    unsafe {
        let reassigns = (*(*statement).utilityStmt).type_ == pg_sys::NodeTag::T_ReassignOwnedStmt;
        if reassigns {
            before();
        }
        let (of, q) = (statement, query);
        match PREVIOUS.get() {
            Some(Some(previous)) => previous(
                of,
                q,
                read_only,
                context,
                params,
                environment,
                destination,
                completion,
            ),
            _ => plain::standard_ProcessUtility(
                of,
                q,
                read_only,
                context,
                params,
                environment,
                destination,
                completion,
            ),
        }
        if reassigns {
            after();
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn before() {
    enable::owners_may_change();
}

#[pg_guard]
unsafe extern "C-unwind" fn after() {
    // SAFETY: inside a transaction that may write: the command could.
    unsafe { pg_sys::CommandCounterIncrement() };
    if let Err(report) = enable::owners_have_changed() {
        error::raise(report);
    }
}
