//! Where in a segment a leaf is stored. Rows lie in the order of their leaves, so that a few guesses find the
//! page, without an index and whatever file the segment is in.

use super::heap;
use pgrx::prelude::*;
use std::ops::Range;
use std::ptr;

/// How often a page is guessed from the numbers of leaves before the rest is halved: leaves of about the same size
/// are found at once.
const GUESSES: u32 = 8;

/// A segment, open for searching.
pub struct Search {
    relation: pg_sys::Relation,
    scan: pg_sys::TableScanDesc,
    pages: u32,
    /// The leaves that belong in it.
    leaves: Range<u64>,
}

impl Search {
    /// Opens a segment, which holds the given leaves when it is full.
    pub fn open(segment: pg_sys::Oid, leaves: Range<u64>) -> Search {
        // Not a page at a time: of most pages one row is looked at.
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN;
        // SAFETY: raises when the table is gone; closed on drop, or by the abort that an error brings.
        unsafe {
            let relation = heap::open(
                segment,
                pg_sys::AccessShareLock as i32,
                &super::segment::COLUMNS,
            );
            Search {
                relation,
                scan: pg_sys::heap_beginscan(
                    relation,
                    pg_sys::GetActiveSnapshot(),
                    0,
                    ptr::null_mut(),
                    ptr::null_mut(),
                    flags,
                ),
                pages: pg_sys::RelationGetNumberOfBlocksInFork(
                    relation,
                    pg_sys::ForkNumber::MAIN_FORKNUM,
                ),
                leaves,
            }
        }
    }

    /// The place (block and offset) of the last row whose first leaf is `leaf` or an earlier one, as far as
    /// can be found with the active snapshot: where rows are not in order, the answer means nothing, so the
    /// caller looks at what is there. None when there is no such row.
    pub fn place_of(&mut self, leaf: u64) -> Option<(u32, u16)> {
        let (mut low, mut high) = (0, self.pages);
        let mut known = self.leaves.clone();
        let mut guesses = 0;
        while high - low > 1 {
            pgrx::check_for_interrupts!();
            let span = u64::from(high - low);
            let share = leaf.saturating_sub(known.start).saturating_mul(span);
            let step = if guesses < GUESSES {
                share / known.end.saturating_sub(known.start).max(1)
            } else {
                span / 2
            };
            guesses += 1;
            let middle = low + step.clamp(1, span - 1) as u32;
            match self.first_from(middle) {
                Some((first, place)) if first <= leaf => {
                    low = place.0.clamp(middle, high - 1);
                    known.start = first;
                }
                Some((first, _)) => {
                    high = middle;
                    known.end = first;
                }
                None => high = middle,
            }
        }
        self.last_until(low, leaf)
    }

    /// Number and place of the first row on page `page` or after it.
    fn first_from(&mut self, page: u32) -> Option<(u64, (u32, u16))> {
        // almost always it is the first on its page
        let place = (page, 1);
        self.read(place, |first, _| (first, place)).or_else(|| {
            self.restart(page);
            self.next()
        })
    }

    /// Calls `visit` with the first leaf and the records of the row at a place, if the active snapshot sees one there.
    pub fn read<R>(&self, place: (u32, u16), visit: impl FnOnce(u64, &Records) -> R) -> Option<R> {
        // SAFETY: the relation is open; the records are lent for the visit.
        unsafe {
            heap::fetch(self.relation, place, |[first, records]| {
                visit(number(first), &Records(records))
            })
        }
    }

    /// From page `page` on, the last row before one that begins after `leaf`.
    fn last_until(&mut self, page: u32, leaf: u64) -> Option<(u32, u16)> {
        if self.pages == 0 {
            return None;
        }
        self.restart(page);
        let mut last = None;
        while let Some((first, place)) = self.next() {
            if first > leaf {
                break;
            }
            last = Some(place);
        }
        last
    }

    fn restart(&mut self, page: u32) {
        // SAFETY: the scan is open; limits are set before its first fetch; `page` is below the number of
        // pages, which only grows while the lock is held.
        unsafe {
            pg_sys::heap_rescan(self.scan, ptr::null_mut(), false, false, false, false);
            pg_sys::heap_setscanlimits(self.scan, page, self.pages - page);
        }
    }

    fn next(&mut self) -> Option<(u64, (u32, u16))> {
        // SAFETY: the tuple is used before the next is fetched; the values' bytes are not looked at.
        unsafe {
            let tuple =
                pg_sys::heap_getnext(self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                return None;
            }
            let place = pgrx::itemptr::item_pointer_get_both((*tuple).t_self);
            let [first, _] = heap::deform(tuple, (*self.relation).rd_att);
            Some((number(first), place))
        }
    }
}

/// A NULL, which only tampering can store, comes after every leaf.
fn number(first: Option<pg_sys::Datum>) -> u64 {
    first.map_or(u64::MAX, |first| first.value() as u64)
}

/// The records of a row, not unpacked yet. Lent for as long as the row's page is pinned.
pub struct Records(Option<pg_sys::Datum>);

impl Records {
    /// Calls `visit` with their bytes; empty for a NULL, which only tampering can put there.
    pub fn with<R>(&self, visit: impl FnOnce(&[u8]) -> R) -> R {
        match self.0 {
            None => visit(&[]),
            // SAFETY: a row's second column is a bytea, and its page is pinned while this value is lent: it cannot be kept.
            Some(records) => unsafe { heap::with_bytes(records, visit) },
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: both were opened in `open`; the abort closes them while an error unwinds.
        unsafe {
            pg_sys::heap_endscan(self.scan);
            pg_sys::table_close(self.relation, pg_sys::AccessShareLock as i32);
        }
    }
}
