//! The export: the sealed log as lines of text, read as of one moment and with little memory however large it is.

use super::proof::natural;
use super::store;
use super::verify::Stored;
use super::{checkpoint, entries};
use crate::error::{self, Result};
use crate::pg::{owner, process, segment};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_log::{ExportHead, ExportHeader, ExportWriter};

/// The sealed log as lines of text, from the block that holds leaf `from_entry` on.
#[pg_extern(parallel_unsafe)]
fn export_audit_trail(
    from_entry: default!(Option<i64>, 0),
) -> std::result::Result<SetOfIterator<'static, String>, ErrorReport> {
    entries::check_reader()?;
    let from = natural("from_entry", from_entry)?;
    Ok(lines(owner::run_in_statement(|| {
        let (identity, last) = checkpoint::last()?;
        Export::begin(from, &identity, &last, None)
    })?))
}

/// The lines of an export, made as they are asked for.
pub(super) fn lines(mut export: Export) -> SetOfIterator<'static, String> {
    SetOfIterator::new(std::iter::from_fn(move || {
        if !export.writer.has_lines() {
            owner::run_in_statement(|| export.fill()).unwrap_or_else(|report| error::raise(report));
        }
        export.writer.next_line()
    }))
}

/// Behind every segment.
const END: u64 = u64::MAX;

/// How many missing leaves are passed over at once.
const GAP: u64 = 0x4000;

/// An export in the making.
pub(super) struct Export {
    writer: ExportWriter,
    source: Stored,
    size: u64,
    /// It ends before the log does.
    ends_early: bool,
    first_leaf: u64,
    /// The segments to read, ascending, and the one that is being read.
    segments: Vec<u64>,
    segment: u64,
    /// Where in the segment to go on.
    place: (u32, u16),
    /// The leaf that should be there.
    next: u64,
    /// What is left of a segment that is not in order: numbers and places, the last first.
    disordered: Vec<(u64, (u32, u16))>,
    /// Leaves that were kept of pruned segments, the last first.
    retained: Vec<(u64, Vec<u8>)>,
    finished: bool,
    /// Leaves per segment, as a power of two.
    bits: u32,
}

