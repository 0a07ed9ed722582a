//! The index as it grows: in the sealing worker, in the transaction that seals the leaves.

use super::pairs::{self, Run};
use super::{lock, runs};
use crate::audit::find;
use crate::error::Result;

/// Takes note of leaves as they are sealed, and stores runs that are complete at the end of a block. So a
/// large block is stored as large runs at once.
#[derive(Default)]
pub struct IndexWriter {
    /// The first leaf that is not stored: a multiple of the smallest run.
    first: u64,
    /// The leaf that comes next; None after a start.
    next: Option<u64>,
    /// The pairs of the leaves in between, which the largest run would hold, in their order.
    pairs: Vec<u64>,
    /// How many of them the first runs of the smallest size have together: one, two, and so on.
    ends: Vec<usize>,
    /// Whether runs are known to be stored of everything before `first`.
    whole: bool,
}

impl IndexWriter {
    /// Takes note of a leaf, which follows the one before.
    pub fn push(&mut self, index: u64, leaf: &[u8]) -> Result<()> {
        if self.next != Some(index) {
            self.resume(index);
        }
        self.pairs.extend(pairs::pair(index, leaf));
        let next = index + 1;
        self.next = Some(next);
        if next.is_multiple_of(Run::LEAST) {
            self.ends.push(self.pairs.len());
            if next.is_multiple_of(Run::MOST) {
                self.finish()?;
            }
        }
        Ok(())
    }

    /// Takes up the leaves that were sealed behind the last run.
    fn resume(&mut self, index: u64) {
        self.first = index - index % Run::LEAST;
        self.pairs.clear();
        self.ends.clear();
        find::leaves(self.first..index, |index, leaf, _| {
            self.pairs.extend(pairs::pair(index, leaf));
        });
    }

    /// Stores the runs that are complete.
    pub fn finish(&mut self) -> Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let end = self.first + Run::LEAST * self.ends.len() as u64;
        // Whoever rebuilds the index has it to himself. Sealing does not wait: what is left out is
        // indexed later.
        if lock::try_to_write() {
            self.store(end)?;
        } else {
            self.whole = false;
        }
        let stored = self.ends.last().copied().unwrap_or_default();
        self.pairs.drain(..stored);
        self.ends.clear();
        self.first = end;
        Ok(())
    }

    fn store(&mut self, end: u64) -> Result<()> {
        let mut stored = 0;
        for run in Run::within(self.first..end, Run::TOP) {
            let last = (run.leaves().end - self.first) / Run::LEAST - 1;
            let until = self.ends.get(last as usize).copied();
            let pairs = &mut self.pairs[stored..until.unwrap_or(stored)];
            pairs.sort_unstable();
            runs::put(run, pairs)?;
            if (run.number + 1).is_multiple_of(Run::FAN) {
                runs::merge(run)?;
            }
            stored = until.unwrap_or(stored);
        }
        Ok(())
    }

    /// Whether something before the current run may lack an index.
    pub fn lacks(&self) -> bool {
        !self.whole
    }

    /// Notes whether everything before the current run has one.
    pub fn set_whole(&mut self, whole: bool) {
        self.whole = whole;
    }
}
