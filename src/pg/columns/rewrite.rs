//! Gives one column of existing rows new values, as a rewrite by ALTER TABLE does: without triggers,
//! policies and the audit trail, but row by row, while others read and write the table.

use super::scan::Place;
use super::table::{Column, Table, Value};
use crate::error::Result;
use pgrx::prelude::*;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has the new value.
    Changed,
    /// No new value was wanted.
    Kept,
    /// Somebody has changed or deleted it meanwhile.
    Gone,
    /// Somebody else is working on it.
    Locked,
}

/// A table whose rows are rewritten. One snapshot has to be held while places are looked up and used.
pub struct Rewriter<'a> {
    table: &'a Table,
    /// Index of the column.
    column: usize,
    state: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    memory: pg_sys::MemoryContext,
}

/// A row as it is.
pub struct Old {
    slot: *mut pg_sys::TupleTableSlot,
}

impl Old {
    /// The value of a column, None when NULL. The column is stored as a varlena.
    pub fn value(&self, column: &Column) -> Option<Value> {
        // SAFETY: all columns were deformed before this was made; the column is of this table.
        unsafe {
            (!*(*self.slot).tts_isnull.add(column.index))
                .then(|| Value(*(*self.slot).tts_values.add(column.index)))
        }
    }
}

impl<'a> Rewriter<'a> {
    /// Prepares to rewrite the column with this index.
    pub fn new(table: &'a Table, column: usize) -> Self {
        let relation = table.relation();
        // SAFETY: the relation is open and locked as for writing; what is made here lives in the
        // executor state's memory until `drop`. A snapshot is active in every statement.
        unsafe {
            let state = pg_sys::CreateExecutorState();
            let previous = pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            let entry: *mut pg_sys::RangeTblEntry = node(pg_sys::NodeTag::T_RangeTblEntry);
            (*entry).rtekind = pg_sys::RTEKind::RTE_RELATION;
            (*entry).relid = (*relation).rd_id;
            (*entry).relkind = (*(*relation).rd_rel).relkind;
            (*entry).rellockmode = pg_sys::RowExclusiveLock as c_int;
            range_table(state, entry);
            let result: *mut pg_sys::ResultRelInfo = node(pg_sys::NodeTag::T_ResultRelInfo);
            pg_sys::InitResultRelInfo(result, relation, 1, std::ptr::null_mut(), 0);
            // What a rewrite by ALTER TABLE does not fire does not fire here either.
            (*result).ri_TrigDesc = std::ptr::null_mut();
            (*state).es_output_cid = pg_sys::GetCurrentCommandId(true);
            (*state).es_snapshot = pg_sys::GetActiveSnapshot();
            pg_sys::ExecOpenIndices(result, false);
            let none = std::ptr::null_mut();
            let rewriter = Self {
                table,
                column,
                state,
                result,
                old: pg_sys::table_slot_create(relation, none),
                new: pg_sys::table_slot_create(relation, none),
                memory: pg_sys::AllocSetContextCreateExtended(
                    (*state).es_query_cxt,
                    c"pg_ward rewritten row".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                ),
            };
            pg_sys::MemoryContextSwitchTo(previous);
            rewriter
        }
    }

