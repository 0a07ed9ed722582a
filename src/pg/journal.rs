//! The journals: unindexed heap tables of (xid bigint, position int, part int, data bytea) that
//! writers append to and the sealer reads.
//!
//! Whoever appends holds the barrier in shared mode. Whoever takes it exclusively, begins another
//! generation and then reads the number of pages knows that no page but the last will ever get
//! another tuple: the free space map is never asked, and a writer forgets its target page when the
//! generation is another than at its last insert, and goes on with the last page. Within a generation
//! writers keep their own target pages, so that they do not queue for one.

use super::{heap, unguarded};
use pgrx::prelude::*;
use pgrx::{PgLwLock, pg_shmem_init};
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr;

/// Called under one guard; pgrx's own declarations have one each.
mod postgres {
    use super::{c_int, pg_sys};

    unsafe extern "C-unwind" {
        /// Declared in access/xact.h.
        pub fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
        /// Declared in access/htup_details.h.
        pub fn heap_form_tuple(
            descriptor: pg_sys::TupleDesc,
            values: *mut pg_sys::Datum,
            nulls: *mut bool,
        ) -> pg_sys::HeapTuple;
        /// Declared in access/heapam.h.
        pub fn heap_insert(
            relation: pg_sys::Relation,
            tuple: pg_sys::HeapTuple,
            cid: pg_sys::CommandId,
            options: c_int,
            state: pg_sys::BulkInsertState,
        );
    }
}

/// The types of a journal's columns.
const COLUMNS: [pg_sys::Oid; 4] = [
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::BYTEAOID,
];

/// The generation, under the lock that is the barrier.
// SAFETY: the name is used nowhere else.
static BARRIER: PgLwLock<u64> = unsafe { PgLwLock::new(c"pg_ward_journal") };

thread_local! {
    /// The generation in which this backend last wrote to each journal.
    static WRITTEN_IN: [Cell<u64>; 2] = const { [const { Cell::new(0) }; 2] };
}

/// Reserves the barrier.
pub fn init() {
    pg_shmem_init!(BARRIER);
}

/// Where a chunk lies in its journal: block and offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tid(pub u32, pub u16);

/// What the sealer needs of a chunk before it reads its bytes. Ordered by xid, position, part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ChunkId {
    /// Top-level transaction.
    pub xid: u64,
    /// Position of the first record.
    pub position: u32,
    /// Part of an oversized record, from 0.
    pub part: u32,
    /// Journal number, 0 or 1.
    pub journal: u8,
    /// Place in it.
    pub tid: Tid,
}

/// An open journal; closed on drop, its lock is kept until the transaction ends.
pub struct Journal {
    relation: pg_sys::Relation,
    number: u8,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: opened in `open`; NoLock keeps the lock.
        unsafe { pg_sys::table_close(self.relation, pg_sys::NoLock as i32) }
    }
}

/// Access to a journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Read.
    Read,
    /// Append.
    Write,
}

impl Journal {
    /// Opens journal `number`, which is the table `oid`.
    pub fn open(oid: pg_sys::Oid, number: u8, mode: Mode) -> Journal {
        let lock = match mode {
            Mode::Read => pg_sys::AccessShareLock,
            Mode::Write => pg_sys::RowExclusiveLock,
        };
        // SAFETY: raises if the table is gone.
        let relation = unsafe { heap::open(oid, lock as i32, &COLUMNS) };
        Journal { relation, number }
    }

    /// Which journal this is.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Appends chunks (first position, bytes) of transaction `xid`; bytes longer than `limit` become
    /// several parts.
    pub fn append<'a>(
        &self,
        xid: u64,
        chunks: impl Iterator<Item = (u32, &'a [u8])>,
        limit: usize,
    ) {
        let generation = BARRIER.share();
        self.forget_target(*generation);
        for (position, bytes) in chunks {
            for (part, piece) in bytes.chunks(limit).enumerate() {
                self.insert(xid, position, part as u32, piece);
            }
        }
    }

    /// Forgets the page this backend last wrote to, unless that was in this generation.
    fn forget_target(&self, generation: u64) {
        let last = WRITTEN_IN.with(|written| written[usize::from(self.number)].replace(generation));
        // Generation 0 is that of a server just started: a backend cannot have written in another.
        if last != generation {
            // SAFETY: the relation is open; its storage handle is NULL or valid.
            unsafe {
                let storage = (*self.relation).rd_smgr;
                if !storage.is_null() {
                    (*storage).smgr_targblock = pg_sys::InvalidBlockNumber;
                }
            }
        }
    }

