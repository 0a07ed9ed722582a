//! Seal leaves: the end of a block.

use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::{SEAL, Snapshot, VERSION};
use crate::wire::Reader;

/// The end of a block: what it covers, and the head of the tree before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealLeaf {
    /// The block's number, from 0.
    pub block_no: u64,
    /// The index of the block's first leaf; equal to `previous_size`.
    pub first_leaf: u64,
    /// The tree's size before the block.
    pub previous_size: u64,
    /// The tree's root before the block.
    pub previous_root: Hash,
    /// The snapshot of the block before; empty for block 0.
    pub snapshot_before: Snapshot,
    /// The snapshot the block was made with.
    pub snapshot_after: Snapshot,
    /// When, in microseconds since 1970-01-01 UTC.
    pub sealed_at: i64,
}

impl SealLeaf {
    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[SEAL, VERSION]);
        out.extend_from_slice(&self.block_no.to_be_bytes());
        out.extend_from_slice(&self.first_leaf.to_be_bytes());
        out.extend_from_slice(&self.previous_size.to_be_bytes());
        out.extend_from_slice(&self.previous_root);
        self.snapshot_before.encode(out);
        self.snapshot_after.encode(out);
        out.extend_from_slice(&self.sealed_at.to_be_bytes());
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            block_no: reader.u64()?,
            first_leaf: reader.u64()?,
            previous_size: reader.u64()?,
            previous_root: reader.array()?,
            snapshot_before: Snapshot::read(reader)?,
            snapshot_after: Snapshot::read(reader)?,
            sealed_at: reader.i64()?,
        })
    }
}
