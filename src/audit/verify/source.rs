//! The stored tiles and block rows, as a verification reads them.

use super::super::store;
use std::collections::HashMap;
use ward_log::{BlockInfo, Hash, LogSource};

/// How many tiles or blocks are read at once.
const PREFETCH: u64 = 256;

/// The stored tiles and blocks, read ahead.
#[derive(Default)]
pub struct Stored {
    leaf_tiles: HashMap<u64, Option<Vec<Hash>>>,
    blocks: HashMap<u64, BlockInfo>,
    blocks_from: Option<u64>,
}

impl LogSource for Stored {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        if level > 0 {
            return store::tile(level, index);
        }
        if !self.leaf_tiles.contains_key(&index) {
            self.leaf_tiles.clear();
            store::tiles(0, index, PREFETCH, |index, hashes| {
                self.leaf_tiles.insert(index, hashes);
            });
        }
        self.leaf_tiles.entry(index).or_insert(None).clone()
    }

    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        let ahead = self
            .blocks_from
            .is_some_and(|from| (from..from + PREFETCH).contains(&block_no));
        if !ahead {
            // Keep the block before: it is asked for again at a boundary.
            let from = block_no.saturating_sub(1);
            self.blocks.clear();
            self.blocks_from = Some(from);
            store::blocks(from, PREFETCH, |block| {
                self.blocks.insert(block.block_no, block.into());
            });
            self.blocks.retain(|number, _| *number < from + PREFETCH);
        }
        self.blocks.get(&block_no).cloned()
    }
}

impl From<store::Block> for BlockInfo {
    fn from(block: store::Block) -> Self {
        BlockInfo {
            block_no: block.block_no,
            first_leaf: block.first_leaf,
            tree_size: block.tree_size,
            root: block.root,
            snapshot: block.snapshot,
            sealed_at: block.sealed_at,
        }
    }
}
