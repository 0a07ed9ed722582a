//! pg_ward has one mode: loaded by the postmaster.

use crate::error;
use pgrx::prelude::*;

/// Raises an ERROR naming the line to add unless the library is being preloaded.
pub fn require() {
    // SAFETY: a plain global of the backend, read on the main thread.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        error::raise(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_ward is not preloaded",
            "Add the line \"shared_preload_libraries = 'pg_ward'\" to postgresql.conf (after a comma if \
             the line exists already) and restart the server.",
        ));
    }
}
