//! The two trees of a verification: over the leaves as they are, and over the stored leaf hashes.
//!
//! They are one tree until a leaf differs from its stored hash. A block's root then tells which of the two is
//! right, and with that whether the leaf or the stored hash was altered.

use crate::hash::Hash;
use crate::tree::{TILE_WIDTH, Tile, Tree};
use crate::verify::LogSource;

/// A stored hash above the leaves that neither tree gives.
pub(super) struct WrongTile {
    pub(super) level: u8,
    pub(super) index: u64,
    /// The first leaf the wrong hash covers.
    pub(super) first_leaf: u64,
}

#[derive(Default)]
pub(super) struct Trees {
    /// Over the leaves as they are.
    computed: Tree,
    /// Over the stored hashes, once the two differ.
    stored: Option<Tree>,
    tile_index: Option<u64>,
    tile: Vec<Hash>,
    pub(super) wrong_tiles: Vec<WrongTile>,
}

/// Which of the two trees has a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Computed,
    Stored,
    Neither,
}

impl Trees {
    pub(super) fn resume(tree: Tree) -> Self {
        Self {
            computed: tree,
            ..Self::default()
        }
    }

    /// The stored hash of a leaf.
    #[inline]
    pub(super) fn stored_hash(&mut self, source: &mut impl LogSource, index: u64) -> Option<Hash> {
        if self.tile_index != Some(index >> 8) {
            self.tile_index = Some(index >> 8);
            self.tile = source.tile(0, index >> 8).unwrap_or_default();
        }
        self.tile.get((index & 0xFF) as usize).copied()
    }

    /// Appends a leaf to both trees.
    #[inline]
    pub(super) fn append(&mut self, source: &mut impl LogSource, computed: Hash, stored: Hash) {
        if computed != stored {
            self.stored.get_or_insert_with(|| self.computed.clone());
        }
        let mut full = Vec::new();
        self.computed.append_with(computed, &mut |tile| {
            if tile.level > 0 {
                full.push(tile);
            }
        });
        let mut alternatives = Vec::new();
        if let Some(tree) = &mut self.stored {
            tree.append_with(stored, &mut |tile| alternatives.push(tile));
        }
        for tile in full {
            let alternative = alternatives
                .iter()
                .find(|other| (other.level, other.index) == (tile.level, tile.index))
                .map(|other| other.hashes.as_slice());
            let Tile {
                level,
                index,
                ref hashes,
            } = tile;
            self.compare(source, level, index, hashes, alternative);
        }
    }

    /// Compares the right edge above the leaves with the stored tiles, at the end of the log; also that the last
    /// tile of leaf hashes holds no more than the log has.
    pub(super) fn compare_edge(&mut self, source: &mut impl LogSource) {
        let computed = self.computed.clone();
        for (level, index, hashes) in computed.edge().filter(|(_, _, hashes)| !hashes.is_empty()) {
            if level > 0 {
                self.compare(source, level, index, hashes, None);
            } else if source
                .tile(0, index)
                .is_some_and(|tile| tile.len() > hashes.len())
            {
                self.wrong_tiles.push(WrongTile {
                    level,
                    index,
                    first_leaf: computed.size(),
                });
            }
        }
    }

    fn compare(
        &mut self,
        source: &mut impl LogSource,
        level: u8,
        index: u64,
        computed: &[Hash],
        alternative: Option<&[Hash]>,
    ) {
        let found = source.tile(level, index).unwrap_or_default();
        let wrong = (0..computed.len().max(found.len())).find(|slot| {
            let hash = found.get(*slot);
            hash.is_none()
                || (hash != computed.get(*slot)
                    && alternative.is_none_or(|other| hash != other.get(*slot)))
        });
        if let Some(slot) = wrong {
            let subtree = index * TILE_WIDTH as u64 + slot as u64;
            self.wrong_tiles.push(WrongTile {
                level,
                index,
                first_leaf: subtree << (8 * u32::from(level)),
            });
        }
    }

    /// Which tree has this root.
    pub(super) fn matching(&self, root: &Hash) -> Match {
        if self.computed.root() == *root {
            Match::Computed
        } else if self
            .stored
            .as_ref()
            .is_some_and(|tree| tree.root() == *root)
        {
            Match::Stored
        } else {
            Match::Neither
        }
    }

    /// Goes on with the tree that is right.
    pub(super) fn adopt(&mut self, right: Match) {
        if let Some(stored) = self.stored.take()
            && right == Match::Stored
        {
            self.computed = stored;
        }
    }

    pub(super) fn computed_root(&self) -> Hash {
        self.computed.root()
    }

    /// The root over the stored hashes, where they differ from the leaves.
    pub(super) fn stored_root(&self) -> Option<Hash> {
        self.stored.as_ref().map(Tree::root)
    }
}
