//! Proofs, which anybody may send: only those of the leaves that a log has are right.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use ward_log::{
    AddCheckpoint, Hash, TlogProof, Tree, consistency_proof, inclusion_proof, leaf_hash,
    verify_consistency, verify_inclusion,
};

/// How many leaves the tree of the corpus has: tiles of two levels, and no round number.
pub const LEAVES: u64 = 300;

/// A tree, with the root it had at each size.
pub struct Grown {
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    roots: Vec<Hash>,
}

thread_local! {
    static GROWN: OnceCell<Grown> = const { OnceCell::new() };
}

/// What the leaf of this index holds.
pub fn leaf(index: u64) -> Vec<u8> {
    index.to_string().into_bytes()
}

impl Grown {
    /// Runs with the tree of the corpus.
    pub fn with<T>(run: impl FnOnce(&Self) -> T) -> T {
        GROWN.with(|grown| run(grown.get_or_init(Self::grow)))
    }

    fn grow() -> Self {
        let mut tree = Tree::new();
        let mut roots = vec![tree.root()];
        for index in 0..LEAVES {
            tree.append(leaf_hash(&leaf(index)));
            roots.push(tree.root());
        }
        let tiles = tree.take_dirty().into_iter();
        Self {
            tiles: tiles
                .map(|tile| ((tile.level, tile.index), tile.hashes))
                .collect(),
            roots,
        }
    }

    fn tile(&self, level: u8, index: u64) -> Option<Vec<Hash>> {
        self.tiles.get(&(level, index)).cloned()
    }

    /// The right proof for a leaf.
    pub fn inclusion(&self, index: u64) -> Vec<Hash> {
        inclusion_proof(index, LEAVES, |level, index| self.tile(level, index)).unwrap()
    }

    /// The right proof that the tree has grown from this size.
    pub fn consistency(&self, old: u64) -> Vec<Hash> {
        consistency_proof(old, LEAVES, |level, index| self.tile(level, index)).unwrap()
    }

    /// The root the tree had at this size.
    pub fn root(&self, size: u64) -> &Hash {
        &self.roots[size as usize]
    }

    /// No proof but the right one shows that the tree has this leaf there.
    fn check_inclusion(&self, leaf: &Hash, index: u64, proof: &[Hash]) {
        if verify_inclusion(leaf, index, LEAVES, proof, self.root(LEAVES)) {
            assert_eq!(*leaf, leaf_hash(&crate::proof::leaf(index)));
            assert_eq!(proof, self.inclusion(index));
        }
    }

    /// No proof but the right one shows that the tree grew from this one.
    fn check_consistency(&self, old: u64, root: &Hash, proof: &[Hash]) {
        let now = (LEAVES, self.root(LEAVES));
        if verify_consistency((old, root), now, proof) {
            assert_eq!(root, self.root(old));
            assert_eq!(proof, self.consistency(old));
        }
    }
}

/// The bytes as the text of a proof and of a witness's request; and as a change of a right proof.
pub fn proof(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(proof) = TlogProof::parse(text) {
            assert_eq!(proof.to_text(), text);
            let leaf = leaf_hash(&proof.extra.unwrap_or_default());
            Grown::with(|grown| grown.check_inclusion(&leaf, proof.index, &proof.proof));
        }
        if let Ok(request) = AddCheckpoint::parse(text) {
            assert_eq!(request.to_text(), text);
            let old = request.old_size;
            Grown::with(|grown| {
                let root = usize::try_from(old)
                    .ok()
                    .and_then(|old| grown.roots.get(old));
                grown.check_consistency(old, root.unwrap_or(&[0; 32]), &request.proof);
            });
        }
    }
    let Some((numbers, rest)) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let (at, other) = (u64::from_le_bytes(half(numbers, 0)), half(numbers, 8));
    let other = u64::from_le_bytes(other);
    let index = at % LEAVES;
    Grown::with(|grown| {
        let (hash, root) = (leaf_hash(&leaf(index)), grown.root(LEAVES));
        let right = grown.inclusion(index);
        assert!(verify_inclusion(&hash, index, LEAVES, &right, root));
        grown.check_inclusion(&hash, other, &right);
        grown.check_inclusion(&hash, index, &changed(&right, rest));
        let right = grown.consistency(index);
        let now = (LEAVES, root);
        assert!(verify_consistency((index, grown.root(index)), now, &right));
        grown.check_consistency(other, grown.root(index), &right);
        grown.check_consistency(index, grown.root(index), &changed(&right, rest));
    });
}

fn half(numbers: &[u8; 16], from: usize) -> [u8; 8] {
    std::array::from_fn(|place| numbers[from + place])
}

/// A proof, changed as the bytes say: hash by hash dropped, doubled, or with a bit changed.
fn changed(proof: &[Hash], how: &[u8]) -> Vec<Hash> {
    let mut changed = Vec::new();
    for (place, hash) in proof.iter().enumerate() {
        match how.get(place).copied().unwrap_or(0) {
            0..100 => changed.push(*hash),
            100 => {}
            101 => changed.extend([*hash, *hash]),
            bit => {
                let mut other = *hash;
                other[usize::from(bit) % 32] ^= 1 << (bit % 8);
                changed.push(other);
            }
        }
    }
    changed.extend(how.get(proof.len()..).unwrap_or_default().as_chunks().0);
    changed
}
