//! Waking other processes, waiting, and starting workers.

use pgrx::prelude::*;
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

const SIGUSR1: c_int = 10;

/// Sets the latch of the process whose id `slot` holds, if any: SIGUSR1 does that in every process
/// attached to shared memory.
pub fn wake(slot: &AtomicI32) {
    let pid = slot.load(Ordering::Acquire);
    if pid != 0 {
        // SAFETY: a signal that every backend handles; the processes clear their id on exit.
        unsafe { kill(pid, SIGUSR1) };
    }
}

/// Whether process `pid` exists.
pub fn alive(pid: i32) -> bool {
    // SAFETY: signal 0 only checks.
    pid != 0 && unsafe { kill(pid, 0) } == 0
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

/// Now, in microseconds since 1970-01-01 UTC.
pub fn now_micros() -> i64 {
    // SAFETY: reads the clock.
    unix_micros(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// Start of the current transaction, in microseconds since 1970-01-01 UTC.
pub fn transaction_start_micros() -> i64 {
    // SAFETY: reads backend state.
    unix_micros(unsafe { pg_sys::GetCurrentTransactionStartTimestamp() })
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

/// The databases that accept connections. For the launcher, which is connected to none.
pub fn databases() -> Vec<pg_sys::Oid> {
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
            if (*form).datallowconn {
                found.push((*form).oid);
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pg_sys::CommitTransactionCommand();
    }
    found
}
