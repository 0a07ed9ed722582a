//! Attacks by one who rebuilds tree, tiles, seal leaves and block rows to fit, and lacks only the audit key.

mod common;

use common::{
    Builder, INCARNATION, KEY, KEY_ID, Log, Stored, TRAILER_LEN, edit_row, insert, one, options,
    remove_trailer, resign, seen, small_log,
};
use ward_log::{
    ContextPlace, Leaf, Operation, SealLeaf, Snapshot, Tree, Verifier, Violation, leaf_hash,
};

const FORGED: [u8; 32] = [8; 32];

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
    resign(&mut log, 18, 22, INCARNATION, (KEY_ID, &FORGED));
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 22));
}

#[test]
fn rebuilt_with_another_audit_key() {
    let mut log = small_log();
    edit_row(&mut log, 20, |row| row.record_id = Some("1"));
    resign(&mut log, 18, 22, INCARNATION, (*b"otherkey", &FORGED));
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
    remove_trailer(&mut log.entries[22].leaf);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_missing", 1, 22));
}

#[test]
fn rebuilt_without_the_row_that_has_the_trailer() {
    let mut log = small_log();
    log.entries.remove(22);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_missing", 1, 21));
}

#[test]
fn rebuilt_with_the_trailer_at_another_row() {
    // the last row is cut off, and the one before gets its trailer
    let mut log = small_log();
    let last = log.entries.remove(22).leaf;
    let leaf = &mut log.entries[21].leaf;
    leaf[2] |= 2;
    leaf.extend_from_slice(&last[last.len() - TRAILER_LEN..]);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 1, 21));
    // the same with a chain that fits
    resign(&mut log, 18, 21, INCARNATION, (KEY_ID, &FORGED));
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 21));
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
    row.frame.position = 5;
    row.frame.context = ContextPlace::Back(5);
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
    edit_row(&mut log, 21, |row| row.frame.xid = 111);
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
            .any(|f| (f.0, f.2) == ("shape_unknown", Some(0)))
    );
    let shapes = found.iter().filter(|f| f.0 == "shape_unknown").count();
    assert_eq!(shapes, 1);
}

#[test]
fn rebuilt_with_a_foreign_incarnation() {
    let mut log = small_log();
    resign(&mut log, 18, 22, [3; 16], (KEY_ID, &KEY));
    log.rebuild();
    assert_eq!(log.found(), one("incarnation_unknown", 1, 22));
}

#[test]
fn rebuilt_with_a_wrong_context_reference() {
    // the second row is leaf 3, the first holds the context, the shape lies before that, and nothing before the shape
    for back in [2, 3, 4, u32::MAX] {
        let mut builder = Builder::new();
        builder.transaction_with(100, &[insert(1), insert(2)], |mut row| {
            if row.record_id == Some("2") {
                row.frame.context = ContextPlace::Back(back);
            }
            row
        });
        builder.seal(seen(101));
        assert_eq!(builder.log.found(), one("context_broken", 0, 3), "{back}");
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

/// What a verification finds that stops behind so many leaves.
fn found_before(log: &Log, size: u64) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut report = |violation: Violation| found.push(violation.kind.as_str());
    let mut verifier = Verifier::new(Stored(log), options(), &mut report);
    for entry in log.entries.iter().filter(|entry| entry.index < size) {
        verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
    }
    verifier.stop(size);
    found
}

/// The row of the last block to verify says that it ends earlier, and has the root of that: so what was altered behind is
/// not looked at. The row of the block after it may say the same.
#[test]
fn cut_the_last_block_of_a_part_by_its_row() {
    let honest = small_log();
    assert!(found_before(&honest, 34).is_empty());
    let mut tree = Tree::new();
    for (size, entry) in (1..34).zip(&honest.entries) {
        tree.append(leaf_hash(&entry.leaf));
        if size <= 18 {
            continue;
        }
        let mut log = honest.clone();
        let row = log.blocks.get_mut(&1).unwrap();
        (row.tree_size, row.root) = (size, tree.root());
        assert!(!found_before(&log, size).is_empty(), "{size}");
        log.blocks.get_mut(&2).unwrap().first_leaf = size;
        assert!(
            !found_before(&log, size).is_empty(),
            "{size}, and the row behind"
        );
        log.blocks.remove(&2);
        assert!(
            !found_before(&log, size).is_empty(),
            "{size}, and no row behind"
        );
    }
}
