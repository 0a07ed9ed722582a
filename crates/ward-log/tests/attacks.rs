//! One test per attack, named after it: what is found, in which block, at which entry, and nothing else.

mod common;

use common::{Builder, Entry, INCARNATION, KEY_ID, Log, insert, options, seen, small_log};
use ward_log::{
    AuditMac, Leaf, Operation, SealLeaf, Snapshot, TrailerLeaf, TransactionChain, leaf_hash,
};

type Found = Vec<(&'static str, Option<u64>, Option<u64>)>;

fn one(kind: &'static str, block: u64, entry: u64) -> Found {
    vec![(kind, Some(block), Some(entry))]
}

fn flip_last_byte(entry: &mut Entry) {
    *entry.leaf.last_mut().unwrap() ^= 1;
}

/// Rewrites row leaf `at`.
fn edit_row(log: &mut Log, at: u64, edit: impl FnOnce(&mut ward_log::RowLeaf<'_>)) {
    let bytes = log.entries[at as usize].leaf.clone();
    let Leaf::Row(mut row) = Leaf::parse(&bytes).unwrap() else {
        panic!("leaf {at} is not a row")
    };
    edit(&mut row);
    log.entries[at as usize].leaf.clear();
    row.encode(&mut log.entries[at as usize].leaf);
}

/// Makes the trailer at `at` fit the leaves from `first` on, with some key.
fn resign(log: &mut Log, first: u64, at: u64, key_id: [u8; 8], key: &[u8; 32]) {
    let mut chain = TransactionChain::new();
    for entry in &log.entries[first as usize..at as usize] {
        chain.push(&leaf_hash(&entry.leaf));
    }
    let (xid, _) = log.leaf(first).place().unwrap();
    let trailer = TrailerLeaf::close(xid, &chain, INCARNATION, key_id, &AuditMac::new(key));
    log.entries[at as usize].leaf.clear();
    trailer.encode(&mut log.entries[at as usize].leaf);
}

#[test]
fn untouched() {
    let log = small_log();
    assert_eq!((log.size(), log.found()), (50, vec![]));
}

#[test]
fn edit_any_leaf_anywhere() {
    let honest = small_log();
    for at in 0..honest.size() {
        let mut log = honest.clone();
        flip_last_byte(&mut log.entries[at as usize]);
        let block = if at < 18 {
            0
        } else if at < 34 {
            1
        } else {
            2
        };
        assert_eq!(log.found(), one("entry_altered", block, at), "leaf {at}");
    }
}

#[test]
fn delete_any_leaf_anywhere() {
    let honest = small_log();
    for at in 0..honest.size() {
        let mut log = honest.clone();
        log.entries.remove(at as usize);
        let block = if at < 18 {
            0
        } else if at < 34 {
            1
        } else {
            2
        };
        assert_eq!(log.found(), one("entry_missing", block, at), "leaf {at}");
    }
}

#[test]
fn delete_a_whole_block() {
    let mut log = small_log();
    log.entries.drain(18..34);
    assert_eq!(log.found(), one("entry_missing", 1, 18));
}

#[test]
fn delete_the_last_blocks_leaves() {
    let mut log = small_log();
    log.entries.truncate(34);
    assert_eq!(log.found(), one("entry_missing", 2, 34));
}

#[test]
fn delete_across_a_block_boundary() {
    let mut log = small_log();
    log.entries.drain(31..36);
    let expected = [one("entry_missing", 1, 31), one("entry_missing", 2, 34)].concat();
    assert_eq!(log.found(), expected);
}

#[test]
fn insert_beyond_the_end() {
    let mut log = small_log();
    let mut extra = log.entries[46].clone();
    extra.index = 50;
    log.entries.push(extra);
    assert_eq!(log.found(), vec![("entry_unexpected", None, Some(50))]);
}

#[test]
fn insert_a_duplicate_before_or_after_the_original() {
    for (at, place) in [(20, 20), (20, 21), (33, 33), (33, 34), (0, 0), (49, 50)] {
        let mut log = small_log();
        let mut extra = log.entries[at].clone();
        flip_last_byte(&mut extra);
        log.entries.insert(place, extra);
        let block = (at > 17) as u64 + (at > 33) as u64;
        let found = log.found();
        assert_eq!(found.len(), 1, "{at} {place} {found:?}");
        assert_eq!(
            (found[0].0, found[0].2),
            ("entry_duplicated", Some(at as u64))
        );
        assert!(found[0].1.is_none_or(|b| b == block));
    }
}

#[test]
fn insert_an_identical_duplicate() {
    let mut log = small_log();
    let extra = log.entries[20].clone();
    log.entries.insert(20, extra);
    assert_eq!(log.found(), one("entry_duplicated", 1, 20));
}

#[test]
fn swap_two_entries() {
    for (a, b) in [(19, 20), (3, 46), (16, 18), (17, 33)] {
        let mut log = small_log();
        log.entries.swap(a, b);
        log.entries[a].index = a as u64;
        log.entries[b].index = b as u64;
        let found = log.found();
        let places: Vec<_> = found.iter().map(|f| (f.0, f.2)).collect();
        let expected = vec![
            ("entry_altered", Some(a as u64)),
            ("entry_altered", Some(b as u64)),
        ];
        assert_eq!(places, expected);
    }
}

#[test]
fn edit_any_field_of_a_block_row() {
    let edits: [fn(&mut ward_log::BlockInfo); 7] = [
        |row| row.root[0] ^= 1,
        |row| row.first_leaf += 1,
        |row| row.tree_size += 1,
        |row| row.tree_size -= 1,
        |row| row.tree_size = 0,
        |row| row.snapshot[15] ^= 1,
        |row| row.sealed_at += 1,
    ];
    for (which, edit) in edits.into_iter().enumerate() {
        for block in 0..3 {
            let mut log = small_log();
            edit(log.blocks.get_mut(&block).unwrap());
            let found = log.found();
            assert_eq!(
                found,
                vec![("block_altered", Some(block), None)],
                "edit {which}"
            );
        }
    }
}

#[test]
fn edit_a_block_row_and_an_entry() {
    for block in 0..3u64 {
        let mut log = small_log();
        log.blocks.get_mut(&block).unwrap().root[5] ^= 1;
        let at = [4, 20, 36][block as usize];
        flip_last_byte(&mut log.entries[at]);
        let mut found = log.found();
        found.sort();
        let mut expected = one("entry_altered", block, at as u64);
        expected.insert(0, ("block_altered", Some(block), None));
        assert_eq!(found, expected);
    }
}

#[test]
fn delete_a_block_row() {
    for block in 0..3 {
        let mut log = small_log();
        log.blocks.remove(&block);
        assert_eq!(log.found(), vec![("block_missing", Some(block), None)]);
    }
}

#[test]
fn delete_two_block_rows() {
    let mut log = small_log();
    log.blocks.remove(&0);
    log.blocks.remove(&1);
    let expected = vec![
        ("block_missing", Some(0), None),
        ("block_missing", Some(1), None),
    ];
    assert_eq!(log.found(), expected);
}

#[test]
fn edit_a_leaf_hash_in_a_tile() {
    for at in 0..50usize {
        let mut log = small_log();
        log.tiles.get_mut(&(0, 0)).unwrap()[at][3] ^= 1;
        let block = (at > 17) as u64 + (at > 33) as u64;
        assert_eq!(log.found(), one("tile_altered", block, at as u64));
    }
}

#[test]
fn edit_or_delete_an_upper_tile() {
    let honest = long_log(700);
    let last_block = honest.blocks.len() as u64 - 1;
    assert_eq!(honest.found(), vec![]);
    let mut log = honest.clone();
    log.tiles.get_mut(&(1, 0)).unwrap()[1][0] ^= 1;
    assert_eq!(log.found(), one("tile_altered", last_block, 256));
    let mut log = honest.clone();
    log.tiles.remove(&(1, 0));
    assert_eq!(log.found(), one("tile_altered", last_block, 0));
}

#[test]
fn delete_or_cut_a_leaf_tile() {
    let honest = long_log(700);
    let block_of = |entry: u64| {
        let found = honest.blocks.values().find(|b| b.tree_size > entry);
        found.unwrap().block_no
    };
    let mut log = honest.clone();
    log.tiles.remove(&(0, 1));
    assert_eq!(log.found(), one("tile_altered", block_of(256), 256));
    let mut log = honest.clone();
    log.tiles.get_mut(&(0, 1)).unwrap().truncate(44);
    assert_eq!(log.found(), one("tile_altered", block_of(300), 300));
}

#[test]
fn append_a_hash_to_the_last_tile() {
    let mut log = small_log();
    log.tiles.get_mut(&(0, 0)).unwrap().push([1; 32]);
    assert_eq!(log.found(), one("tile_altered", 2, 50));
}

#[test]
fn delete_a_leaf_and_its_tile() {
    let mut log = long_log(700);
    log.tiles.remove(&(0, 1));
    log.entries.remove(300);
    let found = log.found();
    assert_eq!(found[0].0, "tile_altered");
    assert!(
        found
            .iter()
            .any(|f| (f.0, f.2) == ("entry_missing", Some(300)))
    );
}

#[test]
fn edit_a_leaf_with_its_stored_hash() {
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.occurred_at += 1);
    let hash = leaf_hash(&log.entries[20].leaf);
    log.tiles.get_mut(&(0, 0)).unwrap()[20] = hash;
    // the chain shows the transaction, the root the block; nothing behind it is blamed
    let expected = vec![
        ("chain_broken", Some(1), Some(22)),
        ("entry_altered", Some(1), None),
    ];
    assert_eq!(log.found(), expected);
}

#[test]
fn edit_an_image() {
    let mut log = small_log();
    *log.entries[20].image.as_mut().unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(log.found(), one("image_altered", 1, 20));
}

#[test]
fn swap_two_images() {
    let mut log = small_log();
    let image = log.entries[20].image.take();
    log.entries[20].image = std::mem::replace(&mut log.entries[21].image, image);
    let expected = [one("image_altered", 1, 20), one("image_altered", 1, 21)].concat();
    assert_eq!(log.found(), expected);
}

#[test]
fn erase_an_image() {
    let mut log = small_log();
    log.entries[20].image = None;
    assert_eq!(log.found(), one("image_missing", 1, 20));
}

#[test]
fn add_an_image_where_none_belongs() {
    let mut log = small_log();
    log.entries[22].image = log.entries[20].image.clone();
    assert_eq!(log.found(), one("image_altered", 1, 22));
}

#[test]
fn swap_null_and_empty() {
    let mut builder = Builder::new();
    let rows = [
        (Operation::Insert, "1".to_owned(), None, None),
        (Operation::Insert, "2".to_owned(), None, Some(String::new())),
    ];
    builder.transaction(100, &rows);
    builder.seal(seen(101));
    let honest = builder.log;
    assert_eq!(honest.found(), vec![]);
    for (at, from, to) in [(3, [0xFF; 4], [0; 4]), (4, [0; 4], [0xFF; 4])] {
        let mut log = honest.clone();
        let image = log.entries[at].image.as_mut().unwrap();
        let tail = image.len() - 4;
        assert_eq!(image[tail..], from);
        image[tail..].copy_from_slice(&to);
        assert_eq!(log.found(), one("image_altered", 0, at as u64));
    }
}

#[test]
fn downgrade_the_version() {
    let mut log = small_log();
    log.entries[20].leaf[1] = 0;
    assert_eq!(log.found(), one("entry_altered", 1, 20));
    log.rebuild();
    assert_eq!(log.found(), one("entry_unreadable", 1, 20));
}

// From here on the attacker rebuilds tree, tiles, seal leaves and block rows, and lacks only the audit key.

#[test]
fn rebuilt_untouched() {
    let mut log = small_log();
    log.rebuild();
    assert_eq!(log.entries, small_log().entries);
    assert_eq!(log.found(), vec![]);
}

#[test]
fn rebuilt_with_an_edited_row() {
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.operation = Operation::Delete);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 1, 22));
}

