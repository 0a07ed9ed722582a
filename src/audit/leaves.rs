//! Every leaf there is, one after the other: those of the sealed log, then what is not sealed yet.

use super::{capture, seal, store};
use crate::error::{self, Result};
use crate::pg::journal::{ChunkId, Journal, Mode};
use std::collections::{BTreeMap, VecDeque};
use ward_log::Snapshot;

/// What stands for the block of entries that are not sealed yet.
pub const UNSEALED: i64 = i64::MAX;

/// Calls `visit` with index, block, leaf and image of the sealed leaves that are stored, in order.
pub fn sealed(mut visit: impl FnMut(u64, i64, &[u8], Option<&[u8]>)) -> Result<()> {
    let Some(last) = store::last_block() else {
        return Ok(());
    };
    let mut blocks = Blocks::default();
    let (mut block, mut end) = (-1, 0);
    let mut next = 0;
    let bits = store::segment_bits();
    for number in store::segment_numbers(last.tree_size) {
        let Some(table) = store::segment_table(number) else {
            continue;
        };
        // behind a pruned segment, reading begins with what should be there
        next = number.saturating_mul(1 << bits).max(next);
        store::leaves(table, number, &mut next, |id, leaf, image| {
            while id >= end
                && let Some((number, size)) = blocks.next()
            {
                (block, end) = (number as i64, size);
            }
            visit(id, block, leaf, image);
        })?;
    }
    Ok(())
}

/// How many blocks are read at once.
const AHEAD: u64 = 256;

/// The blocks that are there: number, and size of the tree after it. Numbers and sizes may be forged.
#[derive(Default)]
struct Blocks {
    ahead: VecDeque<(u64, u64)>,
    from: u64,
    read: bool,
}

impl Iterator for Blocks {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        if self.ahead.is_empty() && !self.read {
            store::blocks(self.from, AHEAD, |block| {
                self.ahead.push_back((block.block_no, block.tree_size));
            });
            let last = self.ahead.back();
            self.read = last.is_none_or(|(number, _)| *number >= i64::MAX as u64);
            self.from = last.map_or(0, |(number, _)| number.saturating_add(1));
        }
        self.ahead.pop_front()
    }
}

/// Calls `visit` for the chunks that the active snapshot sees in the journals and `sealed`, the last block's, does not.
pub fn unsealed_chunks(
    journals: &[Journal; 2],
    sealed: &Snapshot,
    mut visit: impl FnMut(ChunkId),
) -> Result<()> {
    for (journal, mark) in journals.iter().zip(store::marks()?) {
        // what lies before the mark is in the blocks that this snapshot sees
        let from = if mark.file == journal.file() {
            mark.page
        } else {
            0
        };
        journal.scan_visible(from, |id| {
            if !sealed.visible(id.xid) {
                visit(id);
            }
        });
    }
    Ok(())
}

/// The packed records of these chunks by transaction and position, and those that this transaction has not written yet.
pub fn unsealed() -> Result<Vec<Vec<u8>>> {
    let sealed = match store::last_block() {
        Some(block) => Snapshot::parse(&block.snapshot).map_err(error::format)?,
        None => Snapshot::default(),
    };
    let mut chunks = BTreeMap::new();
    let journals = seal::open_journals(Mode::Read)?;
    unsealed_chunks(&journals, &sealed, |id| {
        chunks.insert((id.xid, id.position, id.part), id);
    })?;
    let mut entries = Vec::new();
    let mut bytes = Vec::new();
    for ((_, _, part), id) in &chunks {
        if *part == 0 {
            entries.push(std::mem::take(&mut bytes));
        }
        journals[id.journal as usize].fetch(id, &mut bytes);
    }
    entries.push(bytes);
    capture::unwritten(|_, _, bytes| entries.push(bytes.to_vec()))?;
    Ok(entries)
}
