//! Inclusion and consistency proofs (RFC 6962, section 2.1), made from stored tiles and verified as RFC 9162,
//! section 2.1, says.

use thiserror::Error;

use crate::hash::{Hash, empty_root, node_hash};
use crate::tree::perfect_root;

/// Why there is no such proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The leaf is not in a tree of this size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The older tree is larger than the newer.
    #[error("a tree of {old} leaves is not older than one of {new}")]
    Backwards {
        /// The size said to be older.
        old: u64,
        /// The size said to be newer.
        new: u64,
    },
    /// A stored hash is not there.
    #[error("tile {index} of level {level} is missing or too short")]
    MissingTile {
        /// The tile's level.
        level: u8,
        /// The tile's index within the level.
        index: u64,
    },
}

/// The hashes that, with the leaf's own, give the root of a tree of `size` leaves: from the leaf's sibling up.
pub fn inclusion_proof(
    index: u64,
    size: u64,
    tiles: impl FnMut(u8, u64) -> Option<Vec<Hash>>,
) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut nodes = Nodes::new(tiles);
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(nodes.root(middle, end)?);
            end = middle;
        } else {
            proof.push(nodes.root(start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show the tree of the first `old` of `new` leaves to be a prefix of the tree of all.
///
/// Empty when the sizes are equal or `old` is 0: there is nothing to show.
pub fn consistency_proof(
    old: u64,
    new: u64,
    tiles: impl FnMut(u8, u64) -> Option<Vec<Hash>>,
) -> Result<Vec<Hash>, ProofError> {
    if old > new {
        return Err(ProofError::Backwards { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut nodes = Nodes::new(tiles);
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    // SUBPROOF of RFC 6962, section 2.1.2, from the top: the old tree ends within [start, end)
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(nodes.root(middle, end)?);
            end = middle;
        } else {
            proof.push(nodes.root(start, middle)?);
            start = middle;
        }
    }
    // a subtree that is the whole old tree is known to the verifier
    if start != 0 {
        proof.push(nodes.root(start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether a proof shows that the tree of `size` leaves with this root has the leaf hash at `index`.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree with the old size and root is a prefix of the one with the new.
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old_size > new_size {
        return false;
    }
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // the old tree is a perfect one: its root takes the place of the proof's first hash
    let (seed, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some((first, rest)) => (first, rest),
            None => return false,
        }
    };
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Hashes of the tree's nodes, out of tiles.
struct Nodes<T> {
    tiles: T,
    last: Option<((u8, u64), Vec<Hash>)>,
}

impl<T: FnMut(u8, u64) -> Option<Vec<Hash>>> Nodes<T> {
    fn new(tiles: T) -> Self {
        Self { tiles, last: None }
    }

    /// The hash over the leaves from `start` to `end`, which is not empty; `start` is a multiple of the largest
    /// power of two that fits.
    fn root(&mut self, mut start: u64, end: u64) -> Result<Hash, ProofError> {
        let mut parts = Vec::new();
        while start < end {
            let height = (end - start).ilog2();
            parts.push(self.perfect(height, start >> height)?);
            start += 1 << height;
        }
        let mut parts = parts.into_iter().rev();
        let last = parts.next().unwrap_or_else(empty_root);
        Ok(parts.fold(last, |right, left| node_hash(&left, &right)))
    }

    /// The root of the perfect subtree of this height, the `number`th from the left.
    fn perfect(&mut self, height: u32, number: u64) -> Result<Hash, ProofError> {
        let (level, above) = ((height / 8) as u8, height % 8);
        let first = number << above;
        let index = first >> 8;
        if self
            .last
            .as_ref()
            .is_none_or(|(id, _)| *id != (level, index))
        {
            let hashes = (self.tiles)(level, index).unwrap_or_default();
            self.last = Some(((level, index), hashes));
        }
        let from = (first & 0xFF) as usize;
        self.last
            .as_ref()
            .and_then(|(_, hashes)| hashes.get(from..from + (1 << above)))
            .map(perfect_root)
            .ok_or(ProofError::MissingTile { level, index })
    }
}