#[test]
fn rebuilt_with_an_edited_row_and_its_chain() {
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.record_id = Some("1"));
    resign(&mut log, 18, 22, KEY_ID, &[8; 32]);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 22));
}

#[test]
fn rebuilt_with_another_audit_key() {
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.record_id = Some("1"));
    resign(&mut log, 18, 22, *b"otherkey", &[8; 32]);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 22));
    // a retired key's material is gone, so its MAC says nothing
    let mut retired = options();
    retired.retired_key_ids.push(*b"otherkey");
    assert_eq!(log.verify_with(retired).1, vec![]);
}

#[test]
fn rebuilt_without_a_row() {
    let mut log = small_log();
    log.entries.remove(20);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 1, 20));
}

#[test]
fn rebuilt_without_a_trailer() {
    let mut log = small_log();
    log.entries.remove(22);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_missing", 1, 21));
}

#[test]
fn rebuilt_with_an_inserted_row() {
    let mut log = small_log();
    let extra = log.entries[20].clone();
    log.entries.insert(21, extra);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 1, 21));
}

#[test]
fn rebuilt_with_a_row_after_the_trailer() {
    let mut log = small_log();
    let mut extra = log.entries[21].clone();
    let Leaf::Row(mut row) = Leaf::parse(&log.entries[21].leaf).unwrap() else {
        panic!()
    };
    row.position = 5;
    row.context_back = 5;
    extra.leaf.clear();
    row.encode(&mut extra.leaf);
    log.entries.insert(23, extra);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_missing", 1, 23));
}

