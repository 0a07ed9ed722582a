//! The rows of a table as an image of them would be recorded now.

use super::relation::{Described, Hidden, Row};
use crate::error::{self, Result};
use pgrx::prelude::*;
use std::ptr;

/// Calls `visit` with the content of the table's shape, record id and image of every row of a table that the active snapshot sees, partitions and
/// children not included.
pub fn rows(
    table: pg_sys::Oid,
    hidden: &Hidden,
    mut visit: impl FnMut(&[u8], Option<&str>, &[u8]),
) -> Result<()> {
    // SAFETY: the relation stays open for the scan; each tuple is used before the next is fetched; what rendering
    // allocates lives in a context of its own, which is emptied for every row.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        if (*(*relation).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
            return Err(error::report(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "only rows of tables that use the heap access method can be compared with the audit trail",
            ));
        }
        let mut described = Described::new(relation, false, hidden)?;
        let context = pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            c"pg_ward live row".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        let slot = pg_sys::MakeSingleTupleTableSlot(
            (*relation).rd_att,
            &raw const pg_sys::TTSOpsHeapTuple,
        );
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let scan = pg_sys::heap_beginscan(
            relation,
            pg_sys::GetActiveSnapshot(),
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            flags,
        );
        let mut image = Vec::new();
        let mut rendered = Ok(());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() || rendered.is_err() {
                break;
            }
            pgrx::check_for_interrupts!();
            pg_sys::ExecStoreHeapTuple(tuple, slot, false);
            image.clear();
            let previous = pg_sys::MemoryContextSwitchTo(context);
            let row = Row::new(slot);
            let id = described.render(None, Some(&row), &[0; 16], &mut image);
            pg_sys::MemoryContextSwitchTo(previous);
            rendered = id.map(|id| visit(&described.content, id.as_deref(), &image));
            pg_sys::MemoryContextReset(context);
        }
        pg_sys::heap_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::MemoryContextDelete(context);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        rendered
    }
}
