//! What a backend has to know of the log it writes to: its tables, its identity, its key.

use super::{store, worker};
use crate::error::{self, Result};
use crate::pg::owner;
use crate::pg::query::{self, Arg};
use pgrx::prelude::*;
use ward_log::Hash;

/// The log of this database, as loaded once per backend.
pub struct Log {
    /// The two journals.
    pub journals: [pg_sys::Oid; 2],
    /// Table of the log's identity; when it changes this struct is stale.
    pub identity_table: pg_sys::Oid,
    /// Which history this is.
    pub incarnation: [u8; 16],
}

impl Log {
    /// Loads it. Raises when the log has not been created yet.
    pub fn load() -> Result<Log> {
        let table = |name| owner::table(name).ok_or_else(missing);
        table(c"audit_log")?;
        let mut identity = owner::run(store::identity).ok_or_else(missing)?;
        if owner::run(|| identity.has_other_xids())? {
            // The worker closes what came along from the other cluster before anything is added to it.
            worker::sealed_once_more()?;
            identity = owner::run(store::identity).ok_or_else(missing)?;
            if owner::run(|| identity.has_other_xids())? {
                return Err(not_begun());
            }
        }
        Ok(Log {
            journals: [table(c"audit_journal_0")?, table(c"audit_journal_1")?],
            identity_table: table(c"audit_log")?,
            incarnation: identity.incarnation,
        })
    }
}

/// Whether this database has a log to write to.
pub fn exists() -> bool {
    owner::run(store::identity).is_some()
}

fn not_begun() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the audit log was brought here from another cluster and has not begun anew yet",
        "The sealing worker has to see the restored log first: commit the restore, then repeat this in another transaction.",
    )
}

fn missing() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "this database has no audit log",
        "The audit trigger outlived the extension or its log. Call ward.enable_audit() again, or drop the trigger.",
    )
}

/// Whether the sealer has registered `shape`.
pub fn shape_registered(shape: &Hash) -> bool {
    let mut found = false;
    owner::run(|| {
        query::read(
            c"SELECT 1::bigint FROM ward.audit_shape WHERE shape_id = $1",
            &[Arg::Bytes(shape)],
            |_| found = true,
        );
    });
    found
}
