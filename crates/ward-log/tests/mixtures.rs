//! Several attacks at once: something is found, and verification ends.

mod common;

use common::{Log, small_log};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Attack {
    EditLeaf(usize, usize),
    DropLeaf(usize),
    CopyLeaf(usize, usize),
    Renumber(usize, u64),
    DropImage(usize),
    EditTile(usize),
    CutTile(usize),
    DropTile,
    DropBlock(u64),
    Size(u64, u64),
    First(u64, u64),
    Root(u64),
    Snapshot(u64, usize),
    Empty,
}

fn attack() -> impl Strategy<Value = Attack> {
    use Attack::*;
    let any_number = prop_oneof![0u64..60, any::<u64>()];
    let (leaf, block) = (0usize..50, 0u64..3);
    prop_oneof![
        (leaf.clone(), 0usize..500).prop_map(|(at, bit)| EditLeaf(at, bit)),
        leaf.clone().prop_map(DropLeaf),
        (leaf.clone(), leaf.clone()).prop_map(|(from, to)| CopyLeaf(from, to)),
        (leaf.clone(), any_number.clone()).prop_map(|(at, index)| Renumber(at, index)),
        leaf.clone().prop_map(DropImage),
        leaf.clone().prop_map(EditTile),
        leaf.prop_map(CutTile),
        Just(DropTile),
        block.clone().prop_map(DropBlock),
        (block.clone(), any_number.clone()).prop_map(|(block, size)| Size(block, size)),
        (block.clone(), any_number).prop_map(|(block, first)| First(block, first)),
        block.clone().prop_map(Root),
        (block, 0usize..20).prop_map(|(block, len)| Snapshot(block, len)),
        Just(Empty),
    ]
}

fn apply(log: &mut Log, attack: &Attack) {
    use Attack::*;
    let entries = log.entries.len();
    match *attack {
        EditLeaf(at, bit) if at < entries => {
            let leaf = &mut log.entries[at].leaf;
            let bit = bit % (leaf.len() * 8);
            leaf[bit / 8] ^= 1 << (bit % 8);
        }
        DropLeaf(at) if at < entries => {
            log.entries.remove(at);
        }
        CopyLeaf(from, to) if from < entries && to < entries => {
            let mut copy = log.entries[from].clone();
            copy.index = log.entries[to].index;
            log.entries.push(copy);
        }
        Renumber(at, index) if at < entries => log.entries[at].index = index,
        DropImage(at) if at < entries => log.entries[at].image = None,
        EditTile(at) => {
            if let Some(hash) = log.tiles.get_mut(&(0, 0)).and_then(|tile| tile.get_mut(at)) {
                hash[0] ^= 1;
            }
        }
        CutTile(at) => {
            if let Some(tile) = log.tiles.get_mut(&(0, 0)) {
                tile.truncate(at);
            }
        }
        DropTile => log.tiles.clear(),
        DropBlock(block) => {
            log.blocks.remove(&block);
        }
        Size(block, size) => {
            if let Some(block) = log.blocks.get_mut(&block) {
                block.tree_size = size;
            }
        }
        First(block, first) => {
            if let Some(block) = log.blocks.get_mut(&block) {
                block.first_leaf = first;
            }
        }
        Root(block) => {
            if let Some(block) = log.blocks.get_mut(&block) {
                block.root[0] ^= 1;
            }
        }
        Snapshot(block, len) => {
            if let Some(block) = log.blocks.get_mut(&block) {
                block.snapshot.truncate(len);
            }
        }
        Empty => log.entries.clear(),
        _ => {}
    }
    // as the verifier is handed them
    log.entries.sort_by_key(|entry| entry.index);
}

/// Whether anything is stored that differs.
fn same(a: &Log, b: &Log) -> bool {
    a.entries == b.entries && a.tiles == b.tiles && a.blocks == b.blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_mixture_is_found(attacks in prop::collection::vec(attack(), 1..5)) {
        let honest = small_log();
        let mut log = honest.clone();
        attacks.iter().for_each(|attack| apply(&mut log, attack));
        // without any block row and tile nothing says that there ever was a log
        let bare = log.blocks.is_empty() && log.entries.is_empty();
        prop_assert_eq!(log.found().is_empty(), same(&log, &honest) || bare);
    }
}
