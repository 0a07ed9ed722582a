//! The rows of an audited table as they are, handed out as if the audit's trigger fired for each.

use super::relation::Row;
use super::trigger::{self, Firing};
use crate::error::{self, Result};
use pgrx::prelude::*;
use std::ffi::c_int;
use ward_log::Operation;

/// A table that is read from its first row to its last. Dropping it closes what is open; when an error
/// unwinds, the transaction's abort does.
pub struct Scan {
    relation: pg_sys::Relation,
    trigger: *mut pg_sys::Trigger,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    memory: pg_sys::MemoryContext,
}

impl Scan {
    /// Opens table `oid`, which has a row trigger of the audit. It sees all that is committed now, and
    /// what this transaction has written.
    pub fn open(oid: pg_sys::Oid) -> Result<Scan> {
        // SAFETY: raises if the table is gone; all that is taken is given back in `drop` or by abort.
        unsafe {
            let relation = pg_sys::table_open(oid, pg_sys::AccessShareLock as i32);
            // A copy: the relation's own goes when the catalog's changes are taken note of.
            let triggers = pg_sys::CopyTriggerDesc((*relation).trigdesc);
            let Some(trigger) = trigger::of_rows(triggers) else {
                pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
                return Err(error::report(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "the table lost its audit trigger while its rows were to be recorded",
                ));
            };
            Ok(Scan {
                relation,
                trigger,
                snapshot: pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()),
                slot: pg_sys::table_slot_create(relation, std::ptr::null_mut()),
                memory: pg_sys::AllocSetContextCreateExtended(
                    pg_sys::CurrentMemoryContext,
                    c"pg_ward snapshot of a row".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                ),
            })
        }
    }

    /// How many blocks the table has now.
    pub fn blocks(&self) -> u32 {
        // SAFETY: the relation is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }

    /// Calls `visit` with each row and the block it lies in.
    pub fn rows(&mut self, mut visit: impl FnMut(&Firing, u32) -> Result<()>) -> Result<()> {
        // SAFETY: relation, snapshot and slot outlive the scan; a row is used before the next is asked
        // for; what a row's rendering leaves in memory goes with the next reset.
        unsafe {
            let Some(method) = Method::of(self.relation) else {
                return Err(error::report(
                    PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "the table's access method has no sequential scan",
                ));
            };
            let scan = method.begin(self.relation, self.snapshot);
            while method.next(scan, self.slot) {
                pgrx::check_for_interrupts!();
                let firing = Firing {
                    relation: self.relation,
                    operation: Operation::Snapshot,
                    old: None,
                    new: Some(Row::new(self.slot)),
                    trigger: self.trigger,
                };
                let (block, _) = pgrx::itemptr::item_pointer_get_both((*self.slot).tts_tid);
                let before = pg_sys::MemoryContextSwitchTo(self.memory);
                let done = visit(&firing, block);
                pg_sys::MemoryContextSwitchTo(before);
                pg_sys::MemoryContextReset(self.memory);
                done?;
            }
            method.end(scan);
        }
        Ok(())
    }
}

/// The functions of a table's access method that read it from first to last: what the inline functions
/// table_beginscan, table_scan_getnextslot and table_endscan call.
struct Method {
    begin: unsafe extern "C-unwind" fn(
        pg_sys::Relation,
        pg_sys::Snapshot,
        c_int,
        *mut pg_sys::ScanKeyData,
        pg_sys::ParallelTableScanDesc,
        u32,
    ) -> pg_sys::TableScanDesc,
    next: unsafe extern "C-unwind" fn(
        pg_sys::TableScanDesc,
        pg_sys::ScanDirection::Type,
        *mut pg_sys::TupleTableSlot,
    ) -> bool,
    end: unsafe extern "C-unwind" fn(pg_sys::TableScanDesc),
}

impl Method {
    /// # Safety
    /// `relation` is an open table.
    unsafe fn of(relation: pg_sys::Relation) -> Option<Method> {
        // SAFETY: a table has an access method.
        let routine = unsafe { (*relation).rd_tableam.as_ref()? };
        Some(Method {
            begin: routine.scan_begin?,
            next: routine.scan_getnextslot?,
            end: routine.scan_end?,
        })
    }

    /// # Safety
    /// `relation` is the table this is of, `snapshot` is registered.
    unsafe fn begin(
        &self,
        relation: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
    ) -> pg_sys::TableScanDesc {
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let null = std::ptr::null_mut();
        // SAFETY: the caller's promise; without keys and not parallel.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                (self.begin)(relation, snapshot, 0, null, std::ptr::null_mut(), flags)
            })
        }
    }

    /// # Safety
    /// `scan` was begun by this, and `slot` is one of its table.
    unsafe fn next(&self, scan: pg_sys::TableScanDesc, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            (*slot).tts_tableOid = (*(*scan).rs_rd).rd_id;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                (self.next)(scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
            })
        }
    }

    /// # Safety
    /// `scan` was begun by this and is not used any more.
    unsafe fn end(&self, scan: pg_sys::TableScanDesc) {
        // SAFETY: the caller's promise.
        unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| (self.end)(scan)) }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: taken in `open`, given back once; the lock stays until the transaction ends.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::UnregisterSnapshot(self.snapshot);
            pg_sys::MemoryContextDelete(self.memory);
            pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
        }
    }
}