    /// Locks the row at `place`, asks for the new value, and stores it. With `wait`, waits for others
    /// who work on it.
    pub fn row(
        &mut self,
        place: Place,
        wait: bool,
        value: impl FnOnce(&Old) -> Result<Option<Value>>,
    ) -> Result<Outcome> {
        pgrx::check_for_interrupts!();
        match self.lock(place, wait) {
            pg_sys::TM_Result::TM_Ok => {}
            pg_sys::TM_Result::TM_WouldBlock => return Ok(Outcome::Locked),
            _ => return Ok(Outcome::Gone),
        }
        // SAFETY: the slots belong to the relation; new values live in the row's memory, old ones in
        // the locked tuple, until the update is done.
        unsafe {
            pg_sys::MemoryContextReset(self.memory);
            let natts = (*(*self.table.relation()).rd_att).natts;
            pg_sys::slot_getsomeattrs_int(self.old, natts);
            let previous = pg_sys::MemoryContextSwitchTo(self.memory);
            let value = value(&Old { slot: self.old });
            pg_sys::MemoryContextSwitchTo(previous);
            let Some(value) = value? else {
                return Ok(Outcome::Kept);
            };
            clear(self.new);
            let count = natts as usize;
            std::ptr::copy_nonoverlapping((*self.old).tts_values, (*self.new).tts_values, count);
            std::ptr::copy_nonoverlapping((*self.old).tts_isnull, (*self.new).tts_isnull, count);
            *(*self.new).tts_values.add(self.column) = value.0;
            *(*self.new).tts_isnull.add(self.column) = false;
            pg_sys::ExecStoreVirtualTuple(self.new);
            // Only triggers would look at it.
            let mut recheck: pg_sys::EPQState = MaybeUninit::zeroed().assume_init();
            let previous = pg_sys::MemoryContextSwitchTo(self.memory);
            pg_sys::ExecSimpleRelationUpdate(
                self.result,
                self.state,
                &mut recheck,
                self.old,
                self.new,
            );
            pg_sys::MemoryContextSwitchTo(previous);
            if !(*self.state).es_per_tuple_exprcontext.is_null() {
                pg_sys::ReScanExprContext((*self.state).es_per_tuple_exprcontext);
            }
            Ok(Outcome::Changed)
        }
    }

    fn lock(&mut self, place: Place, wait: bool) -> pg_sys::TM_Result::Type {
        let policy = if wait {
            pg_sys::LockWaitPolicy::LockWaitBlock
        } else {
            pg_sys::LockWaitPolicy::LockWaitSkip
        };
        let mut tid = place.0;
        let relation = self.table.relation();
        // SAFETY: the place was seen by a snapshot that is still held, so a row version is there; the
        // table access method's function is called under pgrx's guard because it may raise.
        unsafe {
            clear(self.old);
            let Some(tuple_lock) = (*(*relation).rd_tableam).tuple_lock else {
                return pg_sys::TM_Result::TM_Invisible;
            };
            let mut failure: pg_sys::TM_FailureData = MaybeUninit::zeroed().assume_init();
            let (state, old) = (self.state, self.old);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                tuple_lock(
                    relation,
                    &mut tid,
                    (*state).es_snapshot,
                    old,
                    (*state).es_output_cid,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    policy,
                    0,
                    &mut failure,
                )
            })
        }
    }
}

impl Drop for Rewriter<'_> {
    fn drop(&mut self) {
        // SAFETY: releases what `new` made. While an error unwinds, the transaction's end does it.
        unsafe {
            if std::thread::panicking() {
                return;
            }
            pg_sys::ExecCloseIndices(self.result);
            pg_sys::ExecDropSingleTupleTableSlot(self.old);
            pg_sys::ExecDropSingleTupleTableSlot(self.new);
            pg_sys::FreeExecutorState(self.state);
        }
    }
}

/// # Safety
/// `T` is the struct that the tag stands for.
unsafe fn node<T>(tag: pg_sys::NodeTag) -> *mut T {
    // SAFETY: zeroed memory in the current context; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>()).cast::<T>();
        *node.cast::<pg_sys::NodeTag>() = tag;
        node
    }
}

/// # Safety
/// `slot` is a slot.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: what the inline function ExecClearTuple does; under pgrx's guard because it may raise.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
        }
    }
}

/// # Safety
/// In the state's memory context.
unsafe fn range_table(state: *mut pg_sys::EState, entry: *mut pg_sys::RangeTblEntry) {
    // SAFETY: a list of one range table entry, with its permissions where they are kept apart.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecInitRangeTable(state, pg_sys::lappend(std::ptr::null_mut(), entry.cast()));
        #[cfg(not(feature = "pg15"))]
        {
            let mut permissions = std::ptr::null_mut();
            pg_sys::addRTEPermissionInfo(&mut permissions, entry);
            let entries = pg_sys::lappend(std::ptr::null_mut(), entry.cast());
            #[cfg(feature = "pg18")]
            pg_sys::ExecInitRangeTable(state, entries, permissions, std::ptr::null_mut());
            #[cfg(not(feature = "pg18"))]
            pg_sys::ExecInitRangeTable(state, entries, permissions);
        }
    }
}
