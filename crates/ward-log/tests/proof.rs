//! Inclusion and consistency proofs against proofs written from RFC 6962 word for word, against ct-merkle, and
//! checked by tlog_tiles.

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use ward_log::{
    Hash, ProofError, Tree, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash,
    verify_consistency, verify_inclusion,
};

/// MTH of RFC 6962, section 2.1.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = split(leaves.len());
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

/// PATH of RFC 6962, section 2.1.1.
fn naive_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    let (mut path, other) = if m < k {
        (naive_path(m, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(m - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(other);
    path
}

/// SUBPROOF of RFC 6962, section 2.1.2.
fn naive_subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known {
            vec![]
        } else {
            vec![naive_root(leaves)]
        };
    }
    let k = split(leaves.len());
    let (mut path, other) = if m <= k {
        (
            naive_subproof(m, &leaves[..k], known),
            naive_root(&leaves[k..]),
        )
    } else {
        (
            naive_subproof(m - k, &leaves[k..], false),
            naive_root(&leaves[..k]),
        )
    };
    path.push(other);
    path
}

fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

struct Stored {
    leaves: Vec<Hash>,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

fn stored(size: u64) -> Stored {
    let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let mut tree = Tree::new();
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    let tiles = tree
        .take_dirty()
        .into_iter()
        .map(|tile| ((tile.level, tile.index), tile.hashes))
        .collect();
    Stored { leaves, tiles }
}

impl Stored {
    fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
        inclusion_proof(index, size, |l, i| self.tiles.get(&(l, i)).cloned())
    }

    fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ProofError> {
        consistency_proof(old, new, |l, i| self.tiles.get(&(l, i)).cloned())
    }

    fn root(&self, size: u64) -> Hash {
        naive_root(&self.leaves[..size as usize])
    }
}

#[test]
fn every_proof_of_small_trees_is_that_of_the_rfc() {
    let log = stored(70);
    for size in 1..=70 {
        let (leaves, root) = (&log.leaves[..size as usize], log.root(size));
        for index in 0..size {
            let proof = log.inclusion(index, size).unwrap();
            assert_eq!(proof, naive_path(index as usize, leaves));
            let leaf = &log.leaves[index as usize];
            assert!(verify_inclusion(leaf, index, size, &proof, &root));
        }
        for old in 1..size {
            let proof = log.consistency(old, size).unwrap();
            assert_eq!(proof, naive_subproof(old as usize, leaves, true));
            let old = (old, &log.root(old));
            assert!(verify_consistency(old, (size, &root), &proof));
        }
        assert_eq!(log.consistency(0, size), Ok(vec![]));
        assert!(verify_consistency((0, &empty_root()), (size, &root), &[]));
        assert!(!verify_consistency((0, &[1; 32]), (size, &root), &[]));
        assert_eq!(log.consistency(size, size), Ok(vec![]));
        assert!(verify_consistency((size, &root), (size, &root), &[]));
    }
}

#[test]
fn a_proof_shows_nothing_else() {
    let log = stored(40);
    for size in 2..=40 {
        let root = log.root(size);
        for index in 0..size {
            let proof = log.inclusion(index, size).unwrap();
            let leaf = &log.leaves[index as usize];
            for (other, other_leaf) in log.leaves.iter().enumerate() {
                let same = other as u64 == index;
                let (other, at) = (other as u64, index);
                assert_eq!(verify_inclusion(leaf, other, size, &proof, &root), same);
                assert_eq!(verify_inclusion(other_leaf, at, size, &proof, &root), same);
            }
            assert!(!verify_inclusion(leaf, index, size, &proof, &[0; 32]));
            assert!(!verify_inclusion(leaf, index, size, &proof[1..], &root));
            let longer = [proof.clone(), vec![[0; 32]]].concat();
            assert!(!verify_inclusion(leaf, index, size, &longer, &root));
        }
        for old in 1..size {
            let proof = log.consistency(old, size).unwrap();
            let old_root = log.root(old);
            let (old, new) = ((old, &old_root), (size, &root));
            assert!(!verify_consistency(new, old, &proof));
            assert!(!verify_consistency((old.0, &[0; 32]), new, &proof));
            assert!(!verify_consistency(old, (size, &[0; 32]), &proof));
            assert!(!verify_consistency(old, new, &proof[1..]));
            let longer = [proof.clone(), vec![[0; 32]]].concat();
            assert!(!verify_consistency(old, new, &longer));
            for at in 0..proof.len() {
                let mut bent = proof.clone();
                bent[at][31] ^= 1;
                assert!(!verify_consistency(old, new, &bent));
            }
        }
    }
    assert!(!verify_consistency(
        (3, &[1; 32]),
        (3, &[1; 32]),
        &[[1; 32]]
    ));
    assert!(!verify_consistency((3, &[1; 32]), (3, &[2; 32]), &[]));
}

#[test]
fn what_is_out_of_range_or_missing_is_refused() {
    let mut log = stored(600);
    let error = ProofError::NoSuchLeaf {
        index: 600,
        size: 600,
    };
    assert_eq!(log.inclusion(600, 600), Err(error));
    assert_eq!(
        log.inclusion(0, 0),
        Err(ProofError::NoSuchLeaf { index: 0, size: 0 })
    );
    let error = ProofError::Backwards { old: 5, new: 4 };
    assert_eq!(log.consistency(5, 4), Err(error));
    // the log does not have as many leaves
    assert!(matches!(
        log.inclusion(3, u64::MAX),
        Err(ProofError::MissingTile { .. })
    ));
    log.tiles.get_mut(&(0, 1)).unwrap().truncate(255);
    let missing = ProofError::MissingTile { level: 0, index: 1 };
    assert_eq!(log.inclusion(256, 600), Err(missing));
    log.tiles.remove(&(1, 0));
    let missing = ProofError::MissingTile { level: 1, index: 0 };
    assert_eq!(
        log.consistency(512, 600),
        Ok(vec![naive_root(&log.leaves[512..])])
    );
    assert_eq!(log.inclusion(599, 600), Err(missing));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn equals_ct_merkle_and_tlog_tiles_accepts(size in 2u64..1200, a in 0u64..u64::MAX, b in 0u64..u64::MAX) {
        let (index, old) = (a % size, 1 + b % (size - 1));
        let log = stored(size);
        let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        for n in 0..size {
            reference.push(n.to_be_bytes().to_vec());
        }
        let inclusion = log.inclusion(index, size).unwrap();
        let expected = reference.prove_inclusion(index as usize);
        prop_assert_eq!(inclusion.as_flattened(), expected.as_bytes());
        let consistency = log.consistency(old, size).unwrap();
        let expected = reference.prove_consistency((size - old) as usize);
        prop_assert_eq!(consistency.as_flattened(), expected.as_bytes());

        use tlog_tiles::tlog::{Hash as Theirs, check_record, check_tree};
        let theirs = |hashes: &[Hash]| hashes.iter().map(|hash| Theirs(*hash)).collect::<Vec<_>>();
        let (root, old_root) = (log.root(size), log.root(old));
        let leaf = log.leaves[index as usize];
        prop_assert!(check_record(&theirs(&inclusion), size, Theirs(root), index, Theirs(leaf)).is_ok());
        prop_assert!(check_tree(&theirs(&consistency), size, Theirs(root), old, Theirs(old_root)).is_ok());
        prop_assert!(verify_inclusion(&leaf, index, size, &inclusion, &root));
        prop_assert!(verify_consistency((old, &old_root), (size, &root), &consistency));
    }
}

#[test]
fn proofs_across_three_levels_of_tiles() {
    let log = stored(70_000);
    let root = log.root(70_000);
    for index in [0, 255, 256, 65_535, 65_536, 69_999] {
        let proof = log.inclusion(index, 70_000).unwrap();
        let leaf = &log.leaves[index as usize];
        assert!(verify_inclusion(leaf, index, 70_000, &proof, &root));
    }
    for old in [1, 256, 1000, 65_535, 65_536, 65_537, 69_999] {
        let proof = log.consistency(old, 70_000).unwrap();
        let old = (old, &log.root(old));
        assert!(verify_consistency(old, (70_000, &root), &proof));
    }
}