#[test]
fn rebuilt_with_two_rows_swapped() {
    let mut log = small_log();
    log.entries.swap(19, 20);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 1, 19));
}

#[test]
fn rebuilt_with_a_row_moved_to_another_transaction() {
    let mut log = small_log();
    let moved = log.entries.remove(20);
    log.entries.insert(24, moved);
    log.rebuild();
    let found = log.found();
    // where it left, where it went, and the transaction it tears in two
    assert_eq!(found.first(), Some(&("chain_broken", Some(1), Some(20))));
    assert!(
        found
            .iter()
            .any(|f| (f.0, f.2) == ("order_broken", Some(24)))
    );
}

#[test]
fn rebuilt_with_a_row_claimed_by_another_transaction() {
    let mut log = small_log();
    edit_row(&mut log, 21, |row| row.xid = 111);
    log.rebuild();
    let found = log.found();
    assert_eq!(found.first(), Some(&("trailer_missing", Some(1), Some(20))));
}

#[test]
fn rebuilt_without_a_whole_transaction_needs_a_checkpoint() {
    let mut log = small_log();
    let honest = log.blocks[&2].clone();
    log.entries.drain(23..28);
    log.rebuild();
    assert_eq!(log.found(), vec![]);
    let mut with_checkpoint = options();
    with_checkpoint.heads = vec![(honest.tree_size, honest.root)];
    let (_, found) = log.verify_with(with_checkpoint.clone());
    assert_eq!(found[0].kind.as_str(), "checkpoint_mismatch");
    assert_eq!(small_log().verify_with(with_checkpoint).1, vec![]);
}

