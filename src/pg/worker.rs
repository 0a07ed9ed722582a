//! Background workers: the launcher, and one sealing worker per database that has entries to seal.

use super::{owner, process};
use crate::audit::worker;
use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};
use pgrx::prelude::*;
use std::ffi::{CStr, c_int};
use std::time::Duration;

/// Registers the launcher with the postmaster, which starts it again if it ends. Not while pg_upgrade runs the server:
/// it copies the files and the transaction counter, and nobody may write meanwhile.
pub fn register_launcher() {
    // SAFETY: set by the postmaster from its command line before it loads libraries.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    BackgroundWorkerBuilder::new("pg_ward launcher")
        .set_type("pg_ward launcher")
        .set_library("pg_ward")
        .set_function("ward_launcher_main")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .enable_spi_access()
        .load();
}

/// A sealing worker this process has started.
pub struct Started(*mut pg_sys::BackgroundWorkerHandle);

impl Started {
    /// Whether the worker has ended, or never came.
    pub fn gone(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is valid until it is dropped.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: palloc'd by the registration, and not used again. The worker is not affected.
        unsafe { pg_sys::pfree(self.0.cast()) }
    }
}

/// Starts a sealing worker in `database`; None when no background worker is free.
pub fn start_sealer(database: pg_sys::Oid) -> Option<Started> {
    let builder = BackgroundWorkerBuilder::new("pg_ward sealer")
        .set_type("pg_ward sealer")
        .set_library("pg_ward")
        .set_function("ward_sealer_main")
        .set_argument(Some(pg_sys::Datum::from(database)))
        .set_restart_time(None)
        .set_notify_pid(process::my_pid())
        .enable_spi_access();
    let mut registration = pg_sys::BackgroundWorker::from(&builder);
    let mut handle = std::ptr::null_mut();
    // SAFETY: both live during the call. The handle must outlive transactions, so it is allocated in
    // a context that does.
    let registered = unsafe {
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut registration, &mut handle);
        pg_sys::MemoryContextSwitchTo(context);
        registered
    };
    registered.then(|| Started(handle))
}

/// Entry point of the launcher.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_launcher_main(_arg: pg_sys::Datum) {
    handle_signals();
    // SAFETY: connects to no database, which is enough for shared catalogs.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    worker::launcher();
}

/// Settings of the sealing worker, which those of the server, the database and the role must not
/// change.
const SETTINGS: &[(&CStr, &CStr)] = &[
    // ALTER DATABASE … SET role would make the worker somebody who may not even read the log.
    (c"role", c"none"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_deferrable", c"off"),
    (c"row_security", c"off"),
    (c"statement_timeout", c"0"),
    (c"lock_timeout", c"0"),
    (c"idle_in_transaction_session_timeout", c"0"),
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    (c"transaction_timeout", c"0"),
    (c"session_replication_role", c"origin"),
    // A block must be on disk before somebody signs a checkpoint of it.
    (c"synchronous_commit", c"on"),
    // Segments are ordinary tables in the database's own tablespace.
    (c"default_tablespace", c""),
    (c"default_table_access_method", c"heap"),
];

/// Entry point of a sealing worker; the argument is the database's oid.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_sealer_main(arg: pg_sys::Datum) {
    let database = pg_sys::Oid::from(arg.value() as u32);
    connect(database);
    worker::sealer(database);
}

/// Connects a worker to `database` as the bootstrap superuser, with settings of its own.
pub(super) fn connect(database: pg_sys::Oid) {
    handle_signals();
    // SAFETY: a database's oid and no role. What was written before a database was closed for new
    // connections is sealed all the same. Settings are C strings, the superuser's name is one until the
    // transaction ends; a background worker may change its own settings.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            database,
            pg_sys::InvalidOid,
            pg_sys::BGWORKER_BYPASS_ALLOWCONN,
        );
        // In a transaction, because a role is looked up.
        pg_sys::StartTransactionCommand();
        let superuser = pg_sys::GetUserNameFromId(pg_sys::BOOTSTRAP_SUPERUSERID.into(), false);
        let identity = (c"session_authorization", CStr::from_ptr(superuser));
        for (name, value) in std::iter::once(&identity).chain(SETTINGS) {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
        pg_sys::CommitTransactionCommand();
    }
}

/// SIGTERM ends the process at its next interrupt check, as it ends any session, even in a long round
/// or while it waits for a lock; SIGHUP is noted.
pub(super) fn handle_signals() {
    // SAFETY: the handlers only set flags and the process's own latch.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(libc::SIGTERM, Some(on_sigterm));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(libc::SIGTERM, Some(on_sigterm));
    }
    // Unblocks signals as well.
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
}

unsafe extern "C-unwind" fn on_sigterm(signal: c_int) {
    // SAFETY: PostgreSQL's own handler of SIGTERM.
    unsafe { pg_sys::die(signal) }
}

/// Has [`worker::left`] called when this process ends, however it does.
pub fn announce_exit() {
    unsafe extern "C-unwind" fn exiting(_code: c_int, _arg: pg_sys::Datum) {
        worker::left();
    }
    // SAFETY: called after the transaction was aborted, while shared memory is still attached.
    unsafe { pg_sys::on_shmem_exit(Some(exiting), pg_sys::Datum::from(0)) }
}

/// Shows what the worker is doing in pg_stat_activity.
pub fn report(activity: &CStr) {
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
        hold_extension();
        lock();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let result = work();
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::pgstat_report_stat(true);
        result
    }
}

/// Keeps the extension from being dropped until the transaction ends. DROP EXTENSION locks the extension first
/// and its tables in an order of its own: without this it and the worker could wait for each other.
///
/// # Safety
/// Inside a transaction.
unsafe fn hold_extension() {
    // SAFETY: the caller's promise; catalog look-ups.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pg_ward".as_ptr(), true);
        if extension != pg_sys::InvalidOid {
            let class = pg_sys::ExtensionRelationId;
            pg_sys::LockDatabaseObject(class, extension, 0, pg_sys::AccessShareLock as i32);
        }
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

/// Locks table `oid` against everybody who writes or locks rows, if that needs no waiting.
pub fn try_lock_against_writers(oid: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::ExclusiveLock as i32) }
}

/// Locks table `oid` as every writer does, if that needs no waiting.
pub fn try_lock_to_write(oid: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::RowExclusiveLock as i32) }
}

/// The id of the current transaction, 0 if it has none.
pub fn own_xid() -> u64 {
    // SAFETY: reads backend state.
    unsafe { pg_sys::GetTopFullTransactionIdIfAny().value }
}

/// The id of the current transaction, which gets one if it has none.
pub fn assigned_xid() -> u64 {
    // SAFETY: inside a transaction that may write.
    unsafe { pg_sys::GetTopFullTransactionId().value }
}

/// Whether transaction `xid` is older than every snapshot in use that may read the log's tables: those of this database,
/// and of standbys that say so. Snapshots of other databases, and what only logical decoding needs, do not count.
pub fn seen_by_all(xid: u64) -> bool {
    let Some(log) = owner::table(c"audit_log") else {
        return false;
    };
    // SAFETY: raises if the table is gone; it is open while it is asked about.
    unsafe {
        let relation = pg_sys::table_open(log, pg_sys::AccessShareLock as i32);
        let horizon = pg_sys::GetOldestNonRemovableTransactionId(relation);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        pg_sys::TransactionIdPrecedes(pg_sys::TransactionId::from(xid as u32), horizon)
    }
}
