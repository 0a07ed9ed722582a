//! Waking other processes, waiting, and starting workers.

use super::unguarded;
use pgrx::prelude::*;
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Sets the latch of the process whose id `cell` holds, if there is such a process of this server.
/// The id may be stale: a process that got the same id since then is woken for nothing, and a
/// process that is no part of this server is not touched.
pub fn wake(cell: &AtomicI32) {
    if let Some(process) = find(cell.load(Ordering::Acquire)) {
        // SAFETY: an entry of the process array stays in shared memory after its process has ended;
        // setting the latch of a process that is gone has no effect.
        unsafe { pg_sys::SetLatch(&raw mut (*process).procLatch) };
    }
}

/// Whether process `pid` is a live process of this server that has come as far as its first
/// transaction.
pub fn alive(pid: i32) -> bool {
    find(pid).is_some()
}

fn find(pid: i32) -> Option<*mut pg_sys::PGPROC> {
    if pid <= 0 {
        return None;
    }
    // SAFETY: looks the process up under the process array's lock.
    let process = unsafe { pg_sys::BackendPidGetProc(pid) };
    (!process.is_null()).then_some(process)
}

/// Waits on this backend's latch, at most `timeout`; interrupts are processed.
pub fn nap(timeout: Duration) {
    // SAFETY: MyLatch is set in every backend.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as c_int,
            timeout.as_millis() as c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// This process's id.
pub fn my_pid() -> i32 {
    // SAFETY: reads a backend global.
    unsafe { pg_sys::MyProcPid }
}

/// The database this backend is connected to.
pub fn my_database() -> pg_sys::Oid {
    // SAFETY: reads a backend global.
    unsafe { pg_sys::MyDatabaseId }
}

/// The cluster's data directory.
pub fn data_directory() -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: set once by the postmaster, a C string.
    let name = unsafe { std::ffi::CStr::from_ptr(pg_sys::DataDir) };
    std::ffi::OsStr::from_bytes(name.to_bytes()).into()
}

/// Now, in microseconds since 1970-01-01 UTC.
pub fn now_micros() -> i64 {
    unix_micros(unguarded::now())
}

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
pub const EPOCH_SHIFT: i64 = 946_684_800_000_000;

fn unix_micros(timestamp: pg_sys::TimestampTz) -> i64 {
    timestamp + EPOCH_SHIFT
}

/// Whether the server is in recovery (a standby).
pub fn in_recovery() -> bool {
    // SAFETY: reads shared state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The cluster's system identifier and current timeline.
pub fn cluster_identity() -> (u64, u32) {
    // SAFETY: reads shared state; the timeline is asked for only outside recovery.
    unsafe {
        let timeline = if in_recovery() {
            0
        } else {
            pg_sys::GetWALInsertionTimeLine()
        };
        (pg_sys::GetSystemIdentifier(), timeline)
    }
}

/// A database of the cluster.
pub struct Database {
    /// Its oid.
    pub oid: pg_sys::Oid,
    /// Whether it accepts new connections.
    pub accepts_connections: bool,
}

/// What `datconnlimit` says of a database whose DROP DATABASE was interrupted. Nobody can connect to
/// it any more.
const INVALID_DATABASE: i32 = -2;

/// The databases that exist now. For the launcher, which is connected to none.
pub fn databases() -> Vec<Database> {
    let mut found = Vec::new();
    // SAFETY: pg_database is a shared catalog that can be read without a database, as autovacuum's
    // launcher does; each tuple is used before the next is fetched.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::GetTransactionSnapshot();
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let scan = pg_sys::heap_beginscan(
            relation,
            snapshot,
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            flags,
        );
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if (*form).datconnlimit != INVALID_DATABASE {
                found.push(Database {
                    oid: (*form).oid,
                    accepts_connections: (*form).datallowconn,
                });
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pg_sys::CommitTransactionCommand();
    }
    found
}
