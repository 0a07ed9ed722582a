//! Leaves that are missing, come twice, have no place, or cannot be relied on.

use crate::hash::Hash;
use crate::verify::report::ViolationType;
use crate::verify::transaction::Taint;
use crate::verify::{LogSource, Verifier};

impl<S: LogSource> Verifier<'_, S> {
    /// Whether the log can have a leaf there: a forged number must not make all leaves before it count as missing.
    #[cold]
    pub(super) fn plausible(&mut self, index: u64) -> bool {
        if i64::try_from(index).is_err() {
            // beyond the numbers of any log, whatever hashes are stored for it
            return false;
        }
        let open = self
            .block
            .as_ref()
            .filter(|block| block.likely_end != u64::MAX)
            .is_some_and(|block| index < block.likely_end);
        let following = self.block_no + u64::from(self.block.is_some());
        open || self.trees.stored_hash(&mut self.source, index).is_some()
            || self
                .source
                .block(following)
                .is_some_and(|block| index < block.tree_size)
    }

    #[cold]
    pub(super) fn unexpected(&mut self, index: u64) {
        self.report.add(
            ViolationType::EntryUnexpected,
            None,
            Some(index),
            "the log has no leaf of this number",
        );
    }

    #[cold]
    pub(super) fn duplicated(&mut self, index: u64) {
        let block = self.block.as_ref().map(|_| self.block_no);
        self.report.add(
            ViolationType::EntryDuplicated,
            block,
            Some(index),
            "the leaf index occurs more than once",
        );
    }

    #[cold]
    pub(super) fn tile_missing(&mut self, index: u64) {
        if self.missing_tile.replace(index >> 8) != Some(index >> 8) {
            self.report.add(
                ViolationType::TileAltered,
                Some(self.block_no),
                Some(index),
                "the stored leaf hashes are missing from here on",
            );
        }
    }

    /// Leaves from the next one up to `end` are missing: their stored hashes stand in for them.
    #[cold]
    pub(super) fn missing(&mut self, end: u64) {
        while self.next < end {
            if !self.enter_block(self.next, None) {
                return;
            }
            match self.trees.stored_hash(&mut self.source, self.next) {
                Some(stored) => {
                    self.removals.leaf_missing(self.block_no, self.next);
                    self.opaque(self.next, stored, Some(stored), Taint::Missing);
                }
                None => self.hashless(end),
            }
        }
    }

    /// Neither leaves nor stored hashes are there: roots cannot be recomputed behind this.
    fn hashless(&mut self, end: u64) {
        let stop = self
            .block
            .as_ref()
            .map_or(end, |block| block.likely_end.min(end));
        // without a known end, or a next leaf, the block ends here
        let stop = if stop == u64::MAX { self.next } else { stop };
        self.lost = true;
        self.report.add(
            ViolationType::EntryMissing,
            Some(self.block_no),
            Some(self.next),
            "leaves are missing from here on, and their stored hashes too",
        );
        self.taint(Taint::Altered);
        self.next = stop;
        let full = self
            .block
            .as_ref()
            .is_some_and(|block| block.likely_end == stop);
        if full || end == u64::MAX {
            self.end_block(None, true);
        }
    }

    /// A leaf whose content must not be relied on.
    #[cold]
    pub(super) fn opaque(&mut self, index: u64, hash: Hash, stored: Option<Hash>, taint: Taint) {
        let stored = stored
            .or_else(|| self.trees.stored_hash(&mut self.source, index))
            .unwrap_or(hash);
        if stored != hash {
            self.differences.push((index, self.block_no));
        }
        self.trees.append(&mut self.source, hash, stored);
        if self
            .block
            .as_ref()
            .is_some_and(|block| block.first_leaf == index)
        {
            self.known.incarnations.add_unread();
            self.begun = Some(None);
        }
        self.next = index + 1;
        self.note_head();
        self.taint(taint);
        self.maybe_end_block(true);
    }

    fn taint(&mut self, taint: Taint) {
        if let Some(transaction) = &mut self.transaction {
            transaction.tainted = transaction.tainted.max(Some(taint));
        }
        self.taint_next = self.taint_next.max(Some(taint));
        self.known.incomplete = true;
        self.removals.forget_policy();
    }
}
