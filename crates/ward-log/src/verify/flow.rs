//! The way of a leaf through the verifier.

use crate::hash::Hash;
use crate::leaf::{IncarnationLeaf, Leaf, RowLeaf, ViolationLeaf};
use crate::verify::block::Block;
use crate::verify::prepared::Prepared;
use crate::verify::report::ViolationType;
use crate::verify::transaction::{Taint, Transaction};
use crate::verify::{LogSource, Verifier};

impl<S: LogSource> Verifier<'_, S> {
    /// Takes a leaf and its image. Indexes must not descend; one that does is reported as duplicated.
    pub fn leaf(&mut self, index: u64, leaf: &[u8], image: Option<&[u8]>) {
        self.prepared(index, leaf, image, &Prepared::new(leaf, image));
    }

    /// As [`leaf`](Self::leaf), with what was found out about this very leaf and image ahead.
    pub fn prepared(&mut self, index: u64, leaf: &[u8], image: Option<&[u8]>, prepared: &Prepared) {
        self.leaves += 1;
        let hash = prepared.hash;
        if let Some((at, earlier)) = self.suspect.take() {
            if index == at {
                self.duplicated(index);
                if self.trees.stored_hash(&mut self.source, index) != Some(hash) {
                    self.suspect = Some((at, earlier));
                    return;
                }
            } else {
                self.opaque(at, earlier, None, Taint::Altered);
            }
        }
        if index < self.next {
            return self.duplicated(index);
        }
        if index > self.next {
            if !self.plausible(index) {
                return self.unexpected(index);
            }
            self.missing(index);
        }
        if !self.enter_block(index, Some(&hash)) {
            return self.unexpected(index);
        }
        if index > self.next {
            // only this leaf has shown that there is one more block
            self.missing(index);
        }
        match self.trees.stored_hash(&mut self.source, index) {
            Some(stored) if stored == hash => self.readable(index, leaf, image, prepared),
            Some(_) => self.suspect = Some((index, hash)),
            None => {
                self.tile_missing(index);
                self.readable(index, leaf, image, prepared);
            }
        }
    }

    /// Says that no leaf before `index` will be handed in: what was not, is missing.
    pub fn skip_to(&mut self, index: u64) {
        if let Some((at, hash)) = self.suspect.take() {
            self.opaque(at, hash, None, Taint::Altered);
        }
        if index > self.next {
            self.missing(index);
        }
    }

    /// Makes sure that the block of the next leaf is loaded; false when the log has ended.
    #[inline]
    pub(super) fn enter_block(&mut self, index: u64, hash: Option<&Hash>) -> bool {
        if self.block.is_some() {
            return true;
        }
        let row = self.source.block(self.block_no);
        if row.is_none() {
            // a later block, or a leaf that the tree was built over, shows that a block was here
            let later = self.source.block(self.block_no + 1).is_some();
            let stored = self.trees.stored_hash(&mut self.source, index);
            if !later && (hash.is_none() || stored != hash.copied()) {
                return false;
            }
            self.report.add(
                ViolationType::BlockMissing,
                Some(self.block_no),
                None,
                "the block's row is missing",
            );
        }
        if let Some(row) = &row {
            self.removals.enter(row.sealed_at);
        }
        let next_first = match &row {
            Some(row) if row.tree_size > self.next => row.tree_size,
            _ => self
                .source
                .block(self.block_no + 1)
                .map_or(u64::MAX, |next| next.first_leaf),
        };
        self.block = Some(Block {
            first_leaf: self.next,
            likely_end: next_first,
            row,
        });
        self.last_xid = None;
        self.xids.clear();
        self.begun = None;
        true
    }

    /// Keeps the root at a size that a prune leaf may name.
    #[inline]
    pub(super) fn note_head(&mut self) {
        if self.removals.wants_head(self.next) && !self.lost {
            // an altered leaf is reported as that; the prune leaf behind it need not be wrong
            let roots = [Some(self.trees.computed_root()), self.trees.stored_root()];
            self.removals.add_head(self.next, roots);
        }
    }

    /// A leaf that is what the tree was built over.
    #[inline]
    fn readable(&mut self, index: u64, bytes: &[u8], image: Option<&[u8]>, prepared: &Prepared) {
        let hash = prepared.hash;
        let leaf = match Leaf::parse(bytes) {
            Ok(leaf) => leaf,
            Err(error) => {
                self.report.add(
                    ViolationType::EntryUnreadable,
                    Some(self.block_no),
                    Some(index),
                    error.to_string(),
                );
                return self.opaque(index, hash, Some(hash), Taint::Altered);
            }
        };
        if let Leaf::Incarnation(leaf) = &leaf {
            // before the leaf enters the tree: it speaks of the root before it
            self.incarnation(index, leaf);
        } else if index == 0 {
            self.order_broken(index, "the log does not begin with an incarnation leaf");
        }
        self.trees.append(&mut self.source, hash, hash);
        self.next = index + 1;
        self.note_head();
        self.entries += u64::from(leaf.frame().is_some());
        match &leaf {
            Leaf::Row(row) => self.row_image(index, row, image, prepared),
            _ if image.is_some() => self.image_unexpected(index),
            _ => {}
        }
        match leaf {
            Leaf::Row(_)
            | Leaf::Event(_)
            | Leaf::Shape(_)
            | Leaf::Prune(_)
            | Leaf::Erase(_)
            | Leaf::Retention(_)
            | Leaf::KeyChange(_)
            | Leaf::Restore(_) => {
                self.transaction_leaf(index, bytes, &leaf, prepared);
            }
            Leaf::Violation(leaf) => self.violation(index, &leaf),
            Leaf::Incarnation(_) => {}
            Leaf::Seal(seal) if seal.block_no == self.block_no => {
                return self.end_block(Some(seal), false);
            }
            Leaf::Seal(_) => self.order_broken(index, "the seal leaf is of another block"),
        }
        self.maybe_end_block(false);
    }

    #[inline]
    fn row_image(
        &mut self,
        index: u64,
        row: &RowLeaf<'_>,
        image: Option<&[u8]>,
        prepared: &Prepared,
    ) {
        let bare = row.image_commit == [0; 32];
        match image {
            None if bare => {}
            None => self.removals.image_missing(index, row, self.leaves == 1),
            Some(_) if bare => self.image_unexpected(index),
            Some(_) if prepared.image_fits => {}
            Some(_) => self.report.add(
                ViolationType::ImageAltered,
                Some(self.block_no),
                Some(index),
                "the image is not the one the entry commits to",
            ),
        }
    }

    #[cold]
    fn image_unexpected(&mut self, index: u64) {
        self.report.add(
            ViolationType::ImageAltered,
            Some(self.block_no),
            Some(index),
            "an image lies beside an entry that has none",
        );
    }

    #[inline]
    fn transaction_leaf(&mut self, index: u64, bytes: &[u8], leaf: &Leaf<'_>, prepared: &Prepared) {
        let Some((xid, _)) = leaf.place() else { return };
        let same = self
            .transaction
            .as_ref()
            .is_some_and(|open| open.xid == xid && !open.recorded);
        if !same {
            self.open_transaction(xid, index);
        }
        self.taint_next = None;
        if let Leaf::Shape(shape) = leaf {
            let id = shape.shape_id();
            if self.known.shapes.insert(id) {
                self.removals.add_shape(id, shape.content);
            }
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.leaf(index, bytes, leaf, prepared, &mut self.known);
        }
    }

    fn open_transaction(&mut self, xid: u64, index: u64) {
        self.close_transaction();
        let mut transaction = Transaction::new(xid, self.taint_next, index);
        if self.last_xid.is_some_and(|last| last >= xid) {
            transaction.fail(
                ViolationType::OrderBroken,
                index,
                format!("transaction {xid} is not in ascending order, or in two places"),
            );
        } else {
            self.last_xid = Some(xid);
        }
        self.xids.push((xid, index));
        self.transaction = Some(transaction);
    }

    pub(super) fn close_transaction(&mut self) {
        if let Some(mut transaction) = self.transaction.take() {
            for (entry, order) in transaction.take_orders() {
                self.removals.order(entry, order);
            }
            if let Some(fault) = transaction.close() {
                self.report.add(
                    fault.kind,
                    Some(self.block_no),
                    Some(fault.entry),
                    fault.detail,
                );
            }
        }
    }

    #[cold]
    fn violation(&mut self, index: u64, leaf: &ViolationLeaf<'_>) {
        self.report.add(
            ViolationType::RecordedViolation,
            Some(self.block_no),
            Some(index),
            format!(
                "transaction {}: {}: {}",
                leaf.xid,
                leaf.kind.as_str(),
                leaf.detail
            ),
        );
        self.known.incomplete = true;
        let same = self
            .transaction
            .as_ref()
            .is_some_and(|open| open.xid == leaf.xid);
        if !same {
            self.open_transaction(leaf.xid, index);
        }
        self.taint_next = None;
        if let Some(transaction) = &mut self.transaction {
            transaction.recorded = true;
        }
    }

    #[cold]
    fn incarnation(&mut self, index: u64, leaf: &IncarnationLeaf<'_>) {
        let first = self
            .block
            .as_ref()
            .is_some_and(|block| block.first_leaf == index);
        if !first {
            self.order_broken(index, "an incarnation leaf comes first in its block");
        }
        self.close_transaction();
        if first {
            self.begun = Some(Some(leaf.incarnation));
        }
        self.known.incarnations.add(leaf.incarnation);
        let root_differs = self.head.is_some_and(|head| head != leaf.previous_root);
        if leaf.previous_size != index || (first && root_differs) {
            self.report.add(
                ViolationType::SealMismatch,
                Some(self.block_no),
                Some(index),
                "the incarnation leaf does not name the tree before it",
            );
        }
    }

    #[cold]
    pub(super) fn order_broken(&mut self, index: u64, detail: &str) {
        self.report.add(
            ViolationType::OrderBroken,
            Some(self.block_no),
            Some(index),
            detail,
        );
    }
}
