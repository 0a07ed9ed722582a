//! Background workers: the launcher, and one sealing worker per database that has entries to seal.

use crate::audit::worker;
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};
use pgrx::prelude::*;
use std::time::Duration;

/// Registers the launcher with the postmaster.
pub fn register_launcher() {
    BackgroundWorkerBuilder::new("pg_ward launcher")
        .set_type("pg_ward launcher")
        .set_library("pg_ward")
        .set_function("ward_launcher_main")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(5)))
        .enable_spi_access()
        .load();
}

/// Starts the sealing worker of `database`; false when no worker slot is free.
pub fn start_sealer(database: pg_sys::Oid) -> bool {
    BackgroundWorkerBuilder::new("pg_ward sealer")
        .set_type("pg_ward sealer")
        .set_library("pg_ward")
        .set_function("ward_sealer_main")
        .set_argument(Some(pg_sys::Datum::from(database)))
        .set_restart_time(None)
        .set_notify_pid(super::process::my_pid())
        .enable_spi_access()
        .load_dynamic()
        .is_ok()
}

/// Entry point of the launcher.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_launcher_main(_arg: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    // SAFETY: connects to no database, which is enough for shared catalogs.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    worker::launcher();
}

/// Entry point of a sealing worker; the argument is the database's oid.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_sealer_main(arg: pg_sys::Datum) {
    let database = pg_sys::Oid::from(arg.value() as u32);
    let _at_exit = worker::Registration::new(database);
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    for (name, value) in [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"default_transaction_deferrable", c"off"),
        (c"row_security", c"off"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"session_replication_role", c"origin"),
    ] {
        // SAFETY: constant C strings; a background worker may change its own settings.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
    worker::sealer(database);
}

/// Shows what the worker is doing in pg_stat_activity.
pub fn report(activity: &std::ffi::CStr) {
    // SAFETY: a C string that is copied.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr())
    }
}

/// Shows that the worker is waiting.
pub fn report_idle() {
    // SAFETY: no string.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) }
}

/// Runs `work` in a transaction of its own, after `lock` was taken, with a snapshot taken after it.
pub fn transaction<R>(lock: impl FnOnce(), work: impl FnOnce() -> R) -> R {
    // SAFETY: the worker is between transactions; an error unwinds out of the worker, which exits.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        lock();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work();
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::pgstat_report_stat(true);
        result
    }
}

/// Locks table `oid` against every other sealer until the transaction ends.
pub fn lock_exclusively(oid: pg_sys::Oid) {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::LockRelationOid(oid, pg_sys::ShareRowExclusiveLock as i32) }
}

/// Locks table `oid` against everybody, if that needs no waiting.
pub fn try_lock_against_all(oid: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessExclusiveLock as i32) }
}

/// The id of the current transaction, 0 if it has none.
pub fn own_xid() -> u64 {
    // SAFETY: reads backend state.
    unsafe { pg_sys::GetTopFullTransactionIdIfAny().value }
}

/// Whether transaction `xid` is older than every snapshot in use in the cluster.
pub fn seen_by_all(xid: u64) -> bool {
    // SAFETY: NULL asks for the horizon of shared relations, which is the most conservative one.
    unsafe {
        let horizon = pg_sys::GetOldestNonRemovableTransactionId(std::ptr::null_mut());
        pg_sys::TransactionIdPrecedes(pg_sys::TransactionId::from(xid as u32), horizon)
    }
}
