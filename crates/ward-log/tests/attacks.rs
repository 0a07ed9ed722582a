//! One test per attack, named after it: what is found, in which block, at which entry, and nothing else.

mod common;

use common::{Builder, Entry, Log, edit_row, insert, one, seen, small_log};
use ward_log::{Operation, leaf_hash};

fn flip_last_byte(entry: &mut Entry) {
    *entry.leaf.last_mut().unwrap() ^= 1;
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
    // said once: nothing tells that two things were done
    assert_eq!(log.found(), one("entry_missing", 1, 31));
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
fn insert_a_number_the_log_cannot_have() {
    for (place, index) in [(0, u64::MAX), (20, 1 << 63), (33, 4711), (18, 50)] {
        let mut log = small_log();
        let mut extra = log.entries[20].clone();
        extra.index = index;
        log.entries.insert(place, extra);
        assert_eq!(log.found(), vec![("entry_unexpected", None, Some(index))]);
    }
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
    edit_row(&mut log, 20, |row| row.frame.occurred_at += 1);
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
    log.entries[1].image = log.entries[20].image.clone();
    assert_eq!(log.found(), one("image_altered", 0, 1));
    let mut builder = Builder::new();
    builder.transaction(100, &[(Operation::Truncate, "1".to_owned(), None, None)]);
    builder.seal(seen(101));
    let mut log = builder.log;
    log.entries[2].image = Some(vec![0; 17]);
    assert_eq!(log.found(), one("image_altered", 0, 2));
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
    for (at, from, to) in [(2, [0xFF; 4], [0; 4]), (3, [0; 4], [0xFF; 4])] {
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
    for at in [18, 20, 22] {
        let mut log = small_log();
        log.entries[at].leaf[1] = 0;
        assert_eq!(log.found(), one("entry_altered", 1, at as u64));
        log.rebuild();
        assert_eq!(log.found(), one("entry_unreadable", 1, at as u64));
    }
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
