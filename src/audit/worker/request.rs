//! Asking for a seal, and waiting for it.

use crate::audit::store;
use crate::error::{self, Result};
use crate::pg::{owner, process, shared};
use pgrx::prelude::*;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// How long `seal_audit_trail()` waits for a launcher that does not run.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has the worker seal now, and waits until everything committed before the call is sealed. Returns
/// the number of leaves in the log.
#[pg_extern(parallel_unsafe)]
pub fn seal_audit_trail() -> Result<i64> {
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "the audit trail cannot be sealed on a standby",
            "Call ward.seal_audit_trail() on the primary.",
        ));
    }
    sealed_once_more()?;
    // As the owner and with a fresh snapshot: the caller's own may be older than the block.
    Ok(owner::run(store::last_block).map_or(0, |block| block.tree_size as i64))
}

/// Has the worker seal, and waits until it has.
pub fn sealed_once_more() -> Result<()> {
    let Some(slot) = shared::mine() else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "more than {} databases of this cluster have an audit trail",
                shared::SLOTS
            ),
        ));
    };
    let ticket = slot.requested.fetch_add(1, Ordering::AcqRel) + 1;
    let launcher = &shared::get().launcher;
    process::wake(launcher);
    process::wake(&slot.worker);
    let mut served = Instant::now();
    let mut looked = Instant::now();
    loop {
        // Success first: a later round that fails takes nothing back.
        if slot.sealed.load(Ordering::Acquire) >= ticket {
            break;
        }
        if slot.failed.load(Ordering::Acquire) >= ticket {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
                "sealing the audit trail failed",
                "The server's log says why. The sealing worker tries again by itself.",
            ));
        }
        if looked.elapsed() >= Duration::from_millis(100) {
            looked = Instant::now();
            let served_by = |cell: &AtomicI32| process::alive(cell.load(Ordering::Acquire));
            if served_by(launcher) || served_by(&slot.worker) {
                served = looked;
            } else if served.elapsed() >= PATIENCE {
                return Err(error::report_hint(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "the audit trail cannot be sealed: pg_ward's launcher is not running",
                    "The server's log says why. If it lacks background workers, raise max_worker_processes and restart the server.",
                ));
            }
        }
        process::nap(Duration::from_millis(2));
    }
    Ok(())
}