impl Export {
    /// Begins an export from the block with leaf `from` up to block `last`, with what the log says behind that.
    pub(super) fn begin(
        from: u64,
        identity: &store::Identity,
        last: &store::Block,
        head: Option<&ExportHead>,
    ) -> Result<Export> {
        let size = last.tree_size;
        if from >= size {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("from_entry {from} is beyond the sealed log, which has {size} leaves"),
                "ward.seal_audit_trail() seals what is committed.",
            ));
        }
        let bits = store::segment_bits();
        let segments = store::segment_numbers(size);
        for table in segments.iter().copied().filter_map(store::segment_table) {
            segment::hold(table);
        }
        unchanged()?;
        let (first_block, first_leaf) = block_of(from, last.block_no);
        let (mut incarnations, mut shapes) = (Vec::new(), Vec::new());
        if first_block > 0 {
            incarnations = store::incarnations_at(first_leaf)
                .iter()
                .map(|i| i.incarnation)
                .collect();
        }
        store::lost_shapes(first_leaf, |content| shapes.push(content.to_vec()));
        let header = ExportHeader {
            origin: checkpoint::origin(identity)?,
            first_block,
            first_leaf,
            blocks: last.block_no + 1,
            size,
            taken_at: process::now_micros(),
        };
        let mut source = Stored::default();
        let segment = first_leaf >> bits;
        let mut retained = Vec::new();
        store::all_retained(|id, leaf| retained.push((id, leaf.to_vec())));
        retained.sort_unstable();
        // while a prune is carried out, two segments may keep the same
        retained.dedup();
        retained.reverse();
        Ok(Export {
            writer: ExportWriter::new(header, head, &incarnations, &shapes, &mut source),
            source,
            size,
            ends_early: head.is_some(),
            retained,
            first_leaf,
            segments,
            segment,
            place: (0, 0),
            next: segment << bits,
            disordered: Vec::new(),
            finished: false,
            bits,
        })
    }

    /// Reads on until lines are ready or the log has ended.
    fn fill(&mut self) -> Result<()> {
        while !self.writer.has_lines() && !self.finished {
            if self.segment == END {
                self.writer.finish(&mut self.source);
                self.finished = true;
                break;
            }
            let behind = self.segment << self.bits >= self.size;
            let table = store::segment_table(self.segment);
            match table.filter(|_| !(behind && self.ends_early)) {
                Some(table) if !self.disordered.is_empty() => self.sorted(table),
                Some(table) => self.scan(table),
                None if !behind => self.missing(),
                None => self.next_segment(),
            }
        }
        Ok(())
    }

    /// Passes over leaves of a segment that is not there.
    fn missing(&mut self) {
        let end = self.size.min((self.segment + 1) << self.bits);
        let at = self.next.max(self.first_leaf);
        let step = end.min(at.saturating_add(GAP));
        while let Some((id, leaf)) = self.retained.pop() {
            if id >= step {
                self.retained.push((id, leaf));
                break;
            }
            if id >= at {
                self.writer.gap(id, &mut self.source);
                self.writer.leaf(id, &leaf, None, &mut self.source);
            }
        }
        if step > at {
            self.writer.gap(step, &mut self.source);
        }
        self.next = step;
        if step >= end {
            self.next_segment();
        }
    }

    fn next_segment(&mut self) {
        let mut later = self.segments.iter().copied();
        let found = later.find(|number| *number > self.segment);
        self.segment = found.unwrap_or(END);
        self.place = (0, 0);
        self.next = self.segment.saturating_mul(1 << self.bits);
    }

    /// Reads rows as they are stored, which is in order of their numbers.
    fn scan(&mut self, table: pg_sys::Oid) {
        let mut disorder = None;
        let mut ended = true;
        segment::scan_from(table, self.place, |stored| {
            let id = stored.entry_id as u64;
            if id != self.next {
                disorder = Some(stored.place);
                return false;
            }
            self.next = self.row(id, stored.records);
            self.place = (stored.place.0, stored.place.1 + 1);
            ended = !self.writer.has_lines();
            ended
        });
        match disorder {
            Some(place) => self.sort_from(table, place),
            None if ended => self.next_segment(),
            None => {}
        }
    }

    /// Writes the leaves of a row; returns the number after the last.
    fn row(&mut self, first: u64, records: &[u8]) -> u64 {
        segment::each_leaf(first, records, |id, leaf, image| {
            if id >= self.first_leaf && !(self.ends_early && id >= self.size) {
                self.writer.leaf(id, leaf, image, &mut self.source);
            }
        })
    }

    /// Notes the numbers and places of all rows that follow; only tampering puts them out of order.
    fn sort_from(&mut self, table: pg_sys::Oid, place: (u32, u16)) {
        let (segment_no, bits) = (self.segment, self.bits);
        segment::scan_from(table, place, |stored| {
            let id = u64::try_from(stored.entry_id)
                .ok()
                .filter(|id| id >> bits == segment_no);
            // what does not belong here comes last, as in a verification
            self.disordered
                .push((id.unwrap_or(i64::MAX as u64), stored.place));
            true
        });
        self.disordered.sort_unstable();
        self.disordered.reverse();
    }

    fn sorted(&mut self, table: pg_sys::Oid) {
        while let Some((id, place)) = self.disordered.pop() {
            segment::scan_from(table, place, |stored| {
                self.row(id, stored.records);
                false
            });
            if self.writer.has_lines() {
                break;
            }
        }
        if self.disordered.is_empty() {
            self.next_segment();
        }
    }
}

/// Refuses to read on a standby what was removed since the statement's snapshot was taken: the order that accounts for it
/// would not be read. A primary removes nothing before every snapshot in use sees the order.
fn unchanged() -> Result<()> {
    if process::in_recovery() && store::removed() != owner::run(store::removed) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "the primary has removed audit entries that this transaction's snapshot still has",
            "Try again in a new transaction.",
        ));
    }
    Ok(())
}

/// Number and first leaf of the block that holds a leaf; the first block where the rows do not tell.
pub(super) fn block_of(leaf: u64, last: u64) -> (u64, u64) {
    let (mut low, mut high) = (0, last);
    let mut found = (0, 0);
    while low <= high {
        let middle = low + (high - low) / 2;
        let mut first = None;
        store::blocks(middle, 1, |block| {
            first = (block.block_no == middle).then_some(block.first_leaf);
        });
        match first {
            Some(first) if first <= leaf => {
                found = (middle, first);
                low = middle + 1;
            }
            Some(_) => match middle.checked_sub(1) {
                Some(below) => high = below,
                None => break,
            },
            None => return (0, 0),
        }
    }
    found
}