#[test]
fn checkpoint_of_another_root() {
    let mut wrong = options();
    wrong.heads = vec![(34, [1; 32])];
    let (_, found) = small_log().verify_with(wrong);
    let found: Vec<_> = found.iter().map(|v| (v.kind.as_str(), v.block)).collect();
    assert_eq!(found, vec![("checkpoint_mismatch", Some(1))]);
}

#[test]
fn rebuilt_with_a_transaction_in_a_later_block() {
    let mut log = small_log();
    let moved: Vec<_> = log.entries.drain(28..33).collect();
    log.entries.splice(29..29, moved);
    log.rebuild();
    assert_eq!(log.found(), one("snapshot_mismatch", 2, 29));
}

#[test]
fn rebuilt_with_transactions_in_another_order() {
    let mut log = small_log();
    let moved: Vec<_> = log.entries.drain(18..23).collect();
    log.entries.splice(23..23, moved);
    log.rebuild();
    assert_eq!(log.found(), one("order_broken", 1, 23));
}

#[test]
fn rebuilt_without_the_shape() {
    let mut log = small_log();
    log.entries.drain(0..7);
    log.rebuild();
    let found = log.found();
    assert_eq!(found[0], ("order_broken", Some(0), Some(0)));
    assert!(
        found
            .iter()
            .any(|f| (f.0, f.2) == ("shape_unknown", Some(1)))
    );
    let shapes = found.iter().filter(|f| f.0 == "shape_unknown").count();
    assert_eq!(shapes, 1);
}