    fn insert(&self, xid: u64, position: u32, part: u32, bytes: &[u8]) {
        let relation = self.relation;
        let data = heap::varlena(bytes);
        let mut values = [
            pg_sys::Datum::from(xid as i64),
            pg_sys::Datum::from(position as i32),
            pg_sys::Datum::from(part as i32),
            pg_sys::Datum::from(data),
        ];
        let mut nulls = [false; COLUMNS.len()];
        let options = pg_sys::HEAP_INSERT_SKIP_FSM | pg_sys::HEAP_INSERT_NO_LOGICAL;
        // SAFETY: the relation is open and locked; the tuple is built from its own descriptor and freed here; the varlena
        // is palloc'ed with room for header and bytes. One guard for all three calls: nothing lies on the stack between
        // them that would have to be dropped.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                let cid = postgres::GetCurrentCommandId(true);
                let descriptor = (*relation).rd_att;
                let tuple =
                    postgres::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
                postgres::heap_insert(relation, tuple, cid, options as c_int, ptr::null_mut());
                unguarded::free(tuple.cast());
            });
            unguarded::free(data.cast());
        }
    }

    /// The file it is stored in now.
    pub fn file(&self) -> u32 {
        // SAFETY: the relation is open.
        unsafe { (*(*self.relation).rd_rel).relfilenode }.to_u32()
    }

    /// Number of pages such that only the last and later ones can still get tuples.
    pub fn closed_pages(&self) -> u32 {
        let mut generation = BARRIER.exclusive();
        *generation += 1;
        self.pages()
    }

    /// Number of pages now.
    pub fn pages(&self) -> u32 {
        // SAFETY: the relation is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }

    /// Calls `visit` for every chunk from page `from` on, whatever its transaction's state.
    pub fn scan_any(&self, from: u32, visit: impl FnMut(ChunkId)) {
        let any = &raw mut pg_sys::SnapshotAnyData;
        self.scan(any, from, visit);
    }

    /// Calls `visit` for every chunk from page `from` on that is visible to the active snapshot.
    pub fn scan_visible(&self, from: u32, visit: impl FnMut(ChunkId)) {
        // SAFETY: an active snapshot exists.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        self.scan(snapshot, from, visit);
    }

    fn scan(&self, snapshot: pg_sys::Snapshot, from: u32, mut visit: impl FnMut(ChunkId)) {
        let pages = self.pages();
        if from >= pages {
            return;
        }
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        // SAFETY: relation and snapshot outlive the scan; the limits are set before the first fetch;
        // a tuple is read before the next is asked for.
        unsafe {
            let scan = pg_sys::heap_beginscan(
                self.relation,
                snapshot,
                0,
                ptr::null_mut(),
                ptr::null_mut(),
                flags,
            );
            pg_sys::heap_setscanlimits(scan, from, pages - from);
            loop {
                let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
                if tuple.is_null() {
                    break;
                }
                pgrx::check_for_interrupts!();
                let (block, offset) = pgrx::itemptr::item_pointer_get_both((*tuple).t_self);
                let stored = heap::deform(tuple, (*self.relation).rd_att);
                if let Some(id) = self.chunk_id(Tid(block, offset), &stored) {
                    visit(id);
                }
            }
            pg_sys::heap_endscan(scan);
        }
    }

    /// The chunk that a row is; None where a NULL stands, which only tampering can put there.
    fn chunk_id(&self, tid: Tid, row: &[Option<pg_sys::Datum>; 4]) -> Option<ChunkId> {
        let [xid, position, part, _] = *row;
        Some(ChunkId {
            xid: xid?.value() as u64,
            position: position?.value() as u32,
            part: part?.value() as u32,
            journal: self.number,
            tid,
        })
    }

    /// Appends the bytes of chunk `id` to `out` if the active snapshot sees it at its place.
    pub fn fetch(&self, id: &ChunkId, out: &mut Vec<u8>) -> bool {
        // SAFETY: the relation is open; the bytes are copied during the visit.
        let same = unsafe {
            heap::fetch(self.relation, (id.tid.0, id.tid.1), |stored| {
                // Vacuum may have given the place of a rolled-back chunk to another one.
                let same = self.chunk_id(id.tid, &stored) == Some(*id);
                if let Some(data) = stored[3].filter(|_| same) {
                    heap::with_bytes(data, |bytes| out.extend_from_slice(bytes));
                }
                same
            })
        };
        same.unwrap_or(false)
    }
}
