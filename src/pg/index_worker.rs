//! Creates indexes concurrently, which no function can: CREATE INDEX CONCURRENTLY commits in between.
//!
//! A transaction asks for a table's index; before it commits, a background worker is registered that
//! waits for the transaction to end. If it committed, the worker builds what is missing then, as the
//! table's owner, one statement at a time and at top level, as a client would. What the worker is
//! given is no more than the transaction and the tables: which index is missing it finds out itself,
//! so that a savepoint that was rolled back or a second request does no harm.

use super::context::NewIndex;
use super::xact::Hooks;
use super::{catalog, xact};
use crate::context::isolation_indexes::{self, Missing};
use crate::error;
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::CStr;

/// Tables per worker: what bgw_extra has room for.
const BATCH: usize = 12;

thread_local! {
    /// The tables this transaction asked for.
    static WANTED: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
}

static HOOKS: Hooks = Hooks {
    before_commit,
    ended: |_| WANTED.with_borrow_mut(Vec::clear),
    before_release: |_| {},
    released: |_, _| {},
    rolled_back: |_| {},
};

/// Registers the hooks. Called once, by the postmaster.
pub fn init() {
    xact::register(&HOOKS);
}

/// Has the missing indexes of an isolated table built after this transaction.
pub fn request(table: pg_sys::Oid) {
    WANTED.with_borrow_mut(|wanted| {
        if !wanted.contains(&table) {
            wanted.push(table);
        }
    });
}

fn before_commit(prepare: bool) {
    let wanted = WANTED.with_borrow_mut(std::mem::take);
    if wanted.is_empty() {
        return;
    }
    if prepare {
        error::raise(error::report_hint(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that asked for an index to be built concurrently",
            "Isolate the table in a transaction of its own, or with another create_index.",
        ));
    }
    let xid = xact::top_xid() as u32;
    for tables in wanted.chunks(BATCH) {
        if !start(xid, tables) {
            error::report_hint(
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "no background worker is free to build the index of an isolated table",
                "Raise max_worker_processes, or wait, and isolate the table again; \
                 ward.check_rls_status() shows what is missing.",
            )
            .report(PgLogLevel::WARNING);
        }
    }
}

fn start(xid: u32, tables: &[pg_sys::Oid]) -> bool {
    let extra = std::iter::once(xid)
        .chain(tables.iter().map(|oid| oid.to_u32()))
        .map(|number| format!("{number:x}"))
        .collect::<Vec<_>>()
        .join(" ");
    // SAFETY: a plain global of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let builder = BackgroundWorkerBuilder::new("pg_ward index builder")
        .set_type("pg_ward index builder")
        .set_library("pg_ward")
        .set_function("ward_index_main")
        .set_argument(Some(pg_sys::Datum::from(database)))
        .set_extra(&extra)
        .set_restart_time(None)
        .enable_spi_access();
    let mut registration = pg_sys::BackgroundWorker::from(&builder);
    // SAFETY: lives during the call; nobody needs the handle.
    unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut registration, std::ptr::null_mut()) }
}

/// Entry point of the worker; the argument is the database's oid.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn ward_index_main(arg: pg_sys::Datum) {
    super::worker::connect(pg_sys::Oid::from(arg.value() as u32));
    let mut numbers = pgrx::bgworkers::BackgroundWorker::get_extra()
        .split(' ')
        .filter_map(|number| u32::from_str_radix(number, 16).ok());
    let Some(xid) = numbers.next() else {
        return;
    };
    if !committed(xid) {
        return;
    }
    for table in numbers.map(pg_sys::Oid::from) {
        build_missing(table);
    }
}

/// Waits for the end of the transaction that asked. Whether it committed.
fn committed(xid: u32) -> bool {
    let xid = pg_sys::TransactionId::from(xid);
    super::worker::transaction(
        || {},
        // SAFETY: inside a transaction; the id is that of a transaction of this cluster, recent
        // enough for its state to be known.
        || unsafe {
            pg_sys::XactLockTableWait(
                xid,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                pg_sys::XLTW_Oper::XLTW_None,
            );
            pg_sys::TransactionIdDidCommit(xid)
        },
    )
}

/// Builds one index after the other. Each is looked for anew: while one was built, somebody else may
/// have created the next.
fn build_missing(table: pg_sys::Oid) {
    let mut built = Vec::new();
    loop {
        let missing = super::worker::transaction(
            || {},
            || isolation_indexes::missing(table).unwrap_or_else(|report| error::raise(report)),
        );
        let next = missing
            .into_iter()
            .find(|next| !built.contains(&(next.table, next.column)));
        let Some(next) = next else {
            return;
        };
        build(&next);
        built.push((next.table, next.column));
    }
}

/// Builds an index as the table's owner. An error ends the worker and is in the server's log; an index
/// that is left invalid by it is dropped by whoever reads `check_rls_status()`, knowingly.
fn build(missing: &Missing) {
    let (table, column) = (missing.table, missing.column);
    // SAFETY: the worker is between transactions. The memory context outlives those that the
    // statement begins and commits itself, as that of a portal does. The current user is the
    // table's owner only until this function returns; an error ends the process.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        let context = pg_sys::AllocSetContextCreateExtended(
            pg_sys::TopMemoryContext,
            c"pg_ward index builder".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let partitioned = pg_sys::get_rel_relkind(table) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
        let Some(owner) = catalog::owner(table) else {
            pg_sys::CommitTransactionCommand();
            return;
        };
        let index = NewIndex::on(table, column, !partitioned);
        let mut superuser = pg_sys::InvalidOid;
        let mut security = 0;
        pg_sys::GetUserIdAndSecContext(&mut superuser, &mut security);
        // No restricted context: it must not be set between transactions. Only event triggers run
        // code here, and superusers make those.
        pg_sys::SetUserIdAndSecContext(owner, 0);
        super::worker::report(&index.create);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::MemoryContextSwitchTo(context);
        run_at_top_level(&index.create);
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();

        pg_sys::StartTransactionCommand();
        // Only what this worker created is marked as created by it.
        let created = pg_sys::get_relname_relid(index.name.as_ptr(), index.schema);
        let ours = created != pg_sys::InvalidOid
            && pg_sys::IndexGetRelation(created, true) == table
            && !missing.takes_over;
        if ours {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            pg_sys::MemoryContextSwitchTo(context);
            run_at_top_level(&index.comment);
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::SetUserIdAndSecContext(superuser, security);
        pg_sys::MemoryContextDelete(context);
        super::worker::report_idle();
    }
}

/// Runs one utility statement as if a client had sent it.
///
/// # Safety
/// Inside a transaction that is no block, with an active snapshot and a current memory context that
/// outlives the transaction.
unsafe fn run_at_top_level(statement: &CStr) {
    // SAFETY: the caller's promise; a statement of this module parses into one raw statement, and its
    // text outlives the call.
    unsafe {
        let parsed = pg_sys::pg_parse_query(statement.as_ptr());
        let raw = (*(*parsed).elements).ptr_value.cast::<pg_sys::RawStmt>();
        let mut planned = PgBox::<pg_sys::PlannedStmt>::alloc_node(pg_sys::NodeTag::T_PlannedStmt);
        planned.commandType = pg_sys::CmdType::CMD_UTILITY;
        planned.canSetTag = true;
        planned.utilityStmt = (*raw).stmt;
        planned.stmt_location = (*raw).stmt_location;
        planned.stmt_len = (*raw).stmt_len;
        pg_sys::ProcessUtility(
            planned.into_pg(),
            statement.as_ptr(),
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        );
    }
}
