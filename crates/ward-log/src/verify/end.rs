//! The end of a verification, and what is said of the log behind it.

use crate::hash::Hash;
use crate::leaf::Leaf;
use crate::proof::verify_consistency;
use crate::verify::removal::Order;
use crate::verify::report::{Summary, ViolationType};
use crate::verify::transaction::Taint;
use crate::verify::{LogSource, Verifier};

impl<S: LogSource> Verifier<'_, S> {
    /// Takes a leaf from behind the last one handed in, that accounts for what is missing; `is_in`: it was proven to
    /// be in the log.
    pub fn ordered_later(&mut self, index: u64, leaf: &[u8], is_in: bool) {
        let order = Leaf::parse(leaf)
            .ok()
            .and_then(|leaf| Order::of(index, &leaf));
        match order.filter(|_| is_in) {
            Some(order) => self.removals.order_later(index, order),
            None => self.report.add(
                ViolationType::OrderForged,
                None,
                Some(index),
                "the leaf is not of the log, or orders nothing",
            ),
        }
    }

    /// Says that the log grew to this size and root. The proof is checked when the verification ends.
    pub fn extended_by(&mut self, size: u64, root: &Hash, proof: &[Hash]) {
        self.extension = Some((size, *root, proof.to_vec()));
    }

    /// Ends the verification. `stored_size` is the size the log is said to have: that of its last block.
    pub fn finish(mut self, stored_size: u64) -> Summary {
        if let Some((at, hash)) = self.suspect.take() {
            self.opaque(at, hash, None, Taint::Altered);
        }
        while self.enter_block(self.next, None) {
            self.missing(u64::MAX);
        }
        self.finish_blocks();
        self.check_extension();
        self.removals.do_later(&mut self.report);
        self.removals.report(&mut self.report);
        // that it is not the log of a checkpoint does not explain that it is shorter or longer than it says
        if stored_size != self.next && self.report.count == self.report.mismatches {
            self.report.add(
                ViolationType::SizeMismatch,
                None,
                Some(self.next.min(stored_size)),
                format!(
                    "the log has {} leaves and should have {stored_size}",
                    self.next
                ),
            );
        }
        self.summary()
    }

    /// Ends the verification behind the block whose tree has `size` leaves, although the log may go on. That this
    /// tree became part of the log's is for the caller to prove.
    pub fn stop(mut self, size: u64) -> Summary {
        if let Some((at, hash)) = self.suspect.take() {
            self.opaque(at, hash, None, Taint::Altered);
        }
        self.missing(size);
        self.heads.retain(|(head, _)| *head <= size);
        if self.block.is_some() {
            // neither its seal leaf nor the row of the block behind says so: its own row leaves out its end
            self.report.add(
                ViolationType::BlockAltered,
                Some(self.block_no),
                None,
                "the block's row makes it shorter than it is",
            );
        }
        self.end_blocks();
        self.removals.do_later(&mut self.report);
        self.removals.report(&mut self.report);
        self.summary()
    }

    fn summary(mut self) -> Summary {
        self.report.flush();
        Summary {
            entries: self.entries,
            leaves: self.leaves,
            blocks: self.blocks,
            size: self.next,
            root: self.trees.computed_root(),
            pruned: self.removals.pruned,
            pruned_leaves: self.removals.pruned_leaves,
            erased: self.removals.erased,
            erasures: self.removals.erasures,
            erased_images: self.removals.erased_images,
            last_removal: self.removals.last_removal,
            contradicted: std::mem::take(&mut self.contradicted),
            violations: self.report.count,
        }
    }

    fn check_extension(&mut self) {
        let Some((size, root, proof)) = self.extension.take() else {
            return;
        };
        let own = self.trees.computed_root();
        if !self.lost && !verify_consistency((self.next, &own), (size, &root), &proof) {
            // No checkpoint was compared: that kind is judged by which checkpoint it speaks of.
            self.report.add(
                ViolationType::TileAltered,
                None,
                None,
                format!("these leaves are not the beginning of the log of {size} leaves"),
            );
        }
    }
}
