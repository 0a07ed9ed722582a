//! The end of a block: its seal leaf, its row, its root, and the transactions it may hold.

use crate::hash::Hash;
use crate::leaf::{SealLeaf, Snapshot};
use crate::verify::report::ViolationType;
use crate::verify::trees::Match;
use crate::verify::{BlockInfo, LogSource, Verifier};

/// The block being read.
pub(super) struct Block {
    pub(super) row: Option<BlockInfo>,
    pub(super) first_leaf: u64,
    /// Where the block ends unless its seal leaf comes earlier: a row may lie about it.
    pub(super) likely_end: u64,
}

/// A block whose root neither tree gives: the next block's seal leaf, which names that root too, has to decide.
pub(super) struct Unresolved {
    block_no: u64,
    row_root: Option<Hash>,
    computed_root: Hash,
    stored_root: Option<Hash>,
    /// Something else about the block's row is already reported.
    reported: bool,
}

impl<S: LogSource> Verifier<'_, S> {
    /// Ends the block when it is full, although no seal leaf of it was read.
    #[inline]
    pub(super) fn maybe_end_block(&mut self, opaque: bool) {
        let full = self
            .block
            .as_ref()
            .is_some_and(|block| block.likely_end == self.next);
        if full {
            self.unsealed_end(opaque);
        }
    }

    #[cold]
    fn unsealed_end(&mut self, opaque: bool) {
        let next_first = self
            .source
            .block(self.block_no + 1)
            .map(|next| next.first_leaf);
        let further = match next_first {
            Some(first) if first > self.next => Some(first),
            Some(_) => None,
            // the last block, and yet the tree goes on
            None => self
                .trees
                .stored_hash(&mut self.source, self.next)
                .map(|_| u64::MAX),
        };
        match (further, &mut self.block) {
            // the row makes the block shorter than it is; its seal leaf will tell
            (Some(end), Some(block)) => block.likely_end = end,
            _ => self.end_block(None, opaque),
        }
    }

    /// Ends the block: with its seal leaf, or without one that can be relied on.
    pub(super) fn end_block(&mut self, seal: Option<SealLeaf>, opaque: bool) {
        self.close_transaction();
        self.taint_next = None;
        let Some(Block {
            row, first_leaf, ..
        }) = self.block.take()
        else {
            return;
        };
        if let Some(seal) = &seal {
            self.check_seal(seal, first_leaf);
        } else if !opaque && row.is_some() {
            self.report.add(
                ViolationType::SealMismatch,
                Some(self.block_no),
                Some(self.next - 1),
                "the block does not end with its seal leaf",
            );
        }
        let mut wrong = Vec::new();
        if let Some(row) = &row {
            wrong = self.wrong_fields(row, seal.as_ref(), first_leaf);
        }
        let reported = !wrong.is_empty();
        if reported {
            self.block_altered(
                self.block_no,
                format!("the block's row is altered: {}", wrong.join(", ")),
            );
        }
        if let Some(seal) = &seal {
            self.witness(&seal.previous_root);
        }
        self.resolve(row.as_ref().map(|row| row.root), reported);
        self.check_snapshots(seal.as_ref(), row.as_ref());
        self.check_shapes();
        self.removals
            .end_block(self.block_no, first_leaf, &mut self.report);
        self.blocks += 1;
        self.block_no += 1;
        if self.unresolved.is_none() {
            self.report.flush();
        }
    }

    fn check_seal(&mut self, seal: &SealLeaf, first_leaf: u64) {
        let before = self.snapshot_before.as_ref();
        let mut wrong = Vec::new();
        if seal.first_leaf != first_leaf || seal.previous_size != first_leaf {
            wrong.push("first leaf");
        }
        if self.head.is_some_and(|head| head != seal.previous_root) {
            wrong.push("previous root");
        }
        if before.is_some_and(|before| *before != seal.snapshot_before) {
            match self.new_xids(seal) {
                Some(Ok(incarnation)) => self.known.incarnations.begin_anew(incarnation),
                Some(Err(problem)) => wrong.push(problem),
                None => wrong.push("snapshot before"),
            }
        }
        if !wrong.is_empty() {
            self.report.add(
                ViolationType::SealMismatch,
                Some(self.block_no),
                Some(self.next - 1),
                format!(
                    "the seal leaf does not continue the log: {}",
                    wrong.join(", ")
                ),
            );
        }
    }

    /// Whether a new xid space begins with this block: with which incarnation, or why that cannot be.
    fn new_xids(&self, seal: &SealLeaf) -> Option<Result<Option<[u8; 16]>, &'static str>> {
        let incarnation = self.begun?;
        if seal.snapshot_before != Snapshot::default() {
            return None;
        }
        let closed = |before: &Snapshot| before.xmin == before.xmax;
        Some(if !self.xids.is_empty() {
            Err("a block that begins a new xid space holds a transaction")
        } else if self.snapshot_before.as_ref().is_some_and(closed) {
            Ok(incarnation)
        } else {
            Err("a new xid space begins before the old one is closed")
        })
    }

    /// What a block's row says other than its seal leaf and place in the log.
    fn wrong_fields(
        &self,
        row: &BlockInfo,
        seal: Option<&SealLeaf>,
        first_leaf: u64,
    ) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if row.block_no != self.block_no {
            wrong.push("number");
        }
        if row.first_leaf != first_leaf {
            wrong.push("first leaf");
        }
        if row.tree_size != self.next {
            wrong.push("tree size");
        }
        if let Some(seal) = seal {
            let mut snapshot = Vec::new();
            seal.snapshot_after.encode(&mut snapshot);
            if row.snapshot != snapshot {
                wrong.push("snapshot");
            }
            if row.sealed_at != seal.sealed_at {
                wrong.push("time of sealing");
            }
        }
        wrong
    }

    fn block_altered(&mut self, block_no: u64, detail: impl Into<String>) {
        self.report
            .add(ViolationType::BlockAltered, Some(block_no), None, detail);
    }

    /// Uses the previous root that a seal leaf names to decide about an unresolved block before it.
    fn witness(&mut self, previous_root: &Hash) {
        let Some(unresolved) = self.unresolved.take() else {
            return;
        };
        let Unresolved { block_no, .. } = unresolved;
        if unresolved.computed_root == *previous_root
            || unresolved.stored_root.as_ref() == Some(previous_root)
        {
            if !unresolved.reported {
                self.block_altered(block_no, "the block's root is altered");
            }
        } else if unresolved.row_root.as_ref() == Some(previous_root) {
            self.lose();
            self.report.add(
                ViolationType::EntryAltered,
                Some(block_no),
                None,
                "entries of the block and their stored hashes were altered together: \
                 the block's root, which the next block confirms, is not theirs",
            );
        } else {
            self.lose();
            self.block_altered(
                block_no,
                "the block's root is neither that of its entries nor the one the next block names",
            );
        }
    }

    /// Compares the root of the block that ends with those of the trees.
    fn resolve(&mut self, row_root: Option<Hash>, reported: bool) {
        if self.lost {
            self.head = row_root;
            self.lose();
            self.check_head(row_root);
            return;
        }
        let found = match row_root {
            Some(root) => self.trees.matching(&root),
            None if self.differences.is_empty() && self.unresolved.is_none() => Match::Computed,
            None => Match::Neither,
        };
        if found == Match::Neither {
            if let Some(earlier) = self.unresolved.take() {
                if !earlier.reported {
                    self.block_altered(
                        earlier.block_no,
                        "the block's root is not that of its entries",
                    );
                }
                self.lose();
                self.head = row_root;
                return;
            }
            self.unresolved = Some(Unresolved {
                block_no: self.block_no,
                row_root,
                computed_root: self.trees.computed_root(),
                stored_root: self.trees.stored_root(),
                reported: reported || row_root.is_none(),
            });
            self.head = None;
            self.check_head(row_root);
            return;
        }
        if let Some(earlier) = self.unresolved.take()
            && !earlier.reported
        {
            self.block_altered(earlier.block_no, "the block's root is altered");
        }
        self.trees.adopt(found);
        self.report_differences(found);
        let root = self.trees.computed_root();
        self.head = Some(root);
        self.check_head(Some(root));
        self.report_tiles();
    }

    /// Gives up on roots: what differs from its stored hash is reported as altered.
    fn lose(&mut self) {
        self.lost = true;
        self.trees.adopt(Match::Computed);
        self.report_differences(Match::Stored);
    }

    /// Reports where leaves and stored hashes differ, given which of the two are right.
    fn report_differences(&mut self, right: Match) {
        let (kind, detail) = match right {
            Match::Computed => (
                ViolationType::TileAltered,
                "the stored leaf hash is altered",
            ),
            _ => (ViolationType::EntryAltered, "the entry is altered"),
        };
        for (entry, block_no) in self.differences.drain(..) {
            self.report.add(kind, Some(block_no), Some(entry), detail);
        }
    }

    fn report_tiles(&mut self) {
        for wrong in std::mem::take(&mut self.trees.wrong_tiles) {
            self.report.add(
                ViolationType::TileAltered,
                Some(self.block_no),
                Some(wrong.first_leaf),
                format!(
                    "tile {} of level {} is not that of its entries",
                    wrong.index, wrong.level
                ),
            );
        }
    }

    /// Compares with a checkpoint of this size.
    fn check_head(&mut self, root: Option<Hash>) {
        let wrong: Vec<_> = self
            .heads
            .iter()
            .filter(|(size, head)| *size == self.next && Some(*head) != root)
            .copied()
            .collect();
        self.heads.retain(|(size, _)| *size != self.next);
        if !wrong.is_empty() {
            self.contradicted.extend(wrong);
            self.report.add(
                ViolationType::CheckpointMismatch,
                Some(self.block_no),
                None,
                format!("the root at size {} is not the checkpoint's", self.next),
            );
        }
    }

    /// Every transaction of the block ended between the two snapshots.
    fn check_snapshots(&mut self, seal: Option<&SealLeaf>, row: Option<&BlockInfo>) {
        let from_row = || row.and_then(|row| Snapshot::parse(&row.snapshot).ok());
        let after = seal
            .map(|seal| seal.snapshot_after.clone())
            .or_else(from_row);
        let before = seal
            .map(|seal| seal.snapshot_before.clone())
            .or(self.snapshot_before.take());
        for (xid, entry) in &self.xids {
            let early = before.as_ref().is_some_and(|before| before.visible(*xid));
            let late = after.as_ref().is_some_and(|after| !after.visible(*xid));
            if early || late {
                let which = if early { "an earlier" } else { "a later" };
                self.report.add(
                    ViolationType::SnapshotMismatch,
                    Some(self.block_no),
                    Some(*entry),
                    format!("by its snapshots, transaction {xid} belongs in {which} block"),
                );
            }
        }
        self.snapshot_before = after;
    }

    /// Shapes that rows of the block name must have been seen by its end.
    fn check_shapes(&mut self) {
        for (shape, entry) in std::mem::take(&mut self.known.awaited_shapes) {
            // said once; later rows of the table are not reported again
            if self.known.shapes.insert(shape) && !self.known.incomplete {
                self.report.add(
                    ViolationType::ShapeUnknown,
                    Some(self.block_no),
                    Some(entry),
                    "no shape leaf in this or an earlier block has the id the row names",
                );
            }
        }
    }

    /// What is still open when the log has ended.
    pub(super) fn finish_blocks(&mut self) {
        self.end_blocks();
        if !self.lost {
            self.trees.compare_edge(&mut self.source);
            self.report_tiles();
        }
        self.heads_beyond();
    }

    /// What is still open behind the last block to verify.
    pub(super) fn end_blocks(&mut self) {
        if self.block.is_some() {
            // its row and its seal leaf are both gone; the row is reported
            self.end_block(None, true);
        }
        self.block_no = self.block_no.saturating_sub(1);
        if let Some(unresolved) = self.unresolved.take() {
            if !unresolved.reported {
                self.block_altered(
                    unresolved.block_no,
                    "the block's root is not that of its entries",
                );
            }
            self.lose();
        }
    }

    fn heads_beyond(&mut self) {
        let beyond = std::mem::take(&mut self.heads);
        for (size, root) in beyond {
            self.contradicted.push((size, root));
            self.report.add(
                ViolationType::CheckpointMismatch,
                None,
                None,
                format!("a checkpoint says {size} leaves; no block of the log ends there"),
            );
        }
    }
}
