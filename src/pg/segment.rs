//! Segments: unindexed heap tables of (entry_id bigint, records bytea) in leaf order. A row holds the
//! records of consecutive leaves, from `entry_id` on.

use super::heap;
use crate::error::{self, Result};
use pgrx::prelude::*;
use std::ptr;
use ward_log::{Records, push_record};

/// The types of a segment's columns.
pub(super) const COLUMNS: [pg_sys::Oid; 2] = [pg_sys::INT8OID, pg_sys::BYTEAOID];

/// Bytes of records a row may hold, so that three fit a page, and five when they are compressed; a larger record is a
/// row of its own.
const ROW_BYTES: usize = 2660;

/// Rows per insertion.
const BATCH: usize = 64;

/// Bytes of records above which a batch is inserted early.
const BATCH_BYTES: usize = 1024 * 1024;

/// Appends leaves to a segment in batches. `finish` must be called; a dropped appender loses its
/// last batch, which is right when an error unwinds.
pub struct Appender {
    relation: pg_sys::Relation,
    bulk: pg_sys::BulkInsertState,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    used: usize,
    bytes: usize,
    options: u32,
    context: pg_sys::MemoryContext,
    /// The row being filled: index of its first leaf, and its records.
    first: u64,
    records: Vec<u8>,
}

impl Appender {
    /// Opens the segment table `oid` for appending.
    pub fn open(oid: pg_sys::Oid) -> Appender {
        Self::with_options(oid, 0)
    }

    /// Opens a table that this transaction has made, for rows that every snapshot is to see.
    pub fn open_new(oid: pg_sys::Oid) -> Appender {
        Self::with_options(oid, pg_sys::HEAP_INSERT_FROZEN)
    }

    fn with_options(oid: pg_sys::Oid, options: u32) -> Appender {
        // SAFETY: raises if the table is gone; everything is released in `finish` or by abort.
        unsafe {
            let relation = heap::open(oid, pg_sys::RowExclusiveLock as i32, &COLUMNS);
            Appender {
                relation,
                bulk: pg_sys::GetBulkInsertState(),
                slots: Vec::with_capacity(BATCH),
                used: 0,
                bytes: 0,
                options: options | pg_sys::HEAP_INSERT_SKIP_FSM | pg_sys::HEAP_INSERT_NO_LOGICAL,
                context: pg_sys::AllocSetContextCreateExtended(
                    pg_sys::CurrentMemoryContext,
                    c"pg_ward segment batch".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                ),
                first: 0,
                records: Vec::with_capacity(ROW_BYTES),
            }
        }
    }

    /// Adds the leaf with index `entry_id`, which follows the one before.
    pub fn push(&mut self, entry_id: u64, leaf: &[u8], image: Option<&[u8]>) -> Result<()> {
        let framed = 8 + leaf.len() + image.map_or(0, <[u8]>::len);
        if self.records.len() + framed > ROW_BYTES {
            self.end_row();
        }
        if self.records.is_empty() {
            self.first = entry_id;
        }
        push_record(&mut self.records, leaf, image).map_err(error::format)
    }

    /// Adds a row as it is.
    pub fn push_row(&mut self, first: i64, records: &[u8]) {
        self.end_row();
        self.first = first as u64;
        self.records.extend_from_slice(records);
        self.end_row();
    }

    fn end_row(&mut self) {
        if self.records.is_empty() {
            return;
        }
        // SAFETY: the slot has the relation's two columns; values live in the batch context, which
        // is reset only after the batch was inserted.
        unsafe {
            if self.used == self.slots.len() {
                self.slots.push(pg_sys::MakeSingleTupleTableSlot(
                    (*self.relation).rd_att,
                    &raw const pg_sys::TTSOpsVirtual,
                ));
            }
            let slot = self.slots[self.used];
            let previous = pg_sys::MemoryContextSwitchTo(self.context);
            clear(slot);
            *(*slot).tts_values.add(0) = pg_sys::Datum::from(self.first as i64);
            *(*slot).tts_values.add(1) = pg_sys::Datum::from(heap::varlena(&self.records));
            *(*slot).tts_isnull.add(0) = false;
            *(*slot).tts_isnull.add(1) = false;
            pg_sys::ExecStoreVirtualTuple(slot);
            pg_sys::MemoryContextSwitchTo(previous);
        }
        self.used += 1;
        self.bytes += self.records.len();
        self.records.clear();
        if self.used == BATCH || self.bytes > BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.used == 0 {
            return;
        }
        // SAFETY: the first `used` slots hold tuples of this relation.
        unsafe {
            let previous = pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::heap_multi_insert(
                self.relation,
                self.slots.as_mut_ptr(),
                self.used as i32,
                pg_sys::GetCurrentCommandId(true),
                self.options as i32,
                self.bulk,
            );
            pg_sys::MemoryContextSwitchTo(previous);
            for &slot in &self.slots[..self.used] {
                clear(slot);
            }
            pg_sys::MemoryContextReset(self.context);
        }
        self.used = 0;
        self.bytes = 0;
    }

