//! The Merkle tree of RFC 6962, append-only, with its hashes kept as C2SP tlog-tiles tiles of height 8.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::hash::{Hash, empty_root, node_hash};

/// How many hashes a full tile holds.
pub const TILE_WIDTH: usize = 256;

/// A full or partial tile: the roots of the subtrees of height `8 * level` that start at leaf
/// `index * 256 * 256^level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The level; level 0 holds leaf hashes.
    pub level: u8,
    /// The place within the level, from the left.
    pub index: u64,
    /// 1 to 256 hashes.
    pub hashes: Vec<Hash>,
}

/// Why a tree cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// A tile of the right edge was not given.
    #[error("tile {index} of level {level} is missing")]
    MissingTile {
        /// The tile's level.
        level: u8,
        /// The tile's index within the level.
        index: u64,
    },
    /// A tile of the right edge does not hold as many hashes as the size asks for.
    #[error(
        "tile {index} of level {level} holds {found} hashes where the tree size needs {expected}"
    )]
    WrongTileWidth {
        /// The tile's level.
        level: u8,
        /// The tile's index within the level.
        index: u64,
        /// Hashes needed.
        expected: usize,
        /// Hashes found.
        found: usize,
    },
    /// A tile was given that is not part of the right edge.
    #[error("tile {index} of level {level} is not part of the right edge")]
    UnexpectedTile {
        /// The tile's level.
        level: u8,
        /// The tile's index within the level.
        index: u64,
    },
}

/// An append-only tree that keeps only its right edge: amortised one node hash per leaf, and a root in
/// logarithmic time.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    /// The roots of the perfect subtrees the size decomposes into, largest first.
    peaks: Vec<Hash>,
    /// The partial tile of each level.
    edge: Vec<Vec<Hash>>,
    /// Full tiles not yet taken.
    full: Vec<Tile>,
    /// How many hashes of each partial tile were taken already.
    taken: Vec<usize>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the tiles that [`resume`](Self::resume) needs, as (level, index): the partial tile of each level.
    pub fn right_edge_ids(size: u64) -> Vec<(u8, u64)> {
        edge_widths(size)
            .filter(|(_, _, width)| *width != 0)
            .map(|(level, index, _)| (level, index))
            .collect()
    }

    /// Takes up a tree of `size` leaves from its right edge.
    ///
    /// Only the counts can be checked here: compare [`root`](Self::root) with the root that was stored.
    pub fn resume(size: u64, right_edge: Vec<Tile>) -> Result<Self, TreeError> {
        let mut given: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
        for tile in right_edge {
            let (level, index) = (tile.level, tile.index);
            if given.insert((level, index), tile.hashes).is_some() {
                return Err(TreeError::UnexpectedTile { level, index });
            }
        }
        let mut edge = Vec::new();
        for (level, index, expected) in edge_widths(size) {
            let hashes = match given.remove(&(level, index)) {
                Some(hashes) => hashes,
                None if expected == 0 => Vec::new(),
                None => return Err(TreeError::MissingTile { level, index }),
            };
            if hashes.len() != expected {
                return Err(TreeError::WrongTileWidth {
                    level,
                    index,
                    expected,
                    found: hashes.len(),
                });
            }
            edge.push(hashes);
        }
        if let Some((&(level, index), _)) = given.first_key_value() {
            return Err(TreeError::UnexpectedTile { level, index });
        }
        Ok(Self {
            size,
            peaks: peaks(&edge),
            taken: edge.iter().map(Vec::len).collect(),
            edge,
            full: Vec::new(),
        })
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut full = std::mem::take(&mut self.full);
        self.append_with(leaf, &mut |tile| full.push(tile));
        self.full = full;
    }

    /// Appends a leaf by its hash and hands every tile that it fills to `full` instead of keeping it.
    pub(crate) fn append_with(&mut self, leaf: Hash, full: &mut dyn FnMut(Tile)) {
        self.record(0, leaf, full);
        let mut node = leaf;
        let mut height = 0u8;
        while (self.size >> height) & 1 == 1 {
            // a set bit of the size stands for a peak, so there is one
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            height += 1;
            if height.is_multiple_of(8) {
                self.record(height / 8, node, full);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Every tile, full or partial, that changed since the last call: to be stored by (level, index).
    pub fn take_dirty(&mut self) -> Vec<Tile> {
        let mut dirty = std::mem::take(&mut self.full);
        for (level, index, width) in edge_widths(self.size) {
            let at = usize::from(level);
            if let (Some(hashes), Some(taken)) = (self.edge.get(at), self.taken.get_mut(at))
                && width > *taken
            {
                *taken = width;
                dirty.push(Tile {
                    level,
                    index,
                    hashes: hashes.clone(),
                });
            }
        }
        dirty
    }

    /// The partial tiles, for comparison with stored ones.
    pub(crate) fn edge(&self) -> impl Iterator<Item = (u8, u64, &[Hash])> {
        edge_widths(self.size)
            .zip(&self.edge)
            .map(|((level, index, _), hashes)| (level, index, hashes.as_slice()))
    }

    #[inline]
    fn record(&mut self, level: u8, hash: Hash, full: &mut dyn FnMut(Tile)) {
        let at = usize::from(level);
        if self.edge.len() == at {
            self.edge.push(Vec::with_capacity(TILE_WIDTH));
            self.taken.push(0);
        }
        let hashes = &mut self.edge[at];
        hashes.push(hash);
        if hashes.len() == TILE_WIDTH {
            let hashes = std::mem::replace(hashes, Vec::with_capacity(TILE_WIDTH));
            self.taken[at] = 0;
            let index = self.size >> (8 * (u32::from(level) + 1));
            full(Tile {
                level,
                index,
                hashes,
            });
        }
    }
}

/// For each level that a tree of `size` leaves has: level, index and width of its rightmost, partial tile.
fn edge_widths(size: u64) -> impl Iterator<Item = (u8, u64, usize)> {
    (0u8..8)
        .map(move |level| (level, size >> (8 * u32::from(level))))
        .take_while(|(_, nodes)| *nodes != 0)
        .map(|(level, nodes)| (level, nodes >> 8, (nodes & 0xFF) as usize))
}

/// The peaks, largest first, from the partial tile of each level.
fn peaks(edge: &[Vec<Hash>]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    for hashes in edge.iter().rev() {
        let mut rest = hashes.as_slice();
        while !rest.is_empty() {
            let (subtree, tail) = rest.split_at(1 << rest.len().ilog2());
            peaks.push(perfect_root(subtree));
            rest = tail;
        }
    }
    peaks
}

/// The root over a power of two of subtree roots.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    level.first().copied().unwrap_or_else(empty_root)
}
