//! One pass of the verifier over the stored leaves, from a block on.

use super::super::store;
use super::source::Stored;
use crate::error::Result;
use crate::pg::helpers::{Helpers, Pages};
use crate::pg::segment;
use pgrx::prelude::*;
use std::ops::Range;
use ward_log::{Options, Prepared, Verifier, Violation, ViolationType};

/// Type bytes of leaves that are entries of the trail (docs/log-format.md).
const ENTRIES: [u8; 5] = [0x01, 0x06, 0x13, 0x14, 0x15];
/// From this many leaves on, progress is reported.
const LONG: u64 = 1 << 20;
/// From this many pages on, helpers are worth their start.
const MANY_PAGES: u32 = 64;

/// What to verify.
pub struct Pass {
    /// Leaves in the log, by its last block.
    pub size: u64,
    /// The first block.
    pub from_block: u64,
    /// Where to stop, as a number of leaves that a block of the log ends with; None for the log's end.
    pub until: Option<u64>,
    /// The leaves whose entries are counted.
    pub counted: Range<u64>,
    /// What the verifier may rely on.
    pub options: Options,
    /// How many processes work.
    pub jobs: u32,
}

/// A segment to read.
struct Part {
    number: u64,
    /// None where the segment is gone.
    table: Option<pg_sys::Oid>,
    /// The page to begin with, and the leaf that its first row should begin with.
    page: u32,
    first: u64,
}

impl Pass {
    /// Verifies, hands every violation to `report`, and returns how many entries were counted.
    pub fn run(self, report: &mut dyn FnMut(Violation)) -> Result<u64> {
        let end = self.until.unwrap_or(u64::MAX);
        let total = self.until.unwrap_or(self.size);
        let mut verifier = Verifier::new(Stored::default(), self.options, &mut *report);
        let mut first = 0;
        let mut size = 0;
        if let Some(before) = self.from_block.checked_sub(1) {
            store::blocks(before, 1, |block| size = block.tree_size);
        }
        store::lost_shapes(size, |content| verifier.shape(content));
        if self.from_block > 0 {
            // transactions of former xid spaces must not come again
            let incarnations = store::incarnations_at(size);
            let incarnations = incarnations.iter().map(|i| i.incarnation).collect();
            first = verifier.start_at(self.from_block, [], incarnations);
        }
        let parts = parts(first, end, self.size);
        let bits = store::segment_bits();
        let mut next = 0;
        let mut helpers = helpers(self.jobs, &parts);
        let mut progress = Progress::new(first, total);
        let mut entries = 0;
        for (at, part) in parts.iter().enumerate() {
            let wanted = first..end;
            let Some(table) = part.table else {
                // The verifier notices the gap when the next leaf comes. While a prune is carried out, what it keeps
                // may still lie in a segment before, or be kept of one.
                store::retained(part.number, |id, leaf| {
                    if wanted.contains(&id) && id >= next {
                        verifier.leaf(id, leaf, None);
                        next = id + 1;
                    }
                });
                continue;
            };
            // behind a gap, reading begins with what should be there
            next = part.first.max(next);
            let last = (part.number + 1)
                .checked_shl(bits)
                .map_or(total, |end| end.min(total));
            let go_on = store::leaves_from(
                table,
                part.number,
                (part.page, last),
                &mut next,
                |page, id, leaf, image| {
                    let prepared = match (&mut helpers, page) {
                        (None, _) => None,
                        (Some(helpers), Some(page)) => helpers.next(at, page),
                        (Some(helpers), None) => {
                            helpers.abandon();
                            None
                        }
                    };
                    if id < first {
                        return true;
                    }
                    if id >= end {
                        return false;
                    }
                    let is_entry = leaf.first().is_some_and(|kind| ENTRIES.contains(kind));
                    entries += u64::from(is_entry && self.counted.contains(&id));
                    let prepared = prepared.unwrap_or_else(|| Prepared::new(leaf, image));
                    verifier.prepared(id, leaf, image, &prepared);
                    progress.at(id);
                    true
                },
            )?;
            if !go_on {
                break;
            }
        }
        drop(helpers);
        if let Some(size) = self.until {
            // what is missing before may be accounted for behind
            let mut orders = Vec::new();
            store::orders_from(size, |id, leaf, _| orders.push((id, leaf.to_vec())));
            // That which the range is connected with: what the stored hashes give could be made to fit.
            let last = store::last_block().filter(|last| last.tree_size == self.size);
            for (id, leaf) in orders {
                let is_in = last
                    .as_ref()
                    .is_some_and(|last| store::has_leaf((last.tree_size, &last.root), id, &leaf));
                verifier.ordered_later(id, &leaf, is_in);
            }
            verifier.stop(size);
            return Ok(entries);
        }
        let summary = verifier.finish(self.size);
        let blocks = self.from_block + summary.blocks;
        if summary.violations == 0 && store::block_count() != blocks {
            report(Violation {
                kind: ViolationType::BlockAltered,
                block: None,
                entry: None,
                detail: "there are rows of blocks that the log does not have".to_owned(),
            });
        }
        Ok(entries)
    }
}

/// The segments that hold leaves from `first` on and before `end`, kept from being dropped.
fn parts(first: u64, end: u64, size: u64) -> Vec<Part> {
    let bits = store::segment_bits();
    let mut parts = Vec::new();
    for number in store::segment_numbers(size) {
        let begin = number.checked_shl(bits).unwrap_or(u64::MAX);
        if begin >= end {
            break;
        }
        if number < first >> bits {
            continue;
        }
        let table = store::segment_table(number);
        let mut part = Part {
            number,
            table,
            page: 0,
            first: begin,
        };
        if let Some(table) = table {
            segment::hold(table);
            if first > begin
                && let Some((page, leaf)) = segment::page_of(table, first)
            {
                (part.page, part.first) = (page, leaf);
            }
        }
        parts.push(part);
    }
    parts
}

fn helpers(jobs: u32, parts: &[Part]) -> Option<Helpers> {
    let workers = jobs.checked_sub(1).filter(|workers| *workers > 0)?;
    let pages: Vec<Pages> = parts
        .iter()
        .map(|part| Pages {
            table: part.table.unwrap_or(pg_sys::InvalidOid),
            first: part.page,
            count: part
                .table
                .map_or(0, |table| segment::pages(table).saturating_sub(part.page)),
        })
        .collect();
    let enough = pages.iter().any(|pages| pages.count >= MANY_PAGES);
    enough.then(|| Helpers::start(workers, &pages))
}

/// Says how far a long verification has come, every tenth.
struct Progress {
    first: u64,
    total: u64,
    next: u64,
}

impl Progress {
    fn new(first: u64, end: u64) -> Progress {
        let total = end.saturating_sub(first);
        let next = if total < LONG {
            u64::MAX
        } else {
            first + total / 10
        };
        Progress { first, total, next }
    }

    #[inline]
    fn at(&mut self, leaf: u64) {
        if leaf >= self.next {
            let done = leaf - self.first;
            if done < self.total {
                notice!("{done} of {} leaves are verified", self.total);
            }
            self.next = self.next.saturating_add((self.total / 10).max(1));
        }
    }
}