    /// Writes what is left and closes the segment.
    pub fn finish(mut self) {
        self.end_row();
        self.flush();
        // SAFETY: opened and made in `open`.
        unsafe {
            for &slot in &self.slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::FreeBulkInsertState(self.bulk);
            pg_sys::MemoryContextDelete(self.context);
            pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
        }
    }
}

/// # Safety
/// `slot` is a valid slot.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: what the inline function ExecClearTuple does.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
        }
    }
}

/// One row of a segment.
pub struct Stored<'a> {
    /// Index of its first leaf; -1 for a NULL, which only tampering can put there.
    pub entry_id: i64,
    /// Its records; empty for a NULL.
    pub records: &'a [u8],
    /// Block and offset of the row.
    pub place: (u32, u16),
}

/// Calls `visit` with index, leaf and image of each leaf of a row whose first has the index `first`;
/// returns the index after the last. Bytes that are no records, which only tampering can leave, count as
/// one empty leaf.
pub fn each_leaf(
    first: u64,
    records: &[u8],
    mut visit: impl FnMut(u64, &[u8], Option<&[u8]>),
) -> u64 {
    let mut id = first;
    for record in Records::new(records) {
        match record {
            Ok(record) => visit(id, record.leaf, record.image),
            Err(_) => visit(id, &[], None),
        }
        id = id.saturating_add(1);
    }
    if id == first {
        visit(id, &[], None);
        id = id.saturating_add(1);
    }
    id
}

/// Reads a segment in physical order with the active snapshot; stops when `visit` returns false.
pub fn scan(oid: pg_sys::Oid, visit: impl FnMut(&Stored) -> bool) {
    scan_from(oid, (0, 0), visit);
}

/// Keeps a segment from being dropped until the transaction ends.
pub fn hold(oid: pg_sys::Oid) {
    // SAFETY: the lock manager takes any OID and releases the lock with the transaction.
    unsafe { pg_sys::LockRelationOid(oid, pg_sys::AccessShareLock as i32) }
}

/// How many pages a segment has.
pub fn pages(oid: pg_sys::Oid) -> u32 {
    // SAFETY: the relation stays open for the look.
    unsafe {
        let relation = heap::open(oid, pg_sys::AccessShareLock as i32, &COLUMNS);
        let pages =
            pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pages
    }
}

/// The last page of a segment from which on the first row begins at or before leaf `index`, and that row's first
/// leaf; None where there is none. The segment must be in order; where it is not, the page is any.
pub fn page_of(oid: pg_sys::Oid, index: u64) -> Option<(u32, u64)> {
    let (mut low, mut high) = (0, pages(oid));
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let mut first = None;
        scan_from(oid, (middle, 0), |stored| {
            first = u64::try_from(stored.entry_id).ok();
            false
        });
        match first {
            Some(first) if first <= index => {
                found = Some((middle, first));
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    found
}

/// As [`scan`], from the row at place `from` (block, offset) on.
pub fn scan_from(oid: pg_sys::Oid, from: (u32, u16), visit: impl FnMut(&Stored) -> bool) {
    scan_between(oid, from, None, visit);
}

/// As [`scan`], `count` pages from page `first` on.
pub fn scan_pages(oid: pg_sys::Oid, first: u32, count: u32, visit: impl FnMut(&Stored) -> bool) {
    scan_between(oid, (first, 0), Some(count), visit);
}

fn scan_between(
    oid: pg_sys::Oid,
    from: (u32, u16),
    count: Option<u32>,
    mut visit: impl FnMut(&Stored) -> bool,
) {
    let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
        | pg_sys::ScanOptions::SO_ALLOW_STRAT
        | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
    // SAFETY: the relation stays open for the scan; each tuple is used before the next is fetched.
    unsafe {
        let relation = heap::open(oid, pg_sys::AccessShareLock as i32, &COLUMNS);
        let snapshot = pg_sys::GetActiveSnapshot();
        let scan = pg_sys::heap_beginscan(
            relation,
            snapshot,
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            flags,
        );
        if from.0 > 0 || count.is_some() {
            let blocks =
                pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
            // without a limit a scan goes on with the first block after the last
            let rest = blocks.saturating_sub(from.0);
            let limit = count.map_or(rest, |count| rest.min(count));
            pg_sys::heap_setscanlimits(scan, from.0.min(blocks), limit);
        }
        let mut count = 0u32;
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            count = count.wrapping_add(1);
            if count.is_multiple_of(256) {
                pgrx::check_for_interrupts!();
            }
            let place = pgrx::itemptr::item_pointer_get_both((*tuple).t_self);
            if place < from {
                continue;
            }
            let [id, records] = heap::deform(tuple, (*relation).rd_att);
            let entry_id = id.map_or(-1, |d| d.value() as i64);
            let mut visit = |records: &[u8]| {
                visit(&Stored {
                    entry_id,
                    records,
                    place,
                })
            };
            let go_on = match records {
                None => visit(&[]),
                Some(records) => heap::with_bytes(records, visit),
            };
            if !go_on {
                break;
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
}
