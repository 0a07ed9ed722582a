//! The tree against a naive one written from RFC 6962, and against ct-merkle.

mod common;

use std::collections::BTreeMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use ward_log::{Hash, Tile, Tree, TreeError, empty_root, leaf_hash, node_hash};

/// RFC 6962, section 2.1, word for word.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = 1 << (leaves.len() - 1).ilog2();
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn equals_the_naive_tree_and_resumes_at_every_size() {
    let leaves = leaves(600);
    let mut tree = Tree::new();
    let mut stored: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
    for size in 0..=600 {
        let root = naive_root(&leaves[..size]);
        assert_eq!(tree.root(), root, "size {size}");
        let edge: Vec<Tile> = Tree::right_edge_ids(size as u64)
            .into_iter()
            .map(|(level, index)| Tile {
                level,
                index,
                hashes: stored[&(level, index)].clone(),
            })
            .collect();
        let mut resumed = Tree::resume(size as u64, edge).unwrap();
        assert_eq!(resumed.root(), root, "resumed at {size}");
        assert_eq!(resumed.take_dirty(), vec![]);
        if size < 600 {
            // go on with whichever, in turn: both must store the same
            if size % 3 == 0 {
                tree = resumed;
            }
            tree.append(leaves[size]);
            for tile in tree.take_dirty() {
                stored.insert((tile.level, tile.index), tile.hashes);
            }
        }
    }
    let widths: Vec<_> = stored
        .iter()
        .map(|(id, hashes)| (*id, hashes.len()))
        .collect();
    let expected = vec![((0, 0), 256), ((0, 1), 256), ((0, 2), 88), ((1, 0), 2)];
    assert_eq!(widths, expected);
    assert_eq!(stored[&(1, 0)][1], naive_root(&leaves[256..512]));
}

#[test]
fn equals_ct_merkle() {
    let mut reference = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut tree = Tree::new();
    for size in 0..1500u64 {
        assert_eq!(
            tree.root()[..],
            reference.root().as_bytes()[..],
            "size {size}"
        );
        let leaf = common::insert(size).1.into_bytes();
        tree.append(leaf_hash(&leaf));
        reference.push(leaf);
    }
}

#[test]
fn three_levels_of_tiles() {
    let leaves = leaves(70_000);
    let mut tree = Tree::new();
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    assert_eq!(tree.root(), naive_root(&leaves));
    let tiles = tree.take_dirty();
    let top = tiles.iter().find(|tile| tile.level == 2).unwrap();
    assert_eq!(top.hashes, vec![naive_root(&leaves[..65_536])]);
    assert_eq!(tiles.len(), 274 + 2 + 1);
    assert_eq!(Tree::right_edge_ids(70_000), vec![(0, 273), (1, 1), (2, 0)]);
    assert_eq!(Tree::right_edge_ids(65_536), vec![(2, 0)]);
}

#[test]
fn a_wrong_right_edge_is_refused() {
    let tile = |index, count| Tile {
        level: 0,
        index,
        hashes: vec![[0; 32]; count],
    };
    let (level, index) = (0, 0);
    let missing = TreeError::MissingTile { level, index };
    assert_eq!(Tree::resume(3, vec![]).unwrap_err(), missing);
    for found in [2, 4, 0] {
        let expected = 3;
        let wrong = TreeError::WrongTileWidth {
            level,
            index,
            expected,
            found,
        };
        assert_eq!(Tree::resume(3, vec![tile(0, found)]).unwrap_err(), wrong);
    }
    for index in [0, 1] {
        let unexpected = TreeError::UnexpectedTile { level, index };
        let edge = vec![tile(0, 3), tile(index, 3)];
        assert_eq!(Tree::resume(3, edge).unwrap_err(), unexpected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn any_size_stored_in_any_steps(size in 0u64..70_000, step in 1u64..9000) {
        let leaves = leaves(size);
        let mut tree = Tree::new();
        let mut stored: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
        for (at, leaf) in leaves.iter().enumerate() {
            if at as u64 % step == step - 1 {
                for tile in tree.take_dirty() {
                    stored.insert((tile.level, tile.index), tile.hashes);
                }
                let edge = Tree::right_edge_ids(at as u64).into_iter().map(|(level, index)| Tile {
                    level, index, hashes: stored[&(level, index)].clone(),
                }).collect();
                tree = Tree::resume(at as u64, edge).unwrap();
            }
            tree.append(*leaf);
        }
        prop_assert_eq!(tree.size(), size);
        prop_assert_eq!(tree.root(), naive_root(&leaves));
    }
}