#[test]
fn rebuilt_with_a_foreign_incarnation() {
    let mut log = small_log();
    let Leaf::Trailer(trailer) = log.leaf(22) else {
        panic!()
    };
    let foreign = TrailerLeaf::sign(110, 4, [3; 16], trailer.chain, KEY_ID, &common::KEY);
    log.entries[22].leaf.clear();
    foreign.encode(&mut log.entries[22].leaf);
    log.rebuild();
    assert_eq!(log.found(), one("incarnation_unknown", 1, 22));
}

#[test]
fn rebuilt_with_a_wrong_context_reference() {
    for back in [0, 1, 3, u32::MAX] {
        let mut builder = Builder::new();
        builder.transaction_with(100, &[insert(1), insert(2)], |mut row| {
            if row.record_id == Some("2") {
                row.context_back = back;
            }
            row
        });
        builder.seal(seen(101));
        assert_eq!(builder.log.found(), one("context_broken", 0, 4), "{back}");
    }
}

#[test]
fn rebuilt_with_an_edited_seal() {
    let edits: [fn(&mut SealLeaf); 3] = [
        |seal| seal.snapshot_before = Snapshot::default(),
        |seal| seal.previous_root[0] ^= 1,
        |seal| seal.previous_size += 1,
    ];
    for edit in edits {
        let mut log = small_log();
        let Leaf::Seal(mut seal) = log.leaf(49) else {
            panic!()
        };
        edit(&mut seal);
        log.entries[49].leaf.clear();
        seal.encode(&mut log.entries[49].leaf);
        // only the tree over it is made to fit
        let mut tree = ward_log::Tree::new();
        for entry in &log.entries {
            tree.append(leaf_hash(&entry.leaf));
        }
        log.tiles = tree
            .take_dirty()
            .into_iter()
            .map(|t| ((t.level, t.index), t.hashes))
            .collect();
        log.blocks.get_mut(&2).unwrap().root = tree.root();
        assert_eq!(log.found(), one("seal_mismatch", 2, 49));
    }
}

#[test]
fn recorded_by_the_sealer() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.faulty_transaction(101, &[insert(2)]);
    builder.transaction(102, &[insert(3)]);
    builder.seal(seen(103));
    let log = builder.log;
    let at = log.position_of(|leaf| matches!(leaf, Leaf::Violation(_)));
    assert_eq!(log.found(), one("recorded_violation", 0, at));
}

/// A log of at least `size` leaves in many blocks.
fn long_log(size: u64) -> Log {
    let mut builder = Builder::new();
    let mut xid = 100;
    while builder.log.size() < size {
        builder.transaction(xid, &[insert(xid), insert(xid + 1)]);
        xid += 1;
        if xid % 7 == 0 {
            builder.seal(seen(xid));
        }
    }
    builder.log
}
